"""Exports of small networks, compared with the pipeline's own transform."""

from collections.abc import Callable
from pathlib import Path

import keras
import msgspec
import numpy as np
import pytest
from msgspec.structs import replace

from features.spectrogram import KINDS, FeatureSpec, transform
from models.export import front_end_of, operations_of, with_transform, write_keras, write_saved_model, write_tflite
from models.networks.build import build
from models.networks.cnn import CnnSpec
from models.networks.ds_cnn import DsCnnSpec
from models.networks.front_end import LOG_OFFSETS, FrontEnd, Statistics
from models.networks.transform import Transform
from models.predict import load_predictor, predictor_of
from models.saved import Description, SavedError, describe

SPEC = FeatureSpec(kind="magnitude", n_fft=128, hop_length=128, window="hann")
ABOUT = Description(
    words=("예", "no", "silence"),
    sample_rate_hz=4000,
    clip_samples=4000,
    transform=Transform(kind="magnitude", n_fft=128, hop_length=128, window="hann"),
    input="features",
    threshold=0.75,
)
WRITERS: dict[str, Callable[..., None]] = {
    "network.keras": write_keras,
    "network": write_saved_model,
    "network.tflite": write_tflite,
}


def speech(clips: int, seed: int) -> np.ndarray:
    """Noise whose loudness differs by 60 dB from clip to clip, with a tone."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(clips, 4000)) * 10 ** rng.uniform(-4, -1, (clips, 1))
    tone = np.sin(2 * np.pi * rng.uniform(200, 1800, (clips, 1)) / 4000 * np.arange(4000))
    return np.clip(noise + tone * 10 ** rng.uniform(-3, -0.1, (clips, 1)), -1, 1).astype(np.float32)


def features(clips: np.ndarray) -> np.ndarray:
    return transform(clips, SPEC)[..., np.newaxis]


@pytest.fixture(scope="module", params=["skip", "without log"])
def network(request: pytest.FixtureRequest) -> keras.Model:
    """An untrained network, whose probabilities are far from equal."""
    keras.utils.set_random_seed(0)
    clips = features(speech(64, 0))
    log = np.log(clips + 1e-3)[..., 0]
    statistics = Statistics(log.mean(axis=(0, 2)), log.var(axis=(0, 2))) if request.param == "skip" else None
    spec = CnnSpec(skip_connections=request.param == "skip", dropout=0.3, dense_units=16)
    front_end = FrontEnd(ABOUT.transform, 4000, compress=request.param == "skip")
    made = build(spec, clips.shape[1:], 3, front_end=front_end, statistics=statistics)
    spread(made, clips)
    return made


def spread(network: keras.Model, given: np.ndarray) -> None:
    """Make its probabilities far from equal."""
    kernel, bias = network.get_layer("logits").get_weights()
    logits = np.asarray(network(given))
    scale = np.array([2, -2, 2]) / logits.std(axis=0)  # of opposite signs, where all rise with the loudness
    network.get_layer("logits").set_weights([kernel * scale, (bias - logits.mean(axis=0)) * scale])


@pytest.mark.parametrize("name", WRITERS)
def test_exports_predict_what_the_pipeline_predicts(name: str, network: keras.Model, tmp_path: Path) -> None:
    clips = speech(30, 1)
    expected = predictor_of(network)(features(clips))
    assert np.ptp(expected, axis=0).min() > 0.5  # no two clips sound the same to it
    WRITERS[name](with_transform(network, ABOUT), ABOUT, tmp_path / name)
    about = describe(tmp_path / name)
    assert (about.words, about.input, about.threshold) == (ABOUT.words, "waveform", 0.75)
    found = load_predictor(tmp_path / name, about)(clips)
    assert np.abs(found - expected).max() <= 1e-4
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    written = sum(file.stat().st_size for file in [tmp_path / name, *(tmp_path / name).rglob("*")] if file.is_file())
    assert written < 1.3 * 4 * network.count_params() + 200_000  # every weight once


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_features_is_exported(kind: str, tmp_path: Path) -> None:
    """As a Keras file and for TFLite, in float32 and in int8."""
    spec = FeatureSpec(kind=kind, n_fft=256, hop_length=128, window="hann", n_mels=20, n_mfcc=13)
    about = replace(ABOUT, transform=msgspec.convert(spec.used, Transform))
    clips = speech(30, 1)
    given = transform(clips, spec, sample_rate_hz=4000)[..., np.newaxis]
    offset = LOG_OFFSETS.get(kind)
    values = (given if offset is None else np.log(given + offset))[..., 0]
    statistics = Statistics(values.mean(axis=(0, 2)), values.var(axis=(0, 2)))
    keras.utils.set_random_seed(0)
    network = DsCnnSpec(channels=8, blocks=1)  # a tenth of the time to export
    made = build(network, given.shape[1:], 3, front_end=FrontEnd(about.transform, 4000), statistics=statistics)
    spread(made, given)
    expected = predictor_of(made)(given)
    assert np.ptp(expected, axis=0).min() > 0.5
    whole = with_transform(made, about)
    for name in ("network.keras", "network.tflite"):
        WRITERS[name](whole, about, tmp_path / name)
        assert np.abs(load_predictor(tmp_path / name, describe(tmp_path / name))(clips) - expected).max() <= 1e-4
    write_tflite(whole, about, tmp_path / "network.tflite", speech(60, 2))
    found = load_predictor(tmp_path / "network.tflite", describe(tmp_path / "network.tflite"))(clips)
    assert np.abs(found - expected).mean() < 0.05
    assert ("CONV_2D", "int8") in operations_of(tmp_path / "network.tflite")


def test_int8_is_close_and_keeps_the_front_end_in_float(network: keras.Model, tmp_path: Path) -> None:
    clips = speech(30, 1)
    expected = predictor_of(network)(features(clips))
    file = tmp_path / "network.tflite"
    write_tflite(with_transform(network, ABOUT), ABOUT, file, speech(100, 2))
    found = load_predictor(file, describe(file))(clips)
    assert np.abs(found - expected).mean() < 0.05
    types = [dtype for name, dtype in operations_of(file) if name in ("CONV_2D", "FULLY_CONNECTED")]
    assert types == ["float32", *["int8"] * 12]  # the transform, ten convolutions, two dense layers
    assert {dtype for name, dtype in operations_of(file) if name in ("LOG", "SQRT")} == {"float32"}


def test_tflite_files_need_only_built_in_operations(network: keras.Model, tmp_path: Path) -> None:
    file = tmp_path / "network.tflite"
    for calibration in (None, speech(20, 2)):
        write_tflite(with_transform(network, ABOUT), ABOUT, file, calibration)
        names = {name for name, _ in operations_of(file)}
        assert "CONV_2D" in names
        assert not [name for name in names if name.startswith(("Flex", "CUSTOM"))]


def test_the_front_end_ends_with_the_normalisation(network: keras.Model, tmp_path: Path) -> None:
    file = tmp_path / "network.tflite"
    write_tflite(with_transform(network, ABOUT), ABOUT, file)
    names = front_end_of(file.read_bytes())
    assert any("fourier" in name for name in names)
    assert not any("/conv1_1" in name for name in names)


@pytest.mark.parametrize("name", ["a.keras", "a.tflite", "a"])
def test_what_is_no_network_is_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    with pytest.raises(SavedError):
        describe(path)
    if "." in name:
        path.write_bytes(b"something else")
    else:
        path.mkdir()
    with pytest.raises(SavedError, match="no description"):
        describe(path)
    with pytest.raises(SavedError):
        load_predictor(path, ABOUT)
