"""Comparing two feature stores: how they were made, which rows they hold, and their values clip by clip."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.corpus import word_counts
from features.fingerprint import provenance_changes
from features.look.summary import Statistics, numbered_chunks
from features.store.reader import FeatureStore

WORST = 5
"""Number of most different clips to list."""


@dataclass(frozen=True)
class Rows:
    """Which rows of the npz two stores hold."""

    only_first: int
    only_second: int
    shared: int
    other_samples: int
    """Shared rows whose waveforms differ."""
    other_labels: int
    """Shared rows whose labels differ."""
    same_order: bool


@dataclass(frozen=True)
class Values:
    """Differences clip by clip, of rows that both stores hold."""

    clips: int
    equal: int
    """Clips whose values are identical."""
    greatest: float
    """Greatest difference."""
    mean: float
    """Mean absolute difference."""
    greatest_relative: float
    """Greatest difference relative to the maximum of its clip (the larger of the two stores)."""
    worst_rows: list[int]
    """Rows of the npz with the greatest relative difference."""


@dataclass(frozen=True)
class Comparison:
    """How two stores differ."""

    settings: list[str]
    rows: Rows
    words: tuple[dict[str, int], dict[str, int]]
    statistics: tuple[dict[str, float], dict[str, float]]
    values: Values | None
    """None where the shapes differ or no row is shared."""

    @property
    def same(self) -> bool:
        """Whether nothing differs."""
        rows = self.rows
        return (
            not self.settings
            and not (rows.only_first or rows.only_second or rows.other_samples or rows.other_labels)
            and rows.same_order
            and self.values is not None
            and self.values.equal == self.values.clips
        )


def compare(
    first: FeatureStore, second: FeatureStore, sample: int, advance: Callable[[int], None] = lambda clips: None
) -> Comparison:
    """Compare two feature stores.

    Parameters
    ----------
    first, second : FeatureStore
    sample : int
        Number of clips to compare one by one if the stores hold rows in different order. With equal order, all clips
        are compared.
    advance : callable
        Called with the number of clips after each chunk.

    Raises
    ------
    InputError
        If a shard is damaged.
    """
    rows = (first.source_rows, second.source_rows)
    shared, at_first, at_second = np.intersect1d(*rows, return_indices=True)
    same_order = np.array_equal(*rows)
    values = None
    statistics = Statistics(), Statistics()
    if len(shared) and first.shape == second.shape and same_order:
        values = _compare_values(_with_statistics(_pairs_in_order(first, second), statistics, advance), rows[0])
    else:
        for store, statistic in zip((first, second), statistics, strict=True):
            for _, chunk in numbered_chunks(store):
                statistic.add(chunk.astype(np.float32, copy=False))
                advance(len(chunk))
        if first.shape == second.shape and len(shared):
            chosen = np.sort(np.random.default_rng(0).permutation(len(shared))[:sample])
            values = _compare_values(_pairs_at(first, second, at_first[chosen], at_second[chosen]), rows[0])
    return Comparison(
        settings=provenance_changes(first.attributes, second.attributes),
        rows=Rows(
            only_first=first.clips - len(shared),
            only_second=second.clips - len(shared),
            shared=len(shared),
            other_samples=int((first.digests[at_first] != second.digests[at_second]).any(axis=1).sum()),
            other_labels=int((first.labels[at_first] != second.labels[at_second]).sum()),
            same_order=same_order,
        ),
        words=(word_counts(first.labels), word_counts(second.labels)),
        statistics=(statistics[0].summary(), statistics[1].summary()),
        values=values,
    )


Pair = tuple[NDArray[np.int64], NDArray[Any], NDArray[Any]]
"""Clip numbers in the first store, and the values of those clips in both stores."""


def _with_statistics(
    pairs: Iterator[Pair], statistics: tuple[Statistics, Statistics], advance: Callable[[int], None]
) -> Iterator[Pair]:
    """Pass pairs on and update the statistics of both stores, so that values are read once."""
    for numbers, one, other in pairs:
        for statistic, values in zip(statistics, (one, other), strict=True):
            statistic.add(values.astype(np.float32, copy=False))
        advance(2 * len(numbers))
        yield numbers, one, other


def _pairs_in_order(first: FeatureStore, second: FeatureStore) -> Iterator[Pair]:
    other = (chunk for _, chunk in numbered_chunks(second))
    rest = np.empty((0, *second.shape), second.layout.dtype)
    for start, chunk in numbered_chunks(first):
        while len(rest) < len(chunk):
            rest = np.concatenate([rest, next(other)])
        yield np.arange(start, start + len(chunk)), chunk, rest[: len(chunk)]
        rest = rest[len(chunk) :]


def _pairs_at(
    first: FeatureStore, second: FeatureStore, at_first: NDArray[np.int64], at_second: NDArray[np.int64]
) -> Iterator[Pair]:
    for store, clips in ((first, at_first), (second, at_second)):
        for number in np.unique(clips // store.layout.shard_clips).tolist():
            store.check(number)
    for one, other in zip(at_first.tolist(), at_second.tolist(), strict=True):
        yield np.array([one]), first.read(one, one + 1), second.read(other, other + 1)


def _compare_values(pairs: Iterator[Pair], source_rows: NDArray[np.int64]) -> Values:
    clips: list[NDArray[np.int64]] = []
    relative: list[NDArray[np.float32]] = []
    total = greatest = 0.0
    count = equal = 0
    for numbers, one, other in pairs:
        one, other = one.astype(np.float32), other.astype(np.float32)
        apart = np.abs(one - other).reshape(len(one), -1)
        peaks = np.maximum(one, other).reshape(len(one), -1).max(axis=1)
        peaks = np.maximum(peaks, np.finfo(np.float32).tiny)  # avoids 0 / 0 where both are silent
        most = apart.max(axis=1)
        clips.append(numbers)
        relative.append(most / peaks)
        greatest = max(greatest, float(most.max()))
        total += float(apart.sum(dtype=np.float64))
        count += apart.size
        equal += int((most == 0).sum())
    numbers, parts = np.concatenate(clips), np.concatenate(relative)
    order = np.argsort(-parts, kind="stable")[:WORST]
    return Values(
        clips=len(numbers),
        equal=equal,
        greatest=greatest,
        mean=total / count,
        greatest_relative=float(parts.max()),
        worst_rows=source_rows[numbers[order[parts[order] > 0]]].tolist(),
    )
