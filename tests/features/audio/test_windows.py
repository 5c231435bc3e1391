import io

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from features.audio import windows as module
from features.audio.decode import RecordingError
from features.audio.windows import blocks, scan, windows


def recording(samples: np.ndarray, rate_hz: int = 16000, form: str = "WAV", subtype: str = "FLOAT") -> io.BytesIO:
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, subtype, format=form)
    file.seek(0)
    return file


@given(st.lists(st.integers(0, 30), max_size=8), st.integers(1, 12), st.integers(1, 12))
def test_windows_are_those_of_the_whole(pieces: list[int], length: int, hop: int) -> None:
    """However the samples arrive, and every sample is in a window."""
    hop = min(hop, length)
    whole = np.arange(1, sum(pieces) + 1, dtype=np.float32) / 1000
    cuts = np.split(whole, np.cumsum(pieces)[:-1]) if pieces else []
    found = [window for batch in windows(cuts, length, hop) for window in batch]
    for number, window in enumerate(found):
        expected = whole[number * hop : number * hop + length]
        np.testing.assert_array_equal(window, np.pad(expected, (0, length - len(expected))))
    if len(whole):
        assert (len(found) - 1) * hop + length >= len(whole)
        assert len(found) == 1 or (len(found) - 2) * hop + length < len(whole)  # and no more windows than that takes


def test_a_window_beyond_full_scale_is_scaled_down_alone() -> None:
    (batch,) = windows([np.array([0.5, 0.5, 2.0, 1.0], np.float32)], 2, 2)
    np.testing.assert_allclose(batch, [[0.5, 0.5], [1.0, 0.5]])


@pytest.mark.parametrize("rate_hz", [8000, 16000, 44100])
def test_blocks_are_the_recording_at_the_rate_asked_for(rate_hz: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK_S", 1)
    samples = 0.5 * np.sin(2 * np.pi * 500 * np.arange(3 * rate_hz) / rate_hz)
    file = recording(np.stack([samples, samples], axis=1), rate_hz)
    scanned = scan(file)
    assert (scanned.rate_hz, scanned.seconds, scanned.channel, scanned.silent) == (rate_hz, 3.0, None, False)
    read = np.concatenate(list(blocks(file, scanned, 8000)))
    assert len(read) == pytest.approx(24000, abs=1)
    expected = 0.5 * np.sin(2 * np.pi * 500 * np.arange(24000) / 8000)
    np.testing.assert_allclose(read[100:23900], expected[100:23900], atol=1e-3)


def test_channels_that_cancel_each_other() -> None:
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 16000)
    file = recording(np.stack([0.1 * samples, -samples, 0.9 * samples], axis=1))
    assert scan(file).channel == 1
    (read,) = blocks(file, scan(file), 16000)
    np.testing.assert_allclose(read, -samples, atol=1e-6)


def test_what_a_header_promises_and_silence_are_told() -> None:
    content = recording(np.zeros(16000), subtype="PCM_16").getvalue()
    scanned = scan(io.BytesIO(content[: len(content) - 16000]))
    assert scanned.silent
    assert scanned.missing_s == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is empty"),
        (b"text", "is not readable audio"),
        (recording(np.zeros(0)).getvalue(), "holds no samples"),
        (recording(np.r_[np.zeros(20000), np.nan]).getvalue(), "NaN"),
        (recording(np.r_[np.zeros(20000), 32767.0]).getvalue(), "full scale is 1"),
    ],
    ids=["empty", "text", "no samples", "NaN", "unscaled"],
)
def test_what_cannot_be_used(content: bytes, why: str) -> None:
    with pytest.raises(RecordingError, match=why):
        scan(io.BytesIO(content))


@pytest.mark.parametrize(("form", "subtype"), [("MP3", "MPEG_LAYER_III"), ("WAV", "PCM_16"), ("OGG", "VORBIS")])
def test_a_recording_that_ends_early_gives_what_there_is(form: str, subtype: str) -> None:
    """And no sample twice: each second of it has a tone of its own."""
    time = np.arange(20 * 16000) / 16000
    whole = recording(0.5 * np.sin(2 * np.pi * (300 + 100 * np.floor(time)) * time), 16000, form, subtype).getvalue()
    file = io.BytesIO(whole[: len(whole) * 6 // 10])
    scanned = scan(file)
    assert 8 < scanned.seconds < 15
    if form != "OGG":  # whose length is that of its last page
        assert scanned.seconds + scanned.missing_s == pytest.approx(20, abs=0.2)
    read = np.concatenate(list(blocks(file, scanned, 16000)))
    assert len(read) == round(scanned.seconds * 16000)
    for second in range(1, int(scanned.seconds) - 1):
        spectrum = np.abs(np.fft.rfft(read[second * 16000 + 4000 : second * 16000 + 12000]))
        assert spectrum.argmax() * 2 == pytest.approx(300 + 100 * second, abs=4)


def test_an_intact_recording_lacks_nothing() -> None:
    samples = np.random.default_rng(0).uniform(-0.3, 0.3, 16000 * 7)
    for form, subtype in (("MP3", "MPEG_LAYER_III"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("FLAC", "PCM_16")):
        assert scan(recording(samples, 16000, form, subtype)).missing_s == 0


def test_windows_come_in_batches_of_bounded_size() -> None:
    """However many one piece holds, as one of a recording of a very low rate does."""
    sizes = [len(batch) for batch in windows([np.zeros(100_000, np.float32)], 100, 10)]
    assert max(sizes) == module.MOST_WINDOWS
    assert sum(sizes) == (100_000 - 100) // 10 + 1
