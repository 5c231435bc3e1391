"""What holds for networks of every family."""

from pathlib import Path

import keras
import msgspec
import numpy as np
import pytest

from features.spectrogram import FeatureSpec, transform
from models.export import operations_of, with_transform, write_keras, write_saved_model, write_tflite
from models.networks.blocks import convolved
from models.networks.build import build
from models.networks.front_end import FrontEnd, Statistics
from models.networks.registry import FAMILIES, family_of
from models.networks.transform import Transform
from models.predict import load_predictor, predictor_of
from models.saved import Description, describe
from models.settings import NetworkSpec

SETTINGS = {
    "cnn": {"skip_connections": True, "dropout": 0.3, "dense_units": 16, "dimensions": 1, "front_end": "pcen"},
    "residual": {"channels": [4, 6, 8, 12], "front_end": "mel"},
    "ds_cnn": {"channels": 8, "front_end": "mel"},
}
SPEC = FeatureSpec(kind="magnitude", n_fft=256, hop_length=128, window="hann")
ABOUT = Description(
    words=("예", "no", "silence"),
    sample_rate_hz=4000,
    clip_samples=4000,
    transform=msgspec.convert(SPEC.used, Transform),
    input="features",
)


def spec(family: str) -> NetworkSpec:
    return msgspec.convert(SETTINGS[family], FAMILIES[family].spec)


def build_small(family: str, shape: tuple[int, ...], bands: int, given: np.ndarray | None = None) -> keras.Model:
    settings = msgspec.structs.replace(spec(family), n_mels=bands)
    front_end = FrontEnd(ABOUT.transform, 4000, settings.front_end, bands)
    statistics = None
    if given is not None:
        taken = keras.Input(shape)
        values = keras.Model(taken, front_end.spectrum(taken))(given).numpy()
        statistics = Statistics(values.mean(axis=(0, 2, 3)), values.var(axis=(0, 2, 3)))
    return build(settings, shape, 3, front_end=front_end, statistics=statistics)


def speech(clips: int, seed: int) -> np.ndarray:
    """Noise whose loudness differs by 60 dB from clip to clip, with a tone in its middle."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(clips, 4000)) * 10 ** rng.uniform(-4, -1, (clips, 1))
    tone = np.sin(2 * np.pi * rng.uniform(200, 1800, (clips, 1)) / 4000 * np.arange(4000))
    tone[:, :1000] = 0
    return np.clip(noise + tone * 10 ** rng.uniform(-3, -0.1, (clips, 1)), -1, 1).astype(np.float32)


@pytest.mark.parametrize("family", FAMILIES)
def test_no_pointwise_convolution_has_strides(family: str) -> None:
    """oneDNN computes a wrong gradient of it, or ends the process; see models.networks.blocks."""
    network = build_small(family, (129, 32, 1), 20)
    for layer in network._flatten_layers():
        if isinstance(layer, keras.layers.Conv2D) and layer.kernel_size == (1, 1):
            assert layer.strides == (1, 1)


def test_points_are_picked_before_they_are_convolved() -> None:
    given = keras.Input((7, 10, 3))
    network = keras.Model(given, convolved(given, 5, 1, strides=2))
    x = np.random.default_rng(0).normal(size=(2, 7, 10, 3)).astype(np.float32)
    np.testing.assert_allclose(network(x), x[:, ::2, ::2] @ network.get_weights()[0][0, 0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_exports_predict_what_the_pipeline_predicts(family: str, tmp_path: Path) -> None:
    """In every form; int8 with every convolution of the network in int8."""
    keras.utils.set_random_seed(0)
    clips = speech(30, 1)
    given = transform(clips, SPEC, sample_rate_hz=4000)[..., np.newaxis]
    network = build_small(family, given.shape[1:], 20, given)
    # Normalise as a trained network does, and make its answers differ.
    kernel, bias = network.get_layer("logits").get_weights()
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            values = keras.Model(network.input, layer.input)(given).numpy()
            axes = tuple(range(values.ndim - 1))
            gamma, beta, _, _ = layer.get_weights()
            layer.set_weights([gamma, beta, values.mean(axis=axes), values.var(axis=axes) + 1e-3])
    logits = np.asarray(network(given))
    scale = 2 / logits.std(axis=0)
    network.get_layer("logits").set_weights([kernel * scale, (bias - logits.mean(axis=0)) * scale])
    expected = predictor_of(network)(given)
    assert np.ptp(expected, axis=0).min() > 0.5
    whole = with_transform(network, ABOUT)
    for name, write in (("n.keras", write_keras), ("n", write_saved_model), ("n.tflite", write_tflite)):
        write(whole, ABOUT, tmp_path / name)
        found = load_predictor(tmp_path / name, describe(tmp_path / name))(clips)
        assert np.abs(found - expected).max() <= 1e-4, name
    write_tflite(whole, ABOUT, tmp_path / "n.tflite", speech(100, 2))
    found = load_predictor(tmp_path / "n.tflite", describe(tmp_path / "n.tflite"))(clips)
    assert np.abs(found - expected).mean() < 0.05
    kernels = [dtype for name, dtype in operations_of(tmp_path / "n.tflite") if name.endswith("CONV_2D")]
    assert kernels[0] == "float32"  # the Fourier transform
    assert set(kernels[1:]) == {"int8"}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_smallest_side_can_be_built(family: str) -> None:
    side = family_of(spec(family)).smallest_side
    assert build_small(family, (129, side, 1), side).output_shape == (None, 3)
