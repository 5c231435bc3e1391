"""A convolution whose gradient is correct in bfloat16 on processors with AMX."""

from typing import Any

import keras
import tensorflow as tf
from keras import layers

TILE_ROW = 32
"""bfloat16 values in a row of an AMX tile."""


class ConvolutionForAmx(layers.Conv2D):
    """3 × 3 convolution with ReLU whose kernel gradient reads nothing beyond the input.

    It computes what ``Conv2D`` does. To compute the kernel's gradient, the oneDNN of TensorFlow 2.16 splits the width
    into equal parts of whole pairs of values. If the parts fill whole tile rows and the last one ends two or more
    values beyond the width, oneDNN multiplies uninitialised memory by zero. If that memory holds NaN, the gradient is
    NaN. So this layer pads the input with zeros to whole tile rows for that gradient, which does not change its value.

    Parameters
    ----------
    filters : int
    **kwargs
        Passed to ``keras.layers.Layer``.
    """

    def __init__(self, filters: int, **kwargs: Any) -> None:
        super().__init__(filters, 3, padding="same", activation="relu", **kwargs)

    @staticmethod
    def is_needed(width: int, channels: int) -> bool:
        """Whether ``Conv2D`` would read beyond an input of this width and number of channels."""
        rows = -(-width // TILE_ROW)
        full_rows = width > (TILE_ROW - 2) * rows
        return channels > 1 and full_rows and TILE_ROW * rows - width >= 2

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Convolve (batch, height, width, channels)."""
        beyond = -inputs.shape[2] % TILE_ROW

        def fill_up(values: tf.Tensor) -> tf.Tensor:
            batch, height, _, channels = tf.unstack(tf.shape(values))
            return tf.concat([values, tf.zeros((batch, height, beyond, channels), values.dtype)], axis=2)

        @tf.custom_gradient
        def convolve(x: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor) -> tuple[tf.Tensor, Any]:
            same = {"strides": [1, 1, 1, 1], "padding": "SAME"}
            y = tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(x, kernel, **same), bias))

            def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
                behind = tf.raw_ops.ReluGrad(gradients=upstream, features=y)
                filled = fill_up(behind)
                return (
                    tf.raw_ops.Conv2DBackpropInput(input_sizes=tf.shape(x), filter=kernel, out_backprop=behind, **same),
                    tf.raw_ops.Conv2DBackpropFilter(
                        input=fill_up(x), filter_sizes=kernel.shape, out_backprop=filled, **same
                    ),
                    tf.raw_ops.BiasAddGrad(out_backprop=filled),
                )

            return y, gradient

        return convolve(inputs, keras.ops.convert_to_tensor(self.kernel), keras.ops.convert_to_tensor(self.bias))
