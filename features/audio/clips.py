"""Clips of one recording: resampled, and cut or padded to length. Nothing here is random."""

from typing import Literal

import numpy as np
import soxr
from msgspec import Struct
from numpy.typing import NDArray

from features.audio.decode import RecordingError, decode, mix
from features.corpus import Corpus

Cut = Literal["loudest", "start", "windows", "noise"]
"""Which part of a recording longer than a clip to take: the window with the most speech energy, the first one, or all,
one after the other. ``noise``: windows that overlap by half, inside segments."""
NOISE_SEGMENT_CLIPS = 10
"""A segment of noise, in clips. Its windows make one group, and no window reaches into another: no sample is in two
sets."""

PLATEAU = 0.999
"""Windows with at least this share of the largest energy are taken to hold the whole word."""


class Treatment(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What was done to a recording to make clips of it."""

    resampled_from_hz: int = 0
    """Rate of the file; 0 if it is the corpus's."""
    channel: int | None = None
    """The one channel that was taken, from 0, because the channels cancel each other."""
    cut_from_s: float = 0.0
    """Length of the recording, if it is longer than a clip."""
    onset_s: float = 0.0
    """Where the first clip begins in the recording."""
    padded_s: float = 0.0
    """Silence that was appended, if the recording is shorter than a clip."""
    missing_s: float = 0.0
    """Sound that the file's header promises and the file does not hold."""
    scaled_by: float = 1.0
    """Gain of the clips; less than 1 where they went beyond full scale, mostly by resampling."""
    silent: bool = False
    """Whether every sample is zero."""

    def __str__(self) -> str:
        """Describe it in a few words; an empty text if the recording is a clip already."""
        said = {
            f"resampled from {self.resampled_from_hz} Hz": self.resampled_from_hz,
            f"channel {(self.channel or 0) + 1} taken, the channels cancel each other": self.channel is not None,
            f"cut from {self.cut_from_s:.3f} s at {self.onset_s:.3f} s": self.cut_from_s,
            f"padded by {self.padded_s:.3f} s": self.padded_s,
            f"its header promises {self.missing_s:.3f} s more": self.missing_s,
            f"scaled by {self.scaled_by:.3f}, because it went beyond full scale": self.scaled_by < 1,
            "silent": self.silent,
        }
        return "; ".join(text for text, holds in said.items() if holds)


def prepare(content: bytes, corpus: Corpus, cut: Cut) -> tuple[NDArray[np.float32], Treatment]:
    """Make clips of a recording.

    Parameters
    ----------
    content : bytes
        A file of any format that libsndfile reads, of any rate, channels and length.
    corpus : Corpus
        Rate and length of a clip.
    cut : {"loudest", "start", "windows", "noise"}
        What to take of a recording that is longer than a clip.

    Returns
    -------
    float32 array, shape (clips, samples)
        In [-1, 1].
    Treatment

    Raises
    ------
    RecordingError
        If the file is not audio, holds no samples, or holds NaN or samples that were never scaled to [-1, 1].

    Examples
    --------
    >>> import io, soundfile
    >>> file = io.BytesIO()
    >>> soundfile.write(file, np.full(4000, 0.5), 16000, format="WAV")
    >>> clips, treatment = prepare(file.getvalue(), Corpus(), "loudest")
    >>> clips.shape, str(treatment)
    ((1, 8000), 'resampled from 16000 Hz; padded by 0.750 s')
    """
    channels, rate_hz, missing = decode(content)
    samples, channel = mix(channels)
    missing_s = missing / rate_hz
    if rate_hz != corpus.sample_rate_hz:
        samples = np.asarray(soxr.resample(samples, rate_hz, corpus.sample_rate_hz, quality="HQ"), np.float32)
    length = corpus.clip_samples
    onsets = cuts(samples, length, cut)
    if not onsets:
        raise RecordingError("is noise shorter than a clip")
    shorter_by = max(0, length - samples.size)
    samples = np.pad(samples, (0, shorter_by)) if shorter_by else samples
    clips = np.stack([samples[onset : onset + length] for onset in onsets])
    peak = float(np.abs(clips).max())
    scaled_by = min(1.0, 1 / peak) if peak else 1.0
    if scaled_by < 1:
        clips *= np.float32(scaled_by)
        np.clip(clips, -1, 1, out=clips)  # rounding
    longer = samples.size > length
    return clips, Treatment(
        resampled_from_hz=rate_hz if rate_hz != corpus.sample_rate_hz else 0,
        channel=channel,
        cut_from_s=samples.size / corpus.sample_rate_hz if longer else 0.0,
        onset_s=onsets[0] / corpus.sample_rate_hz,
        padded_s=shorter_by / corpus.sample_rate_hz,
        missing_s=missing_s,
        scaled_by=scaled_by,
        silent=not peak,
    )


def cuts(samples: NDArray[np.float32], length: int, cut: Cut) -> list[int]:
    """First sample of each clip to take of a recording."""
    if cut == "noise":
        segment = NOISE_SEGMENT_CLIPS * length
        return [
            onset
            for start in range(0, samples.size, segment)
            for onset in range(start, min(start + segment, samples.size) - length + 1, length // 2)
        ]
    if samples.size <= length or cut == "start":
        return [0]
    if cut == "windows":
        return list(range(0, samples.size - length + 1, length))
    return [loudest_window(samples, length)]


def onset_s(number: int, seconds: float, cut: Cut) -> float:
    """Where the clip of a number begins in a recording that :func:`cuts` made several clips of, in seconds.

    Examples
    --------
    >>> onset_s(3, 1.0, "windows"), onset_s(3, 1.0, "noise"), onset_s(19, 1.0, "noise")
    (3.0, 1.5, 10.0)
    """
    if cut == "noise":
        segment, inside = divmod(number, 2 * NOISE_SEGMENT_CLIPS - 1)
        return (segment * NOISE_SEGMENT_CLIPS + inside / 2) * seconds
    return number * seconds


def loudest_window(samples: NDArray[np.float32], length: int) -> int:
    """First sample of the window with the most speech energy.

    The loudest second is how Speech Commands was cut (Warden, "Speech Commands: A Dataset for Limited-Vocabulary Speech
    Recognition", 2018). Energy is that of the first difference, so that hum and rumble count for little. Where the word
    fits into many windows, the middle one is taken.

    Examples
    --------
    >>> samples = np.zeros(100, np.float32)
    >>> samples[60:70] = [1, -1] * 5
    >>> loudest_window(samples, 30)
    50
    """
    energy = np.square(np.diff(samples.astype(np.float64), prepend=samples[:1]))
    total = np.concatenate([[0.0], np.cumsum(energy)])
    windows = total[length:] - total[:-length]
    best = int(windows.argmax())
    below = np.flatnonzero(windows < PLATEAU * windows[best])
    before, after = below[below < best], below[below > best]
    first = int(before[-1]) + 1 if before.size else 0
    last = int(after[0]) - 1 if after.size else windows.size - 1
    return (first + last) // 2
