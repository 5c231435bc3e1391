"""Which clips a report shows: the worst mistakes, each cell of a confusion matrix, likely label errors, and so on."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray

from models.predictions import Predictions, likely_label_errors

SHOWN = 12
"""Clips of a gallery that come before any cell of a confusion matrix."""


@dataclass(frozen=True, order=True)
class ClipId:
    """A clip by its set and its number in the set's store."""

    set: str
    number: int


@dataclass
class Gallery:
    """Clips to see and hear, in order."""

    clips: list[ClipId]
    network: str | None = None
    """Whose probabilities are shown with each clip."""
    total: int = 0
    """How many there are; more than ``clips`` where only some are shown."""
    is_cell: bool = False
    """Whether it is a cell of a confusion matrix, which everything else comes before."""

    def __post_init__(self) -> None:
        self.total = self.total or len(self.clips)


def galleries_of(name: str, predictions: Predictions) -> dict[str, Gallery]:
    """Galleries of one network on the test set: ``mistakes``, ``unsure``, and ``cell-<actual>-<predicted>``.

    Mistakes begin with the most confident, right answers with the least, cells with the most confident.
    """
    wrong = np.flatnonzero(predictions.predicted != predictions.labels)
    right = np.flatnonzero(predictions.predicted == predictions.labels)
    sure = predictions.confidences
    mistakes = wrong[np.argsort(-sure[wrong], kind="stable")]
    unsure = right[np.argsort(sure[right], kind="stable")]
    found = {
        f"mistakes-{name}": Gallery(_test(mistakes[:SHOWN]), name, len(mistakes)),
        f"unsure-{name}": Gallery(_test(unsure[:SHOWN]), name, len(unsure)),
    }
    for actual, predicted in np.unique(np.stack([predictions.labels, predictions.predicted], axis=1), axis=0):
        cell = np.flatnonzero((predictions.labels == actual) & (predictions.predicted == predicted))
        cell = cell[np.argsort(-sure[cell], kind="stable")]
        found[cell_name(name, actual, predicted)] = Gallery(_test(cell), name, is_cell=True)
    return found


def cell_name(network: str, actual: int, predicted: int) -> str:
    """Name of the gallery of a cell."""
    return f"cell-{network}-{actual}-{predicted}"


def suspected_labels(runs: Sequence[Predictions]) -> Gallery:
    """Test clips whose label is probably wrong, by the mean probabilities of all networks."""
    mean = np.mean([run.probabilities for run in runs], axis=0)
    found = likely_label_errors(runs[0].labels, mean)
    return Gallery(_test(found[:SHOWN]), total=len(found))


def changed_sides(name: str, before: Predictions, now: Predictions) -> dict[str, Gallery]:
    """Test clips that were wrong and are right now, and the reverse; only clips that both runs tested."""
    was_right = dict(zip(before.source_rows.tolist(), (before.predicted == before.labels).tolist(), strict=True))
    is_right = (now.predicted == now.labels).tolist()
    better: list[int] = []
    worse: list[int] = []
    for number, row in enumerate(now.source_rows.tolist()):
        if row in was_right and was_right[row] != is_right[number]:
            (better if is_right[number] else worse).append(number)
    return {
        f"better-{name}": Gallery(_test(better[:SHOWN]), name, len(better)),
        f"worse-{name}": Gallery(_test(worse[:SHOWN]), name, len(worse)),
    }


def _test(numbers: Iterable[int] | NDArray[np.int64]) -> list[ClipId]:
    return [ClipId("test", int(number)) for number in numbers]


def shown_first(galleries: Mapping[str, Gallery]) -> Iterator[ClipId]:
    """All clips, each once: round robin through galleries, then through cells, so that none is left without clips."""
    seen = set()
    for cells in (False, True):
        groups = [gallery.clips for gallery in galleries.values() if gallery.is_cell == cells]
        for clip in (clip for clips in zip_longest(*groups) for clip in clips if clip is not None):
            if clip not in seen:
                seen.add(clip)
                yield clip


def fit(
    clips: Iterable[ClipId], encode: Callable[[ClipId], dict[str, str]], budget: int, beside: int = 0
) -> dict[ClipId, dict[str, str]]:
    """Encode clips until they fill a number of characters, each with so many beside its media."""
    encoded: dict[ClipId, dict[str, str]] = {}
    for clip in clips:
        media = encode(clip)
        budget -= sum(map(len, media.values())) + beside
        if budget < 0:
            break
        encoded[clip] = media
    return encoded
