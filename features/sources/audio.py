"""Sound of one recording: decode it, choose a channel, resample, and cut or pad it to clips. Knows no folder.

What libsndfile decodes is read by soundfile, and soxr resamples. Nothing here is random.
"""

import io
import struct
from typing import Literal

import numpy as np
import soundfile
import soxr
from msgspec import Struct
from numpy.typing import NDArray

from features.corpus import Corpus

Cut = Literal["loudest", "start", "windows", "noise"]
"""Which part of a recording longer than a clip to take: the window with the most speech energy, the first one, or all,
one after the other. ``noise``: windows that overlap by half, inside segments."""
NOISE_SEGMENT_CLIPS = 10
"""A segment of noise, in clips. Its windows make one group, and no window reaches into another: no sample is in two
sets."""

CANCELLATION_DB = 20.0
"""Where the mean of the channels is quieter than the loudest channel by more than this, they cancel each other."""
SCALED_PEAK = 4.0
"""Decoded samples lie in [-1, 1]; a file with larger ones than this was never scaled."""
LARGEST_SAMPLES = 1 << 27
"""Samples of all channels that are decoded at most, 0.5 GB: 47 minutes of stereo at 24 kHz."""
PLATEAU = 0.999
"""Windows with at least this share of the largest energy are taken to hold the whole word."""


class RecordingError(Exception):
    """A file that gives no clip; the message is the reason, to follow its name."""


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
    """Gain of the clips; less than 1 where resampling went beyond full scale."""
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
            f"scaled by {self.scaled_by:.3f}, because resampling went beyond full scale": self.scaled_by < 1,
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
    >>> file = io.BytesIO()
    >>> soundfile.write(file, np.full(4000, 0.5), 16000, format="WAV")
    >>> clips, treatment = prepare(file.getvalue(), Corpus(), "loudest")
    >>> clips.shape, str(treatment)
    ((1, 8000), 'resampled from 16000 Hz; padded by 0.750 s')
    """
    channels, rate_hz = decode(content)
    samples, channel = mix(channels)
    missing_s = max(0, declared_frames(content) - len(channels)) / rate_hz
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


def decode(content: bytes) -> tuple[NDArray[np.float32], int]:
    """Decode a file to float32 samples, shape (frames, channels), and their rate in Hz.

    Raises
    ------
    RecordingError
        As :func:`prepare`.
    """
    try:
        with soundfile.SoundFile(io.BytesIO(content)) as file:
            if file.frames * file.channels > LARGEST_SAMPLES:
                raise RecordingError(f"holds {file.frames:,} frames; at most {LARGEST_SAMPLES:,} samples are read")
            samples, rate_hz = file.read(dtype="float32", always_2d=True), file.samplerate
    except (soundfile.LibsndfileError, ValueError, TypeError, RuntimeError) as error:
        why = getattr(error, "error_string", str(error)).strip().rstrip(".")
        raise RecordingError(f"is not readable audio ({why})" if content else "is empty") from None
    if not samples.size:
        raise RecordingError("holds no samples")
    peak = float(np.abs(samples).max())  # NaN and infinity survive a maximum
    if not np.isfinite(peak):
        raise RecordingError("holds NaN or infinite samples")
    if peak > SCALED_PEAK:
        raise RecordingError(f"holds samples up to {peak:g} where full scale is 1")
    return samples, int(rate_hz)


def mix(channels: NDArray[np.float32]) -> tuple[NDArray[np.float32], int | None]:
    """Mix channels to one: their mean, or the loudest channel where they cancel each other.

    Parameters
    ----------
    channels : float32 array, shape (frames, channels)

    Returns
    -------
    float32 array, shape (frames,)
    int or None
        Number of the channel that was taken instead of the mean.

    Examples
    --------
    >>> left = np.array([0.5, -0.5], np.float32)
    >>> mix(np.stack([left, -left], axis=1))
    (array([ 0.5, -0.5], dtype=float32), 0)
    """
    if channels.shape[1] == 1:
        return channels[:, 0], None
    mean = channels.mean(axis=1)
    power = np.square(channels).mean(axis=0)
    loudest = int(power.argmax())
    if np.square(mean).mean() < power[loudest] / 10 ** (CANCELLATION_DB / 10):
        return channels[:, loudest], loudest
    return mean, None


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


def declared_frames(content: bytes) -> int:
    """Frames that the header of a wav file promises; 0 for a stream of unknown length and for other formats.

    libsndfile reads what is there and says nothing of what is missing. The layout is that of Microsoft's "Multimedia
    Programming Interface and Data Specifications 1.0" (1991).
    """
    if content[:4] != b"RIFF" or content[8:12] != b"WAVE":
        return 0
    at, block = 12, 0
    while at + 8 <= len(content):
        name, size = struct.unpack_from("<4sI", content, at)
        if name == b"fmt " and at + 22 <= len(content):
            (block,) = struct.unpack_from("<H", content, at + 20)
        if name == b"data":
            return size // block if block and size < 0x7FFFFFFF and size > len(content) - at - 8 else 0
        at += 8 + size + size % 2
    return 0
