import io

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from features.audio.clips import NOISE_SEGMENT_CLIPS, cuts, loudest_window, prepare
from features.audio.decode import RecordingError
from features.corpus import Corpus

CORPUS = Corpus()
FORMS = [
    ("WAV", "PCM_U8"), ("WAV", "PCM_16"), ("WAV", "PCM_24"), ("WAV", "FLOAT"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"),
    ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III"), ("AIFF", "PCM_16"),
]  # fmt: skip


def tone(seconds: float, frequency_hz: float, rate_hz: int) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * frequency_hz * np.arange(round(seconds * rate_hz)) / rate_hz)


def encoded(samples: np.ndarray, rate_hz: int = 16000, form: str = "WAV", subtype: str = "PCM_16") -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, samples, rate_hz, subtype, format=form)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("form", "subtype", "rate_hz"),
    [
        (*form, rate_hz)
        for form in FORMS
        for rate_hz in (8000, 16000, 22050, 44100, 48000)
        if form[1] != "OPUS" or rate_hz not in (22050, 44100)  # rates that Opus lacks
    ],
)
def test_a_tone_stays_a_tone_in_every_form_and_rate(rate_hz: int, form: str, subtype: str) -> None:
    clips, treatment = prepare(encoded(tone(1, 500, rate_hz), rate_hz, form, subtype), CORPUS, "loudest")
    assert clips.shape[1:] == (8000,)
    spectrum = np.abs(np.fft.rfft(clips[0]))
    assert spectrum.argmax() == 500
    assert np.abs(clips[0, 1000:-1000]).max() == pytest.approx(0.5, abs=0.05)
    if subtype != "OPUS":  # which always decodes to 48 kHz
        assert treatment.resampled_from_hz == (0 if rate_hz == 8000 else rate_hz)


@pytest.mark.parametrize(("form", "subtype"), [("WAV", "GSM610"), ("WAV", "ULAW"), ("AU", "G721_32")])
def test_telephone_codecs(form: str, subtype: str) -> None:
    """Some of which libsndfile reads only when it is told how many frames."""
    clips, _ = prepare(encoded(tone(1, 500, 8000), 8000, form, subtype), CORPUS, "loudest")
    assert np.abs(np.fft.rfft(clips[0])).argmax() == 500


def test_what_a_rate_cannot_hold_is_removed() -> None:
    clips, _ = prepare(encoded(tone(1, 6000, 16000)), CORPUS, "start")  # would stand at 2 kHz
    assert np.abs(clips[0, 500:-500]).max() < 1e-3


def test_channels_that_cancel_each_other() -> None:
    left = tone(1, 500, 16000)
    clips, treatment = prepare(encoded(np.stack([left, -left], axis=1)), CORPUS, "loudest")
    assert np.abs(clips).max() > 0.4
    assert treatment.channel == 0
    clips, treatment = prepare(encoded(np.stack([left, np.zeros_like(left)], axis=1)), CORPUS, "loudest")
    assert np.abs(clips).max() == pytest.approx(0.25, abs=0.01)
    assert treatment.channel is None


@pytest.mark.parametrize("at_s", [0.0, 0.7, 2.0])
def test_the_word_in_a_long_recording_is_found(at_s: float) -> None:
    samples = 0.3 * tone(3, 50, 16000)  # hum
    onset = round(at_s * 16000)
    samples[onset : onset + 6400] += 0.3 * tone(0.4, 800, 16000)
    clips, treatment = prepare(encoded(samples), CORPUS, "loudest")
    assert treatment.onset_s <= at_s + 0.005
    assert at_s + 0.395 <= treatment.onset_s + 1
    assert treatment.cut_from_s == 3
    spectrum = np.abs(np.fft.rfft(clips[0]))
    assert spectrum[790:810].max() > 0.3 * spectrum.max()


def test_cuts() -> None:
    samples = np.ones(100, np.float32)
    assert cuts(samples, 30, "start") == [0]
    assert cuts(samples, 30, "windows") == [0, 30, 60]
    assert cuts(samples[:20], 30, "loudest") == cuts(samples[:20], 30, "windows") == [0]
    assert cuts(samples, 4, "noise")[:3] == [0, 2, 4]
    assert cuts(samples[:3], 4, "noise") == []


@given(st.integers(1, 500), st.integers(2, 20))
def test_windows_of_two_segments_of_noise_share_no_sample(samples: int, length: int) -> None:
    segment = NOISE_SEGMENT_CLIPS * length
    for onset in cuts(np.zeros(samples, np.float32), length, "noise"):
        assert onset + length <= samples
        assert onset // segment == (onset + length - 1) // segment


def test_loudest_window_of_silence_is_in_the_middle() -> None:
    assert loudest_window(np.zeros(100, np.float32), 40) == 30


def test_short_recordings_are_padded_and_that_is_said() -> None:
    clips, treatment = prepare(encoded(tone(0.6, 500, 16000)), CORPUS, "loudest")
    assert treatment.padded_s == pytest.approx(0.4)
    assert not clips[0, 4900:].any()


def test_a_wav_that_is_cut_short_is_told_from_a_stream() -> None:
    whole = encoded(tone(1, 500, 16000))
    _, treatment = prepare(whole[: len(whole) // 2], CORPUS, "loudest")
    assert treatment.missing_s == pytest.approx(0.5, abs=0.01)
    at = whole.index(b"data") + 4
    stream = whole[:at] + b"\xff\xff\xff\xff" + whole[at + 4 :]
    clips, treatment = prepare(stream, CORPUS, "loudest")
    assert (treatment.missing_s, treatment.padded_s) == (0, 0)
    np.testing.assert_array_equal(clips, prepare(whole, CORPUS, "loudest")[0])


def test_resampling_stays_within_full_scale() -> None:
    square = np.sign(tone(1, 700, 16000))
    clips, treatment = prepare(encoded(square, subtype="FLOAT"), CORPUS, "loudest")
    assert np.abs(clips).max() <= 1
    assert 0.7 < treatment.scaled_by < 1


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is empty"),
        (b"not a wav", "is not readable audio"),
        (encoded(np.zeros(0)), "holds no samples"),
        (encoded(np.array([0, np.nan]), subtype="FLOAT"), "NaN"),
        (encoded(np.array([0, np.inf]), subtype="FLOAT"), "infinite"),
        (encoded(np.array([0, 32767.0]), subtype="FLOAT"), "samples up to 32767 where full scale is 1"),
    ],
    ids=["empty", "text", "no samples", "NaN", "infinite", "unscaled"],
)
def test_what_cannot_be_used(content: bytes, why: str) -> None:
    with pytest.raises(RecordingError, match=why):
        prepare(content, CORPUS, "loudest")


@pytest.mark.parametrize("samples", [1, 2, 5])
def test_a_few_samples_are_a_clip(samples: int) -> None:
    clips, treatment = prepare(encoded(np.full(samples, 0.1), 48000), CORPUS, "loudest")
    assert clips.shape == (1, 8000)
    assert treatment.padded_s > 0.99
