"""Near-duplicates: the same take trimmed, louder or encoded again, found by an acoustic fingerprint.

The fingerprint is that of Haitsma and Kalker, "A Highly Robust Audio Fingerprinting System" (ISMIR 2002), with frames
short enough for one word: 32 bits a frame, each the sign of how the difference of two neighbouring bands changes. It is
blind to loudness. Clips that share whole frames are compared at the shift at which they share them.
"""

from collections.abc import Iterator

import numpy as np
from ducc0.fft import r2c
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

FRAME_S, HOP_S = 0.064, 0.008
LOWEST_HZ, HIGHEST_HZ = 200.0, 3600.0
BITS = 32
COMMON = 32
"""Frames that more clips share than this tell nothing, such as those of digital silence."""
ERROR_RATE = 0.25
"""Share of bits in which two clips of one take differ at most."""
PARTS = 16
"""Parts in which frames are compared, one after the other."""
OVERLAP = 0.5
"""Share of its frames that a clip must have in common with another at their shift."""


def fingerprints(clips: NDArray[np.float32], rate_hz: int) -> NDArray[np.uint32]:
    """Fingerprint each clip.

    Parameters
    ----------
    clips : float32 array, shape (clips, samples)
    rate_hz : int

    Returns
    -------
    uint32 array, shape (clips, frames)
        A bit a band; 0 where a frame is silent.
    """
    size, hop = round(FRAME_S * rate_hz), round(HOP_S * rate_hz)
    window = np.hanning(size).astype(np.float32)
    edges = np.geomspace(LOWEST_HZ, min(HIGHEST_HZ, 0.45 * rate_hz), BITS + 2) * size / rate_hz
    bins = np.arange(size // 2 + 1)[:, np.newaxis]
    # How much of each bin lies in a band, so that bands narrower than a bin differ too.
    share = np.clip(np.minimum(bins + 0.5, edges[1:]) - np.maximum(bins - 0.5, edges[:-1]), 0, 1).astype(np.float32)
    count = (clips.shape[1] - size) // hop + 1
    windowed, spectrum = np.empty((count, size), np.float32), np.empty((count, len(bins)), np.complex64)
    power = np.empty(spectrum.shape, np.float32)
    found = np.empty((len(clips), count - 1), np.uint32)
    for clip, bits in zip(clips, found, strict=True):
        np.multiply(sliding_window_view(clip, size)[::hop], window, out=windowed)
        np.abs(r2c(windowed, axes=(1,), out=spectrum), out=power)
        energy = np.square(power, out=power) @ share
        change = np.diff(np.diff(energy, axis=1), axis=0)
        bits[:] = np.packbits(change > 0, axis=1).view(np.uint32)[:, 0]
    return found


def near_pairs(prints: NDArray[np.uint32]) -> NDArray[np.int64]:
    """Find pairs of clips whose fingerprints differ in few bits at some shift.

    Parameters
    ----------
    prints : uint32 array, shape (clips, frames)

    Returns
    -------
    int64 array, shape (pairs, 2)
        The lower number first, sorted.
    """
    frames = prints.shape[1]
    words = prints.reshape(-1)
    candidates: set[tuple[int, int, int]] = set()
    for part in range(PARTS):  # so that memory is little beside the fingerprints
        places = np.flatnonzero(words % PARTS == part)
        places = places[np.argsort(words[places], kind="stable")]
        candidates.update(_sharing(words[places], places, frames))
    near = {(one, other) for one, other, shift in candidates if _are_alike(prints[one], prints[other], shift)}
    return np.array(sorted(near), np.int64).reshape(-1, 2)


def _sharing(words: NDArray[np.uint32], places: NDArray[np.int64], frames: int) -> Iterator[tuple[int, int, int]]:
    """Pairs of clips that share a frame, and the shift, given sorted frames and where they are."""
    sharing = np.searchsorted(words, words, "right") - np.searchsorted(words, words, "left")
    rare = (sharing <= COMMON) & (words != 0)
    places, words = places[rare], words[rare]
    for step in range(1, COMMON):
        same = np.flatnonzero(words[step:] == words[:-step])
        # Places are in order, so the lower number is first.
        one, other = places[same], places[same + step]
        found = np.stack([one // frames, other // frames, other % frames - one % frames], axis=1)
        yield from map(tuple, np.unique(found[found[:, 0] != found[:, 1]], axis=0).tolist())


def _are_alike(one: NDArray[np.uint32], other: NDArray[np.uint32], shift: int) -> bool:
    """Whether two fingerprints are alike where they overlap, the other one ``shift`` frames late."""
    overlap = len(one) - abs(shift)
    if overlap < OVERLAP * len(one):
        return False
    bits = one[max(0, -shift) :][:overlap] ^ other[max(0, shift) :][:overlap]
    return int(np.unpackbits(bits.view(np.uint8)).sum()) <= ERROR_RATE * BITS * overlap
