"""Family ``bc_resnet``: broadcasted residual learning (Kim et al., Interspeech 2021, arXiv:2106.04140).

Each block convolves over frequency, averages over frequency, convolves the average over time, and adds it to every
frequency again. So most of the work is done on one value a frame. ``width`` multiplies the channels: BC-ResNet-1 to 8.
"""

from typing import TYPE_CHECKING, Annotated

from msgspec import Meta

from models.networks.blocks import convolved, normalised, rectified
from models.settings import NetworkSpec, Precision

if TYPE_CHECKING:
    import keras

SMALLEST_SIDE = 8
"""Fewest bins and frames: the first layers divide frequency by 8."""
STAGES = ((8, 2, 1, 1), (12, 2, 2, 2), (16, 4, 2, 4), (20, 4, 1, 8))
"""Channels at width 1, blocks, stride in frequency, dilation in time."""
SUB_BANDS = 5
"""Ranges of frequency that are normalised apart, where their number divides the frequencies."""


class BcResNetSpec(NetworkSpec, frozen=True, kw_only=True, tag="bc_resnet"):
    """What can be set about a network of this family."""

    width: Annotated[float, Meta(ge=0.5, le=16)] = 1.0
    """Multiplies all channels."""
    dropout: Annotated[float, Meta(ge=0, lt=1)] = 0.1
    """Share of channels that each block drops while training."""


def layers_of(spec: BcResNetSpec, x: "keras.KerasTensor", precision: Precision) -> "keras.KerasTensor":
    """A convolution, four stages of broadcasted residual blocks, a depthwise and a pointwise convolution, the mean.

    Parameters and returned values are those of :func:`models.networks.cnn.layers_of`; it computes in float32.
    """
    from keras import layers

    def wide(channels: int) -> int:
        return round(channels * spec.width)

    x = rectified(convolved(x, wide(16), 5, strides=(2, 1)))
    for channels, blocks, stride, dilation in STAGES:
        for block in range(blocks):
            x = _block(x, wide(channels), stride if block == 0 else 1, dilation, spec.dropout, widens=block == 0)
    x = layers.DepthwiseConv2D(5, padding="same", use_bias=False)(x)
    x = layers.AveragePooling2D((x.shape[1], 1))(x)
    x = rectified(convolved(x, wide(32), 1))
    return layers.GlobalAveragePooling2D()(x)


def _block(
    x: "keras.KerasTensor", channels: int, stride: int, dilation: int, dropout: float, *, widens: bool
) -> "keras.KerasTensor":
    from keras import layers

    shortcut = x
    if widens:
        x = rectified(convolved(x, channels, 1))
    if stride > 1:  # in frequency alone, which TensorFlow's depthwise convolution cannot do
        x = layers.AveragePooling2D((stride, 1))(x)
    x = layers.DepthwiseConv2D((3, 1), padding="same", use_bias=False)(x)
    x = frequency_wise = _sub_bands_normalised(x)
    x = layers.AveragePooling2D((x.shape[1], 1))(x)
    x = layers.DepthwiseConv2D((1, 3), dilation_rate=(1, dilation), padding="same", use_bias=False)(x)
    x = layers.Activation("silu")(normalised(x))
    x = layers.SpatialDropout2D(dropout)(convolved(x, channels, 1))
    together = [x, frequency_wise] if widens else [x, frequency_wise, shortcut]
    return layers.ReLU()(layers.Add()(together))


def _sub_bands_normalised(x: "keras.KerasTensor") -> "keras.KerasTensor":
    """Normalise each range of frequency by itself: Chang et al., "Subspectral normalization", ICASSP 2021."""
    from keras import layers

    _, frequencies, frames, channels = x.shape
    if frequencies % SUB_BANDS:
        return normalised(x)
    split = layers.Reshape((SUB_BANDS, frequencies // SUB_BANDS, frames, channels))(x)
    split = layers.Permute((2, 3, 1, 4))(split)
    split = normalised(layers.Reshape((frequencies // SUB_BANDS, frames, SUB_BANDS * channels))(split))
    split = layers.Reshape((frequencies // SUB_BANDS, frames, SUB_BANDS, channels))(split)
    return layers.Reshape((frequencies, frames, channels))(layers.Permute((3, 1, 2, 4))(split))
