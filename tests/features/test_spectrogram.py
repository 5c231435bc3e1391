import librosa
import msgspec
import numpy as np
import pytest

from features.spectrogram import FeatureSpec, transform

RATE_HZ = 8000
DEFAULT = FeatureSpec(kind="magnitude", n_fft=258, hop_length=64, window="hann")


def clips(count: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return (rng.uniform(-1, 1, (count, 8000)) * 10 ** rng.uniform(-4, 0, (count, 1))).astype(np.float32)


def test_default_features_are_those_of_librosa() -> None:
    made = clips(70)  # more than one batch
    features = transform(made, DEFAULT)
    assert features.shape == (70, 130, 126)
    assert features.dtype == np.float32
    for clip, feature in zip(made, features, strict=True):
        expected = np.abs(librosa.stft(clip, n_fft=258))
        np.testing.assert_allclose(feature, expected, rtol=0, atol=1e-5 * expected.max())


@pytest.mark.parametrize("window", ["hann", "hamming", "blackman", "boxcar"])
@pytest.mark.parametrize(
    ("n_fft", "hop_length"),
    [(258, 1), (258, 7), (258, 100), (258, 258), (512, 128), (257, 64), (252, 64), (100, 100), (36, 9), (2, 2)],
)
def test_every_setting_is_librosas(n_fft: int, hop_length: int, window: str) -> None:
    spec = FeatureSpec(kind="magnitude", n_fft=n_fft, hop_length=hop_length, window=window)
    made = clips(3)
    expected = np.abs(
        librosa.stft(made, n_fft=n_fft, hop_length=hop_length, window=np.ones(n_fft) if window == "boxcar" else window)
    )
    features = transform(made, spec)
    assert features.shape[1:] == spec.shape(8000)
    np.testing.assert_allclose(features, expected, rtol=0, atol=1e-5 * expected.max())
    np.testing.assert_allclose(spec.axes(8000, RATE_HZ)[0], librosa.fft_frequencies(sr=RATE_HZ, n_fft=n_fft))
    frames = np.arange(spec.shape(8000)[1])
    np.testing.assert_allclose(
        spec.axes(8000, RATE_HZ)[1], librosa.frames_to_time(frames, sr=RATE_HZ, hop_length=hop_length)
    )


def test_a_clip_gives_the_same_bytes_among_others() -> None:
    made = clips(3)
    together = transform(made, DEFAULT)
    made.flags.writeable = False
    for clip, feature in zip(made, together, strict=True):
        np.testing.assert_array_equal(transform(clip[None], DEFAULT)[0], feature)


def test_what_is_no_number_stays_in_its_frames() -> None:
    made = clips(2)
    expected = transform(made, DEFAULT)
    made[0, 4000] = np.nan
    spoiled = np.isnan(transform(made, DEFAULT))
    frames = np.arange(126)
    reached = abs(frames * 64 - 4000) <= 129
    assert spoiled[0, :, reached].all()
    np.testing.assert_array_equal(transform(made, DEFAULT)[0, :, ~reached], expected[0, :, ~reached])
    assert not spoiled[1].any()


def test_silence_is_exactly_zero() -> None:
    assert not transform(np.zeros((1, 8000), np.float32), DEFAULT).any()


def test_a_tone_stands_in_its_bin() -> None:
    time = np.arange(8000) / RATE_HZ
    feature = transform(np.sin(2 * np.pi * 1000 * time, dtype=np.float64).astype(np.float32)[None], DEFAULT)[0]
    loudest = DEFAULT.axes(8000, RATE_HZ)[0][feature[:, 60].argmax()]
    assert abs(loudest - 1000) < RATE_HZ / 258


def test_no_clips() -> None:
    assert transform(np.zeros((0, 8000), np.float32), DEFAULT).shape == (0, 130, 126)


@pytest.mark.parametrize(
    "change", [{"hop_length": 259}, {"hop_length": 0}, {"n_fft": 1}, {"kind": "wavelet"}, {"n_fft": "258"}, {"mel": 1}]
)
def test_bad_settings_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({**msgspec.to_builtins(DEFAULT), **change}, FeatureSpec)


def test_arrays_that_do_not_fit_are_refused_before_anything_is_written() -> None:
    clips = np.zeros((3, 8000), np.float32)
    room = np.zeros((4, 130, 126), np.float32)
    assert transform(clips, DEFAULT, room[:3]) is not None
    assert np.shares_memory(transform(clips, DEFAULT, room[:3]), room)
    for out in (room[:2], room, room[:3, :129], room[:3].astype(np.float64)):
        with pytest.raises(ValueError, match="expected float32"):
            transform(clips, DEFAULT, out)
    for wrong in (clips.astype(np.float64), clips[0]):
        with pytest.raises(ValueError, match="expected float32"):
            transform(wrong, DEFAULT)
