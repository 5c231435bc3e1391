"""Family ``residual``: residual blocks over frequency and time, then over time alone.

Two-dimensional residual blocks (He et al., "Deep residual learning", CVPR 2016) with squeeze and excitation (Hu et al.,
CVPR 2018) shorten both axes. Then each frequency becomes a set of channels and a one-dimensional block goes on over
time, as in "Temporal convolution for real-time keyword spotting" (Choi et al., Interspeech 2019): where in the spectrum
something happens tells words apart, so it is not averaged away.
"""

from typing import TYPE_CHECKING, Annotated

from msgspec import Meta

from models.networks.blocks import convolved, normalised, rectified
from models.settings import NetworkSpec, Precision

if TYPE_CHECKING:
    import keras

SMALLEST_SIDE = 8
"""Fewest bins and frames: three layers halve them."""
SQUEEZED = 4
"""Channels of a block for each of its squeezed ones."""
LONG = 7
"""Frames that a convolution over time alone spans."""

Channels = Annotated[int, Meta(ge=1)]


class ResidualSpec(NetworkSpec, frozen=True, kw_only=True, tag="residual"):
    """What can be set about a network of this family."""

    channels: tuple[Channels, Channels, Channels, Channels]
    """Of the first convolution, of the two blocks over frequency and time, and of the part over time."""
    dropout: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    """Share of the averaged values that are dropped while training."""


def layers_of(spec: ResidualSpec, x: "keras.KerasTensor", precision: Precision) -> "keras.KerasTensor":
    """A convolution, two residual blocks, a pointwise convolution over time, a residual block, the mean over time.

    Parameters and returned values are those of :func:`models.networks.cnn.layers_of`; it computes in float32, which is
    the fastest for few channels.
    """
    from keras import layers

    first, second, third, last = spec.channels
    x = rectified(convolved(x, first, 5, strides=2))
    for channels in (second, third):
        shortcut = normalised(convolved(x, channels, 1, strides=2))
        x = rectified(convolved(x, channels, 3, strides=2))
        x = _excited(normalised(convolved(x, channels, 3)))
        x = layers.ReLU()(layers.Add()([x, shortcut]))
    _, frequencies, frames, channels = x.shape
    x = layers.Reshape((1, frames, frequencies * channels))(layers.Permute((2, 1, 3))(x))
    x = shortcut = rectified(convolved(x, last, 1))
    x = rectified(convolved(x, last, (1, LONG)))
    x = normalised(convolved(x, last, (1, LONG)))
    x = layers.ReLU()(layers.Add()([x, shortcut]))
    return layers.Dropout(spec.dropout)(layers.GlobalAveragePooling2D()(x))


def _excited(x: "keras.KerasTensor") -> "keras.KerasTensor":
    """Weigh each channel by what all of them hold on average."""
    from keras import layers

    channels = x.shape[-1]
    mean = layers.GlobalAveragePooling2D(keepdims=True)(x)
    weights = layers.Dense(max(1, channels // SQUEEZED), activation="relu")(mean)
    return layers.Multiply()([x, layers.Dense(channels, activation="sigmoid")(weights)])
