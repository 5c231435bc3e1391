"""Samples of one recording: decoded by libsndfile, its channels mixed to one."""

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np
import soundfile
from numpy.typing import NDArray

CANCELLATION_DB = 20.0
"""Where the mean of the channels is quieter than the loudest channel by more than this, they cancel each other."""
SCALED_PEAK = 4.0
"""Decoded samples lie in [-1, 1]; a file with larger ones than this was never scaled."""
LARGEST_SAMPLES = 1 << 27
"""Samples of all channels that are decoded at most, 0.5 GB: 47 minutes of stereo at 24 kHz."""


class RecordingError(Exception):
    """A file that gives no clip; the message is the reason, to follow its name."""


def decode(content: bytes) -> tuple[NDArray[np.float32], int, int]:
    """Decode a file.

    Returns
    -------
    float32 array, shape (frames, channels)
    int
        Rate in Hz.
    int
        Frames that the file promises and does not hold.

    Raises
    ------
    RecordingError
        If the file is not audio, holds too many samples or none, or holds NaN or samples that were never scaled to
        [-1, 1].
    """
    with opened(io.BytesIO(content)) as file:
        if file.frames * file.channels > LARGEST_SAMPLES:
            raise RecordingError(f"holds {file.frames:,} frames; at most {LARGEST_SAMPLES:,} samples are read")
        promised, rate_hz = max(file.frames, declared_frames(io.BytesIO(content))), int(file.samplerate)
        samples = file.read(file.frames, dtype="float32", always_2d=True)  # some forms must be told how many
    if not samples.size:
        raise RecordingError("holds no samples")
    refuse_unscaled(samples)
    return samples, rate_hz, promised - len(samples)


@contextmanager
def opened(file: BinaryIO) -> Iterator[soundfile.SoundFile]:
    """Open a file with libsndfile; its errors become a :class:`RecordingError`."""
    try:
        with soundfile.SoundFile(file) as sound:
            yield sound
    except (soundfile.LibsndfileError, ValueError, TypeError, RuntimeError) as error:
        if not file.seek(0, io.SEEK_END):
            raise RecordingError("is empty") from None
        why = getattr(error, "error_string", str(error)).strip().rstrip(".")
        raise RecordingError(f"is not readable audio ({why})") from None


def refuse_unscaled(samples: NDArray[np.float32]) -> None:
    """Refuse samples that are NaN, infinite or far beyond full scale."""
    peak = float(np.abs(samples).max())  # NaN and infinity survive a maximum
    if not np.isfinite(peak):
        raise RecordingError("holds NaN or infinite samples")
    if peak > SCALED_PEAK:
        raise RecordingError(f"holds samples up to {peak:g} where full scale is 1")


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
    mean = channels.mean(axis=1)
    channel = uncancelled(np.square(channels).sum(axis=0), float(np.square(mean).sum()))
    return (mean if channel is None else channels[:, channel]), channel


def uncancelled(energies: NDArray[np.floating[Any]], energy_of_mean: float) -> int | None:
    """The loudest channel if the channels cancel each other in their mean, else None."""
    loudest = int(energies.argmax())
    cancelled = energy_of_mean < energies[loudest] / 10 ** (CANCELLATION_DB / 10)
    return loudest if cancelled else None


def declared_frames(file: BinaryIO) -> int:
    """Frames that the header of a wav file promises; 0 for a stream of unknown length and for other formats.

    libsndfile reads what is there and says nothing of what is missing. The layout is that of Microsoft's "Multimedia
    Programming Interface and Data Specifications 1.0" (1991).
    """
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    form, _, kind = struct.unpack("<4sI4s", file.read(12).ljust(12, b"\0"))
    if (form, kind) != (b"RIFF", b"WAVE"):
        return 0
    at, block = 12, 0
    while at + 8 <= size:
        file.seek(at)
        name, bytes_ = struct.unpack("<4sI", file.read(8))
        if name == b"fmt " and at + 22 <= size:
            (block,) = struct.unpack("<12xH", file.read(14))
        if name == b"data":
            return bytes_ // block if block and bytes_ < 0x7FFFFFFF and bytes_ > size - at - 8 else 0
        at += 8 + bytes_ + bytes_ % 2
    return 0
