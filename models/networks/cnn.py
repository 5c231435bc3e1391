"""Family ``cnn``: blocks of 3 × 3 convolutions, with or without skip connections.

Keras is imported when a network is built, so that settings are read without it.
"""

from typing import TYPE_CHECKING, Annotated, Literal

from msgspec import Meta

from models.settings import NetworkSpec, Precision

if TYPE_CHECKING:
    import keras

BLOCKS = ((32, 32), (64, 64), (128, 128, 128), (256, 256, 256))
"""Filters of each convolution; every block ends in a pooling that halves frequency and time."""
SMALLEST_SIDE = 2 ** len(BLOCKS)
"""Fewest bins and frames that leave something after the last pooling."""


class CnnSpec(NetworkSpec, frozen=True, kw_only=True, tag="cnn"):
    """What can be set about a network of this family."""

    dimensions: Literal[1, 2] = 2
    """Of the convolutions: over frequency and time, or over time with each frequency a channel."""
    skip_connections: bool
    """Concatenate each block's input to its output, from the second block on."""
    dropout: Annotated[float, Meta(ge=0, lt=1)]
    """Share of the flattened values that are dropped while training."""
    dense_units: Annotated[int, Meta(ge=1)]


def layers_of(spec: CnnSpec, x: "keras.KerasTensor", precision: Precision) -> "keras.KerasTensor":
    """Four blocks of convolutions of length 3 with a pooling each, dropout, a dense layer, batch normalisation.

    Parameters
    ----------
    x : KerasTensor
        float32 (batch, frequency, time, 1), from a front end.
    precision : {"float32", "bfloat16", "float16"}
        What the blocks compute in. Weights and everything after the blocks are always float32, because normalisation
        and the dense layers stop learning in half the bits. It changes no weight's name or shape.

    Returns
    -------
    KerasTensor
        float32 (batch, values): what the words' scores are computed from.
    """
    from keras import layers

    from models.networks.convolution import ConvolutionForAmx

    trunk = "float32" if precision == "float32" else f"mixed_{precision}"
    convolution, pooling = layers.Conv2D, layers.MaxPooling2D
    if spec.dimensions == 1:
        convolution, pooling, trunk = layers.Conv1D, layers.MaxPooling1D, "float32"
        x = layers.Permute((2, 1))(layers.Reshape(x.shape[1:3])(x))
    for number, block in enumerate(BLOCKS, 1):
        block_input = x
        for position, filters in enumerate(block, 1):
            name = f"conv{number}_{position}"
            if trunk == "mixed_bfloat16" and ConvolutionForAmx.is_needed(*x.shape[2:]):
                x = ConvolutionForAmx(filters, dtype=trunk, name=name)(x)
            else:
                x = convolution(filters, 3, padding="same", activation="relu", dtype=trunk, name=name)(x)
        if spec.skip_connections and number > 1:
            x = layers.Concatenate(dtype=trunk, name=f"skip{number}")([x, block_input])
        x = pooling(dtype=trunk, name=f"pool{number}")(x)
    x = layers.Flatten()(x)
    x = layers.Dropout(spec.dropout)(x)
    x = layers.Dense(spec.dense_units, activation="relu", name="dense")(x)
    return layers.BatchNormalization(name="batch_norm")(x)
