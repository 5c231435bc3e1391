"""Comparing two feature stores: how they were made, which rows they hold, and their values clip by clip."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.corpus import word_counts
from features.look.summary import Statistics, numbered_chunks
from features.plan import provenance_changes
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
    same_shape, same_order = first.shape == second.shape, np.array_equal(*rows)
    statistics = Statistics(), Statistics()
    compared: NDArray[np.int64] = rows[0]
    differences = []
    if same_shape and same_order:
        for start, values in numbered_chunks(first):
            others = second.read(start, start + len(values))
            statistics[0].add(values)
            statistics[1].add(others)
            differences.append(_differences(values, others))
            advance(2 * len(values))
    else:
        for store, statistic in zip((first, second), statistics, strict=True):
            for _, values in numbered_chunks(store):
                statistic.add(values)
                advance(len(values))
        chosen = np.sort(np.random.default_rng(0).permutation(len(shared))[:sample])
        compared = shared[chosen]
        if same_shape:
            for one, other in zip(at_first[chosen].tolist(), at_second[chosen].tolist(), strict=True):
                differences.append(_differences(first.read(one, one + 1), second.read(other, other + 1)))
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
        words=(
            word_counts(first.labels, first.attributes["words"]),
            word_counts(second.labels, second.attributes["words"]),
        ),
        statistics=(statistics[0].summary(), statistics[1].summary()),
        values=_values(compared, np.concatenate(differences, axis=1)) if differences else None,
    )


def _differences(first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.float64]:
    """Greatest, greatest relative and mean difference of each clip, shape (3, clips)."""
    one, other = (values.reshape(len(values), -1).astype(np.float32) for values in (first, second))
    apart = np.abs(one - other)
    greatest = apart.max(axis=1)
    peaks = np.maximum(np.maximum(one, other).max(axis=1), np.finfo(np.float32).tiny)  # no 0 / 0 where both are silent
    return np.stack([greatest, greatest / peaks, apart.mean(axis=1, dtype=np.float64)])


def _values(rows: NDArray[np.int64], differences: NDArray[np.float64]) -> Values:
    greatest, relative, mean = differences
    worst = np.argsort(-relative, kind="stable")[:WORST]
    return Values(
        clips=len(rows),
        equal=int((greatest == 0).sum()),
        greatest=float(greatest.max()),
        mean=float(mean.mean()),
        greatest_relative=float(relative.max()),
        worst_rows=rows[worst[relative[worst] > 0]].tolist(),
    )
