"""Bands that a network makes of stored magnitudes, against the same bands stored."""

import keras
import msgspec
import numpy as np
import pytest

from features.spectrogram import FeatureSpec, transform
from models.networks.front_end import FrontEnd, Statistics
from models.networks.transform import Transform

CLIPS = np.random.default_rng(0).normal(size=(3, 4000)).astype(np.float32) * [[0.001], [0.02], [0.1]]


def features(kind: str) -> tuple[np.ndarray, Transform]:
    spec = FeatureSpec(kind=kind, n_fft=256, hop_length=128, window="hann", n_mels=20)
    stored = transform(CLIPS.astype(np.float32), spec, sample_rate_hz=4000)[..., np.newaxis]
    return stored, msgspec.convert(spec.used, Transform)


def spectrum(front_end: FrontEnd, given: np.ndarray) -> np.ndarray:
    taken = keras.Input(given.shape[1:])
    return keras.Model(taken, front_end.spectrum(taken))(given).numpy()


@pytest.mark.parametrize("bands", ["mel", "pcen"])
def test_bands_of_stored_magnitudes_are_those_that_could_be_stored(bands: str) -> None:
    magnitude, transform_of_magnitude = features("magnitude")
    stored, transform_of_bands = features(bands)
    made = FrontEnd(transform_of_magnitude, 4000, bands, 20)
    taken = FrontEnd(transform_of_bands, 4000)
    assert made.kind == taken.kind == bands
    assert made.frequencies(129) == 20
    assert made.decibels == taken.decibels
    np.testing.assert_allclose(spectrum(made, magnitude), spectrum(taken, stored), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["power", "logmel", "mfcc"])
def test_features_of_other_kinds_are_taken_as_they_are(kind: str) -> None:
    stored, transform_of_kind = features(kind)
    front_end = FrontEnd(transform_of_kind, 4000, "mel", 10)
    assert (front_end.kind, front_end.frequencies(7), front_end.empty_bands) == (kind, 7, 0)
    expected = np.log(stored + 1e-6) if kind == "power" else stored
    np.testing.assert_allclose(spectrum(front_end, stored), expected, rtol=1e-5, atol=1e-5)


def test_empty_bands_are_counted_and_tell_nothing() -> None:
    stored, given = features("magnitude")
    front_end = FrontEnd(given, 4000, "mel", 400)
    values = spectrum(front_end, stored)[..., 0]
    empty = np.ptp(values, axis=(0, 2)) == 0
    assert front_end.empty_bands == empty.sum() > 0
    taken = keras.Input(stored.shape[1:])
    statistics = Statistics(values.mean(axis=(0, 2)), np.maximum(values.var(axis=(0, 2)), 1e-8))
    normalised = keras.Model(taken, front_end(taken, statistics))(stored).numpy()
    assert np.abs(normalised[:, empty]).max() < 0.02
