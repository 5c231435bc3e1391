"""Layers that several families are made of. Keras is imported when they are made."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras

MOMENTUM = 0.9
"""Of the moving statistics: that of Keras, 0.99, needs more steps than a few thousand clips give."""


def normalised(x: "keras.KerasTensor") -> "keras.KerasTensor":
    """Normalise a batch."""
    from keras import layers

    return layers.BatchNormalization(momentum=MOMENTUM)(x)


def rectified(x: "keras.KerasTensor") -> "keras.KerasTensor":
    """Normalise a batch and take what is above 0."""
    from keras import layers

    return layers.ReLU()(normalised(x))


def convolved(
    x: "keras.KerasTensor", channels: int, kernel: int | tuple[int, int], strides: int | tuple[int, int] = 1
) -> "keras.KerasTensor":
    """Convolve (batch, frequency, time, channels); the normalisation that follows makes a bias needless.

    A kernel of 1 with strides picks its points before it convolves them, which is the same. In one step, the gradient
    of the kernel is wrong or ends the process for fewer than 16 channels: oneDNN writes beyond its workspace
    (uxlfoundation/oneDNN#6035).
    """
    from keras import layers

    if kernel == 1 and strides != 1:
        x, strides = layers.MaxPooling2D(1, strides=strides)(x), 1
    return layers.Conv2D(channels, kernel, strides=strides, padding="same", use_bias=False)(x)
