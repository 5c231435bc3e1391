"""A long recording as overlapping windows: read in blocks, so memory does not grow with its length."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from features.audio.decode import RecordingError, declared_frames, opened, refuse_unscaled, uncancelled

BLOCK_S = 5
"""Sound that is decoded at once."""
MOST_WINDOWS = 64
"""Windows that are given out at once."""


@dataclass(frozen=True)
class Scan:
    """What one pass over a recording tells of it."""

    rate_hz: int
    seconds: float
    channel: int | None
    """The one channel to take, because the channels cancel each other; None for their mean."""
    missing_s: float
    """Sound that the header promises and the file does not hold."""
    silent: bool


def scan(file: BinaryIO) -> Scan:
    """Go through a recording once.

    Raises
    ------
    RecordingError
        If it is not audio, holds no samples, or holds NaN or samples that were never scaled to [-1, 1].
    """
    frames, energies, energy_of_mean = 0, np.zeros(1), 0.0
    promised = declared_frames(file)
    file.seek(0)
    with opened(file) as sound:
        rate_hz, promised = int(sound.samplerate), max(promised, sound.frames)
        for block in _read(sound):
            refuse_unscaled(block)
            frames += len(block)
            energies = energies + np.square(block, dtype=np.float64).sum(axis=0)
            energy_of_mean += float(np.square(block.mean(axis=1), dtype=np.float64).sum())
    if not frames:
        raise RecordingError("holds no samples")
    channel = uncancelled(energies, energy_of_mean)
    return Scan(rate_hz, frames / rate_hz, channel, max(0, promised - frames) / rate_hz, not energies.any())


def blocks(file: BinaryIO, scanned: Scan, rate_hz: int) -> Iterator[NDArray[np.float32]]:
    """Decode a recording block by block, as one channel at a rate.

    Yields
    ------
    float32 array, shape (samples,)
    """
    file.seek(0)
    resampler = soxr.ResampleStream(scanned.rate_hz, rate_hz, 1, dtype="float32", quality="HQ")
    with opened(file) as sound:
        for block in _read(sound):
            mixed = block.mean(axis=1) if scanned.channel is None else block[:, scanned.channel]
            yield mixed if scanned.rate_hz == rate_hz else resampler.resample_chunk(np.ascontiguousarray(mixed))
    if scanned.rate_hz != rate_hz:
        yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)


def _read(sound: soundfile.SoundFile) -> Iterator[NDArray[np.float32]]:
    """Blocks of a recording; ``SoundFile.blocks`` gives old memory where a file ends before it promises to."""
    while len(block := sound.read(BLOCK_S * sound.samplerate, dtype="float32", always_2d=True)):
        yield block


def windows(samples: Iterable[NDArray[np.float32]], length: int, hop: int) -> Iterator[NDArray[np.float32]]:
    """Cut a stream of samples into overlapping windows, as soon as they are complete.

    Parameters
    ----------
    samples : iterable of float32 arrays, shape (samples,)
        Pieces of any length.
    length : int
        Samples of a window.
    hop : int
        Samples from the start of a window to that of the next, at most ``length``.

    Yields
    ------
    float32 array, shape (windows, length)
        In [-1, 1]: a window beyond full scale is scaled down. The last window is padded with zeros, so that every
        sample is in one.

    Examples
    --------
    >>> pieces = [np.array([0.1, 0.2, 0.3], np.float32), np.array([0.4, 0.5], np.float32)]
    >>> [batch.tolist() for batch in windows(pieces, 4, 2)]
    [[[0.10000000149011612, 0.20000000298023224, 0.30000001192092896, 0.4000000059604645]],
     [[0.30000001192092896, 0.4000000059604645, 0.5, 0.0]]]
    """
    held = np.zeros(0, np.float32)
    covered = 0  # samples at the start of what is held that are in a window already
    for piece in samples:
        held = np.concatenate([held, piece])
        complete = (len(held) - length) // hop + 1
        while complete > 0:
            number = min(complete, MOST_WINDOWS)
            yield _cut(held, number, length, hop)
            held, covered, complete = held[number * hop :], max(0, length - hop), complete - number
    if len(held) > covered:
        last = max(0, -(-(len(held) - length) // hop)) + 1
        yield _cut(np.pad(held, (0, (last - 1) * hop + length - len(held))), last, length, hop)


def _cut(samples: NDArray[np.float32], number: int, length: int, hop: int) -> NDArray[np.float32]:
    cut = np.lib.stride_tricks.sliding_window_view(samples, length)[::hop][:number]
    return cut / np.maximum(np.abs(cut).max(axis=1, keepdims=True), 1)
