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
    """Convolve (batch, frequency, time, channels); the normalisation that follows makes a bias needless."""
    from keras import layers

    return layers.Conv2D(channels, kernel, strides=strides, padding="same", use_bias=False)(x)
