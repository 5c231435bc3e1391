"""Family ``ds_cnn``: depthwise separable convolutions, "Hello Edge" (Zhang et al., 2017, arXiv:1711.07128).

MLPerf Tiny's keyword network is of this family. It has few parameters and multiply-adds, and microcontrollers run it
fast; on processors with wide vectors depthwise convolutions are slow.
"""

from typing import TYPE_CHECKING, Annotated

from msgspec import Meta

from models.networks.blocks import convolved, rectified
from models.settings import NetworkSpec, Precision

if TYPE_CHECKING:
    import keras

SMALLEST_SIDE = 8
"""Fewest bins and frames."""


class DsCnnSpec(NetworkSpec, frozen=True, kw_only=True, tag="ds_cnn"):
    """What can be set about a network of this family."""

    channels: Annotated[int, Meta(ge=1)] = 64
    blocks: Annotated[int, Meta(ge=1)] = 4
    dropout: Annotated[float, Meta(ge=0, lt=1)] = 0.2
    """Share of the averaged values that are dropped while training."""


def layers_of(spec: DsCnnSpec, x: "keras.KerasTensor", precision: Precision) -> "keras.KerasTensor":
    """A convolution that shortens both axes, blocks of a depthwise and a pointwise convolution, the mean over both.

    Parameters and returned values are those of :func:`models.networks.cnn.layers_of`; it computes in float32.
    """
    from keras import layers

    x = rectified(convolved(x, spec.channels, (8, 20), strides=4))
    for _ in range(spec.blocks):
        x = rectified(layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x))
        x = rectified(convolved(x, spec.channels, 1))
    return layers.Dropout(spec.dropout)(layers.GlobalAveragePooling2D()(x))
