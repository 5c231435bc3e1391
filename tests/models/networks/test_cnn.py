from pathlib import Path

import keras
import numpy as np
import pytest

from models.networks.build import build as build_network
from models.networks.cnn import CnnSpec
from models.networks.front_end import FrontEnd, Statistics
from models.networks.transform import Transform

SHAPE = (130, 126, 1)
STATISTICS = Statistics(np.full(130, -3, np.float32), np.full(130, 4, np.float32))


def build(
    skip: bool, statistics: Statistics | None = None, kind: str = "magnitude", dimensions: int = 2
) -> keras.Model:
    spec = CnnSpec(skip_connections=skip, dropout=0.3, dense_units=256, dimensions=dimensions)
    front_end = FrontEnd(Transform(kind=kind, n_fft=258, hop_length=64, window="hann"), 8000)
    return build_network(spec, SHAPE, 12, front_end=front_end, statistics=statistics)


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
    model = build(False, statistics=STATISTICS, kind="logmagnitude")
    normalized = keras.Model(model.input, model.get_layer("normalize").output)
    decibels = np.random.default_rng(0).uniform(-80, 10, (2, *SHAPE)).astype(np.float32)
    np.testing.assert_allclose(normalized(decibels), (decibels + 3) / 2, rtol=1e-4, atol=1e-5)


def test_a_saved_network_needs_nothing_but_keras(tmp_path: Path) -> None:
    model = build(True, statistics=STATISTICS)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    magnitude = np.random.default_rng(0).uniform(0, 60, (2, *SHAPE)).astype(np.float32)
    np.testing.assert_array_equal(loaded.predict(magnitude, verbose=0), model.predict(magnitude, verbose=0))


def test_in_one_dimension_each_frequency_is_a_channel() -> None:
    model = build(True, statistics=STATISTICS, dimensions=1)
    kernels = [layer.kernel.shape for layer in model.layers if isinstance(layer, keras.layers.Conv1D)]
    assert kernels[:2] == [(3, 130, 32), (3, 32, 32)]
    assert len(kernels) == 10
    assert model.output_shape == (None, 12)
