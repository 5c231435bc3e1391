import keras
import numpy as np
import pytest
from keras import layers

from models.cost import cost_of, multiply_adds
from models.predict import predictor_of

IMAGE = (8, 6, 4)


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (layers.Conv2D(5, 3, padding="same"), 9 * 4 * 5 * 48),
        (layers.Conv2D(5, 3, strides=2, padding="same"), 9 * 4 * 5 * 12),
        (layers.Conv2D(6, 3, groups=2, padding="same"), 9 * 2 * 6 * 48),
        (layers.DepthwiseConv2D(3, padding="same"), 9 * 4 * 48),
        (layers.SeparableConv2D(5, 3, padding="same"), 9 * 4 * 48 + 4 * 5 * 48),
        (layers.Dense(7), 4 * 7 * 48),
        (layers.BatchNormalization(), 0),
        (layers.MaxPooling2D(), 0),
    ],
)
def test_multiply_adds_of_a_layer(layer: layers.Layer, expected: int) -> None:
    image = keras.Input(IMAGE)
    network = keras.Model(image, layer(image))
    assert multiply_adds(network) == expected
    outer = keras.Input(IMAGE)
    assert multiply_adds(keras.Model(outer, network(outer))) == expected


def test_cost_of_a_network() -> None:
    given = keras.Input((5,))
    network = keras.Model(given, layers.Dense(3)(given))
    cost = cost_of(network, predictor_of(network), (5,), clip_seconds=0.5)
    assert (cost["parameters"], cost["multiply_adds"]) == (18, 15)
    assert 0 < cost["real_time_factor"] < 0.1
    assert np.isfinite(cost["real_time_factor"])
