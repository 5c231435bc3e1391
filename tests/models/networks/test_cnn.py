from pathlib import Path

import keras
import numpy as np
import pytest

from models.networks import cnn
from models.networks.front_end import Statistics

SHAPE = (130, 126, 1)
STATISTICS = Statistics(np.full(130, -3, np.float32), np.full(130, 4, np.float32), 1e-3)


def build(skip: bool, statistics: Statistics | None = None) -> keras.Model:
    spec = cnn.CnnSpec(skip_connections=skip, dropout=0.3, dense_units=256)
    return cnn.build(spec, SHAPE, 12, statistics=statistics)


def convolutions(model: keras.Model) -> list[keras.layers.Conv2D]:
    return [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]


@pytest.mark.parametrize("skip", [False, True])
def test_the_shape_is_the_notebooks(skip: bool) -> None:
    model = build(skip)
    assert [layer.filters for layer in convolutions(model)] == [32, 32, 64, 64, 128, 128, 128, 256, 256, 256]
    assert {layer.kernel_size for layer in convolutions(model)} == {(3, 3)}
    kinds = [type(layer).__name__ for layer in model.layers]
    assert kinds.count("MaxPooling2D") == 4
    assert kinds.count("Concatenate") == (3 if skip else 0)
    assert kinds[-5:] == ["Flatten", "Dropout", "Dense", "BatchNormalization", "Dense"]
    assert model.output_shape == (None, 12)


def test_skip_hands_each_blocks_input_on_from_the_second_block() -> None:
    model = build(True)
    # 64 + 32, 128 + 96, 256 + 224
    assert [model.get_layer(f"skip{block}").output.shape[-1] for block in (2, 3, 4)] == [96, 224, 480]
    assert model.get_layer("skip2").input[1] is model.get_layer("pool1").output


def test_first_layers_compress_and_normalise_each_frequency() -> None:
    model = build(False, statistics=STATISTICS)
    normalized = keras.Model(model.input, model.get_layer("normalize").output)
    magnitude = np.random.default_rng(0).uniform(0, 60, (2, *SHAPE)).astype(np.float32)
    np.testing.assert_allclose(normalized(magnitude), (np.log(magnitude + 1e-3) + 3) / 2, rtol=1e-4, atol=1e-5)


def test_features_that_are_no_longer_linear_are_only_normalised() -> None:
    model = build(False, statistics=STATISTICS._replace(log_offset=None))
    normalized = keras.Model(model.input, model.get_layer("normalize").output)
    decibels = np.random.default_rng(0).uniform(-80, 10, (2, *SHAPE)).astype(np.float32)
    np.testing.assert_allclose(normalized(decibels), (decibels + 3) / 2, rtol=1e-4, atol=1e-5)


def test_a_saved_network_needs_nothing_but_keras(tmp_path: Path) -> None:
    model = build(True, statistics=STATISTICS)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    magnitude = np.random.default_rng(0).uniform(0, 60, (2, *SHAPE)).astype(np.float32)
    np.testing.assert_array_equal(loaded.predict(magnitude, verbose=0), model.predict(magnitude, verbose=0))


@pytest.mark.parametrize("side", [cnn.SMALLEST_SIDE, cnn.SMALLEST_SIDE - 1])
def test_the_smallest_side_is_the_smallest_that_can_be_built(side: int) -> None:
    spec = cnn.CnnSpec(skip_connections=False, dropout=0.3, dense_units=8)
    if side == cnn.SMALLEST_SIDE:
        assert cnn.build(spec, (side, side, 1), 12, statistics=None).output_shape == (None, 12)
    else:
        with pytest.raises(ValueError, match="Computed output size"):
            cnn.build(spec, (side, 126, 1), 12, statistics=None)
