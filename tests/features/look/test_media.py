"""Clips for a page: sound without loss, pictures with the right side up, ticks where their values lie."""

import io

import numpy as np
import pytest
import soundfile
from PIL import Image

from features.look.media import flac, frequency_ticks, time_ticks, webp
from features.store.writer import FeatureAxes


def test_flac_is_the_clip_in_16_bits() -> None:
    clip = np.random.default_rng(0).uniform(-1.2, 1.2, 8000).astype(np.float32)
    sound, rate_hz = soundfile.read(io.BytesIO(flac(clip, 8000)))
    assert rate_hz == 8000
    np.testing.assert_allclose(sound, np.clip(clip, -1, 1), atol=2**-15)


@pytest.mark.parametrize("unit", ["magnitude", "power", "dB", "coefficient"])
def test_webp_has_high_frequencies_on_top(unit: str) -> None:
    features = np.full((40, 60), 1e-3 if unit != "dB" else -60.0)
    features[30:, :] = 1.0 if unit != "dB" else 0.0
    picture = np.asarray(Image.open(io.BytesIO(webp(features, unit))).convert("L")).astype(float)
    assert picture.shape == (40, 60)
    assert picture[:9].mean() > picture[12:].mean() + 50


def test_a_silent_clip_has_a_picture() -> None:
    assert Image.open(io.BytesIO(webp(np.zeros((40, 60)), "magnitude"))).size == (60, 40)


def test_ticks_of_bins_lie_at_round_frequencies() -> None:
    axes = FeatureAxes(np.linspace(0, 4000, 130), np.arange(3) * 0.008)
    ticks = frequency_ticks(axes)
    for place, label in zip(ticks.places, ticks.labels, strict=True):
        row = np.abs(axes.frequency - float(label)).argmin()
        assert abs(place * 130 - (row + 0.5)) <= 0.5
    assert ticks.labels[0] == "0"
    assert all(float(label) % 100 == 0 for label in ticks.labels)


def test_ticks_of_bands_name_bands() -> None:
    axes = FeatureAxes(np.array([20.0, 100.0, 400.0, 1600.0]), np.arange(3) * 0.008)
    ticks = frequency_ticks(axes)
    assert ticks.labels == ["20", "100", "400", "1600"]
    assert ticks.places == [0.125, 0.375, 0.625, 0.875]
    assert time_ticks(1.5).labels == ["0", "0.75", "1.5"]
