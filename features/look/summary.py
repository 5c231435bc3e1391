"""Summary of a store: statistics of its values, and clips that look wrong. Reads the store once, chunk by chunk."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.corpus import word_counts
from features.store.reader import Store, WaveformStore

FULL_SCALE = 0.999
"""A sample counts as clipped from this absolute value on."""
CLIPPED_SAMPLES = 8
"""A clip with this many clipped samples (one millisecond) is suspicious."""


@dataclass
class Statistics:
    """Range, mean and standard deviation of values, gathered chunk by chunk."""

    count: int = 0
    minimum: float = np.inf
    maximum: float = -np.inf
    total: float = 0.0
    squares: float = 0.0

    def add(self, values: NDArray[Any]) -> None:
        """Add values; those that are not finite are left out."""
        finite = values[np.isfinite(values)] if not np.isfinite(values).all() else values
        if finite.size:
            self.count += finite.size
            self.minimum = min(self.minimum, float(finite.min()))
            self.maximum = max(self.maximum, float(finite.max()))
            self.total += float(finite.sum(dtype=np.float64))
            self.squares += float(np.square(finite, dtype=np.float64).sum())

    def summary(self) -> dict[str, float]:
        """Minimum, maximum, mean and standard deviation."""
        mean = self.total / max(self.count, 1)
        variance = max(self.squares / max(self.count, 1) - mean**2, 0.0)
        return {"minimum": self.minimum, "maximum": self.maximum, "mean": mean, "standard_deviation": variance**0.5}


@dataclass(frozen=True)
class Suspicious:
    """Numbers of clips that look wrong; None if it was not possible to check."""

    silent: list[int] = field(default_factory=list)
    """Every sample or bin is zero."""
    non_finite: list[int] = field(default_factory=list)
    """Some value is infinite or NaN."""
    clipped: list[int] | None = field(default_factory=list)
    """At least a millisecond at full scale; only waveforms show it."""
    duplicates: list[list[int]] = field(default_factory=list)
    """Groups of clips with identical samples."""


@dataclass(frozen=True)
class Inspection:
    """Result of :func:`inspect`."""

    words: dict[str, int]
    statistics: dict[str, float]
    suspicious: Suspicious


def inspect(store: Store, waveforms: WaveformStore | None, advance: Callable[[int], None]) -> Inspection:
    """Read every value of a store and summarise it.

    Parameters
    ----------
    store : Store
        Of waveforms or of features.
    waveforms : WaveformStore or None
        The clips that the features were computed from, to find clipped ones.
    advance : callable
        Called with the number of clips after each chunk.

    Returns
    -------
    Inspection

    Raises
    ------
    InputError
        If a shard is damaged.
    """
    statistics = Statistics()
    silent, non_finite = [], []
    clipped: list[int] = []
    samples = store if isinstance(store, WaveformStore) else waveforms
    for start, chunk in numbered_chunks(store):
        values = chunk.astype(np.float32, copy=False).reshape(len(chunk), -1)
        statistics.add(values)
        silent += (start + np.flatnonzero(~values.any(axis=1))).tolist()
        non_finite += (start + np.flatnonzero(~np.isfinite(values).all(axis=1))).tolist()
        if samples is store:
            clipped += _clipped(start, chunk)
        advance(len(chunk))
    if samples is not None and samples is not store:
        for start, chunk in numbered_chunks(samples):
            clipped += _clipped(start, chunk)
            advance(len(chunk))
    suspicious = Suspicious(silent, non_finite, None if samples is None else clipped, _duplicates(store))
    return Inspection(word_counts(store.labels), statistics.summary(), suspicious)


def numbered_chunks(store: Store) -> Iterator[tuple[int, NDArray[Any]]]:
    """Read a store chunk by chunk: number of the first clip, and values of shape (clips, ...), checked.

    Raises
    ------
    InputError
        If a shard is damaged.
    """
    for number in range(len(store.shards)):
        yield from store.read_checked(number)


def _clipped(start: int, waveforms: NDArray[np.float32]) -> list[int]:
    at_limit = (np.abs(waveforms) >= FULL_SCALE).sum(axis=1)
    return (start + np.flatnonzero(at_limit >= CLIPPED_SAMPLES)).tolist()


def _duplicates(store: Store) -> list[list[int]]:
    _, content, copies = np.unique(store.digests, axis=0, return_inverse=True, return_counts=True)
    clips = np.argsort(content.reshape(-1), kind="stable")
    groups = np.split(clips, np.cumsum(copies)[:-1])
    return sorted(group.tolist() for group, count in zip(groups, copies, strict=True) if count > 1)
