import librosa
import msgspec
import numpy as np
import pytest

from features.spectrogram import KINDS, FeatureSpec, transform

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


def librosas(kind: str, clip: np.ndarray, rate_hz: int, **mel: float) -> np.ndarray:
    """Features of one clip, by librosa alone."""
    magnitude = np.abs(librosa.stft(clip, n_fft=258, hop_length=64))
    frames = {"sr": rate_hz, "n_fft": 258, "hop_length": 64}
    if kind in ("power", "logmagnitude"):
        return magnitude**2 if kind == "power" else librosa.amplitude_to_db(magnitude, ref=1.0, top_db=None)
    if kind == "pcen":
        bands = librosa.feature.melspectrogram(y=clip * 2.0**31, power=1, **frames, **mel)
        return librosa.pcen(bands, sr=rate_hz, hop_length=64)
    bands = librosa.feature.melspectrogram(y=clip, **frames, **mel)
    if kind == "mel":
        return bands
    decibels = librosa.power_to_db(bands, ref=1.0, top_db=None)
    if kind == "logmel":
        return decibels
    coefficients = librosa.feature.mfcc(S=decibels, n_mfcc=13)
    slopes = [librosa.feature.delta(coefficients, order=order, mode="nearest") for order in (1, 2)]
    return np.concatenate([coefficients, *slopes])


@pytest.mark.parametrize(
    ("rate_hz", "mel"),
    [(8000, {"n_mels": 40, "fmin": 20.0, "fmax": 4000.0}), (16000, {"n_mels": 20, "fmin": 100.0, "fmax": 6000.0})],
)
@pytest.mark.parametrize("kind", ["power", "logmagnitude", "mel", "logmel", "mfcc", "pcen"])
def test_every_kind_is_librosas(kind: str, rate_hz: int, mel: dict[str, float]) -> None:
    made = clips(4)
    made[3] = 0
    highest = None if mel["fmax"] == rate_hz / 2 else mel["fmax"]
    spec = FeatureSpec(
        kind=kind, n_fft=258, hop_length=64, window="hann", n_mels=mel["n_mels"], fmin_hz=mel["fmin"], fmax_hz=highest
    )
    features = transform(made, spec, sample_rate_hz=rate_hz)
    assert features.shape[1:] == spec.shape(8000)
    for clip, feature in zip(made, features, strict=True):
        expected = librosas(kind, clip, rate_hz, **mel)
        np.testing.assert_allclose(feature, expected, rtol=0, atol=2e-5 * np.abs(expected).max() + 1e-30)
    if kind in ("mel", "logmel", "pcen"):
        centres = librosa.mel_frequencies(n_mels=mel["n_mels"] + 2, fmin=mel["fmin"], fmax=mel["fmax"])[1:-1]
        np.testing.assert_allclose(spec.axes(8000, rate_hz)[0], centres)


def test_mfcc_without_deltas_are_the_first_rows_of_those_with() -> None:
    spec = msgspec.convert({**msgspec.to_builtins(DEFAULT), "kind": "mfcc"}, FeatureSpec)
    plain = msgspec.structs.replace(spec, deltas=False)
    assert (spec.shape(8000), plain.shape(8000)) == ((39, 126), (13, 126))
    np.testing.assert_array_equal(transform(clips(1), spec)[:, :13], transform(clips(1), plain))
    assert plain.axes(8000, RATE_HZ)[0].tolist() == list(range(13))


def test_settings_that_a_kind_does_not_use_do_not_count() -> None:
    other = msgspec.structs.replace(DEFAULT, n_mels=64, n_mfcc=20)
    assert DEFAULT.used == other.used == {"kind": "magnitude", "n_fft": 258, "hop_length": 64, "window": "hann"}
    mel = msgspec.structs.replace(DEFAULT, kind="mel")
    assert mel.used != msgspec.structs.replace(mel, n_mels=64).used
    mfcc = msgspec.structs.replace(DEFAULT, kind="mfcc")
    for name, value in (("deltas", False), ("n_mfcc", 20), ("fmin_hz", 50.0), ("fmax_hz", 3000.0)):
        assert mfcc.used != msgspec.structs.replace(mfcc, **{name: value}).used


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"n_mels": 200}, "mel bands hold no bin of a transform of 258 samples at 8000 Hz"),
        ({"fmax_hz": 5000.0}, "no range up to half the sample rate, 4000"),
        ({"fmin_hz": 4000.0}, "no range up to half the sample rate, 4000"),
    ],
)
def test_mel_bands_that_do_not_fit_are_refused(settings: dict[str, float], why: str) -> None:
    spec = msgspec.structs.replace(DEFAULT, kind="logmel", **settings)
    with pytest.raises(ValueError, match=why):
        transform(clips(1), spec)


@pytest.mark.parametrize("kind", KINDS)
def test_a_clip_gives_the_same_bytes_among_others(kind: str) -> None:
    made, spec = clips(3), msgspec.structs.replace(DEFAULT, kind=kind)
    together = transform(made, spec)
    made.flags.writeable = False
    for clip, feature in zip(made, together, strict=True):
        np.testing.assert_array_equal(transform(clip[None], spec)[0], feature)


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
