"""One pass over every clip before any is written: which are unusable, and which are copies of others."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from features.corpus import WORDS
from features.errors import InputError
from features.sources.npz import listed

DIGEST_BYTES = 16
SCALED_PEAK = 4.0
"""Samples in [-1, 1] may overshoot a little after resampling; beyond this they were never scaled to it."""


@dataclass(frozen=True)
class Audit:
    """What one pass over the clips found."""

    digests: NDArray[np.void]
    """BLAKE2b of each clip's float32 bytes, 16 raw bytes (``V16``), shape (clips,); equal digests mean equal clips."""
    silent: int
    """Clips whose every sample is zero."""
    beyond_full_scale: int
    """Clips with a sample outside [-1, 1], as resampling can leave behind."""


def examine(
    path: Path,
    clips: int,
    blocks: Iterable[tuple[int, NDArray[np.float32]]],
    advance: Callable[[int], None] = lambda clips: None,
) -> Audit:
    """Read every clip once.

    Parameters
    ----------
    path : Path
        The file to name in an error.
    clips : int
        How many there are.
    blocks : iterable of (start, clips)
        Row of the first clip, and float32 clips of shape (any, 8000).
    advance : callable
        Called with the number of clips of each block.

    Raises
    ------
    InputError
        If samples are NaN or infinite, naming the rows, or if they are not scaled to [-1, 1].
    """
    digests = np.zeros(clips, f"V{DIGEST_BYTES}")
    peaks = np.zeros(clips, np.float32)
    for start, block in blocks:
        peaks[start : start + len(block)] = np.abs(block).max(axis=1)  # NaN and infinity survive a maximum
        digests[start : start + len(block)] = digests_of(block)
        advance(len(block))
    broken = np.flatnonzero(~np.isfinite(peaks))
    if len(broken):
        raise InputError(
            f"{len(broken)} of {clips} clips in {path} hold NaN or infinite samples (rows {listed(broken)}); expected "
            "finite samples in [-1, 1], so repair or leave out these rows"
        )
    if peaks.max() > SCALED_PEAK:
        raise InputError(
            f"the samples in {path} reach {peaks.max():g} (row {peaks.argmax()}), so their scale is ambiguous; "
            "expected [-1, 1], so divide them by the full scale they were recorded with (32768 for 16 bits)"
        )
    return Audit(digests, int((peaks == 0).sum()), int((peaks > 1).sum()))


def digests_of(clips: NDArray[np.float32]) -> NDArray[np.void]:
    """Digest each clip: float32, shape (clips, 8000), to 16 raw bytes each (``V16``), shape (clips,)."""
    digests = b"".join(blake2b(clip.data, digest_size=DIGEST_BYTES).digest() for clip in clips)
    return np.frombuffer(digests, f"V{DIGEST_BYTES}")


@dataclass(frozen=True)
class Duplicates:
    """Clips that occur more than once."""

    contents: int
    """Different clips that have copies."""
    clips: int
    """Clips beyond the first of each content."""
    words_disagree: int
    """Contents whose copies have different words."""


def count_duplicates(digests: NDArray[np.void], labels: NDArray[np.int8]) -> Duplicates:
    """Count exact duplicates.

    Examples
    --------
    >>> count_duplicates(np.array([b"a", b"b", b"a"], "V1"), np.array([0, 1, 2], np.int8))
    Duplicates(contents=1, clips=1, words_disagree=1)
    """
    _, content, copies = np.unique(digests, return_inverse=True, return_counts=True)
    pairs = np.unique(content.reshape(-1).astype(np.int64) * len(WORDS) + labels) // len(WORDS)
    words_each = np.bincount(pairs, minlength=len(copies))
    return Duplicates(
        contents=int((copies > 1).sum()), clips=int((copies - 1).sum()), words_disagree=int((words_each > 1).sum())
    )
