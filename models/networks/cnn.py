"""Family ``cnn``: blocks of 3 × 3 convolutions, with or without skip connections.

Keras is imported when a network is built, so that settings are read without it.
"""

from typing import TYPE_CHECKING, Annotated

from msgspec import Meta, Struct

from models.settings import Precision

if TYPE_CHECKING:
    import keras

    from models.networks.front_end import Statistics

BLOCKS = ((32, 32), (64, 64), (128, 128, 128), (256, 256, 256))
"""Filters of each convolution; every block ends in a pooling that halves frequency and time."""
SMALLEST_SIDE = 2 ** len(BLOCKS)
"""Fewest bins and frames that leave something after the last pooling."""


class CnnSpec(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="family", tag="cnn"):
    """What can be set about a network of this family."""

    skip_connections: bool
    """Concatenate each block's input to its output, from the second block on."""
    dropout: Annotated[float, Meta(ge=0, lt=1)]
    """Share of the flattened values that are dropped while training."""
    dense_units: Annotated[int, Meta(ge=1)]


def build(
    spec: CnnSpec,
    input_shape: tuple[int, ...],
    words: int,
    *,
    statistics: "Statistics | None",
    precision: Precision = "float32",
) -> "keras.Model":
    """Build an untrained network.

    Four blocks of 3 × 3 convolutions with a pooling each, then dropout, one dense layer, batch normalisation and a
    score a word. A model saved in float32 needs only Keras to load.

    Parameters
    ----------
    input_shape : tuple of int
        (frequency, time, 1).
    statistics : Statistics or None
        Mean and variance of each frequency, over the clips to train on: see
        :func:`models.networks.front_end.compress`. None feeds features to the first convolution as they are.
    precision : {"float32", "bfloat16", "float16"}
        What the blocks compute in. Weights and everything after the blocks are always float32, because normalisation
        and the dense layers stop learning in half the bits. It changes no weight's name or shape.

    Returns
    -------
    keras.Model
        float32 (batch, frequency, time, 1) to float32 (batch, words), logits.
    """
    import keras
    from keras import layers

    from models.networks.convolution import ConvolutionForAmx
    from models.networks.front_end import compress

    trunk = "float32" if precision == "float32" else f"mixed_{precision}"
    features = keras.Input(input_shape, name="features")
    x = compress(features, statistics)
    for number, block in enumerate(BLOCKS, 1):
        block_input = x
        for position, filters in enumerate(block, 1):
            name = f"conv{number}_{position}"
            if precision == "bfloat16" and ConvolutionForAmx.is_needed(*x.shape[2:]):
                x = ConvolutionForAmx(filters, dtype=trunk, name=name)(x)
            else:
                x = layers.Conv2D(filters, 3, padding="same", activation="relu", dtype=trunk, name=name)(x)
        if spec.skip_connections and number > 1:
            x = layers.Concatenate(dtype=trunk, name=f"skip{number}")([x, block_input])
        x = layers.MaxPooling2D(dtype=trunk, name=f"pool{number}")(x)
    x = layers.Flatten()(x)
    x = layers.Dropout(spec.dropout)(x)
    x = layers.Dense(spec.dense_units, activation="relu", name="dense")(x)
    x = layers.BatchNormalization(name="batch_norm")(x)
    return keras.Model(features, layers.Dense(words, name="logits")(x))
