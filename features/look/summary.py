"""Summary of a store: statistics of its values, and clips that look wrong. Reads it chunk by chunk."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.look.measures import count_clipped
from features.store.reader import Store, WaveformStore


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
        finite = values[np.isfinite(values)].astype(np.float32, copy=False)
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


@dataclass
class Suspicious:
    """Numbers of clips that look wrong."""

    silent: list[int] = field(default_factory=list)
    """Every sample or bin is zero."""
    non_finite: list[int] = field(default_factory=list)
    """Some value is infinite or NaN."""
    clipped: list[int] | None = None
    """At least a millisecond at full scale. None without waveforms, which alone show it."""
    duplicates: list[list[int]] = field(default_factory=list)
    """Groups of clips with identical samples."""


def summarize(
    store: Store, waveforms: WaveformStore | None, advance: Callable[[int], None]
) -> tuple[dict[str, float], Suspicious]:
    """Read every value of a store: statistics of the values, and clips that look wrong.

    Parameters
    ----------
    waveforms : WaveformStore or None
        The clips of the store, to find clipped ones; the store itself if it holds waveforms.
    advance : callable
        Called with the number of clips after each chunk of the store, then of the waveforms.

    Raises
    ------
    InputError
        If a shard is damaged.
    """
    statistics, found = Statistics(), Suspicious(duplicates=_duplicates(store))
    for start, chunk in numbered_chunks(store):
        values = chunk.reshape(len(chunk), -1)
        statistics.add(values)
        found.silent += (start + np.flatnonzero(~values.any(axis=1))).tolist()
        found.non_finite += (start + np.flatnonzero(~np.isfinite(values).all(axis=1))).tolist()
        advance(len(chunk))
    if waveforms:
        found.clipped = []
        for start, chunk in numbered_chunks(waveforms):
            _, clipped = count_clipped(chunk, waveforms.attributes["sample_rate_hz"])
            found.clipped += (start + np.flatnonzero(clipped)).tolist()
            advance(len(chunk))
    return statistics.summary(), found


def numbered_chunks(store: Store) -> Iterator[tuple[int, NDArray[Any]]]:
    """Read a store chunk by chunk: number of the first clip, and values of shape (clips, ...), checked.

    Raises
    ------
    InputError
        If a shard is damaged.
    """
    for number in range(len(store.shards)):
        yield from store.read_checked(number)


def _duplicates(store: Store) -> list[list[int]]:
    """Clips of equal digest, grouped."""
    _, content, copies = np.unique(store.digests, axis=0, return_inverse=True, return_counts=True)
    clips = np.argsort(content.reshape(-1), kind="stable")
    groups = np.split(clips, np.cumsum(copies)[:-1])
    return sorted(group.tolist() for group in groups if len(group) > 1)
