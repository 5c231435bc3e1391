"""The transform as layers, against the pipeline's own, which is tested against librosa."""

import keras
import msgspec
import numpy as np
import pytest

from features.spectrogram import KINDS, FeatureSpec, transform
from models.networks.transform import Transform, apply


def compare(spec: FeatureSpec, samples: int, rate_hz: int) -> tuple[np.ndarray, np.ndarray]:
    """Features of three clips, one of them silent, by the layers and by the pipeline."""
    waveform = keras.Input((samples,))
    model = keras.Model(waveform, apply(msgspec.convert(spec.used, Transform), rate_hz, waveform))
    clips = np.random.default_rng(0).uniform(-1, 1, (3, samples)).astype(np.float32)
    clips[1] = 0
    clips[2] *= 1e-3
    found, expected = np.asarray(model(clips))[..., 0], transform(clips, spec, sample_rate_hz=rate_hz)
    assert found.shape == expected.shape == (3, *model.output_shape[1:3])
    return found, expected


@pytest.mark.parametrize("samples", [8000, 8001, 500])
@pytest.mark.parametrize(
    ("n_fft", "hop_length", "window"),
    [(258, 64, "hann"), (255, 100, "hamming"), (400, 160, "blackman"), (64, 64, "boxcar")],
)
def test_every_frame_setting(n_fft: int, hop_length: int, window: str, samples: int) -> None:
    spec = FeatureSpec(kind="magnitude", n_fft=n_fft, hop_length=hop_length, window=window)
    found, expected = compare(spec, samples, 8000)
    np.testing.assert_allclose(found, expected, atol=2e-6 * expected.max())


@pytest.mark.parametrize("rate_hz", [8000, 16000])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind(kind: str, rate_hz: int) -> None:
    spec = FeatureSpec(
        kind=kind, n_fft=400, hop_length=160, window="hann", n_mels=30, fmin_hz=50.0, fmax_hz=3500.0, n_mfcc=10
    )
    found, expected = compare(spec, 8000, rate_hz)
    # Single bins of a white noise can be 60 dB under the others, where float32 rounds their decibels.
    np.testing.assert_allclose(
        found, expected, atol=(1e-4 if kind == "logmagnitude" else 2e-6) * np.abs(expected).max()
    )


def test_deltas_can_be_left_out() -> None:
    spec = FeatureSpec(kind="mfcc", n_fft=400, hop_length=160, window="hann", deltas=False)
    found, expected = compare(spec, 8000, 16000)
    assert found.shape[1] == 13
    np.testing.assert_allclose(found, expected, atol=2e-6 * np.abs(expected).max())
