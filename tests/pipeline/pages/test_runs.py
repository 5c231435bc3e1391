"""Comparing a network with an earlier run of it."""

import numpy as np

from models.predictions import Predictions
from pipeline.pages.runs import Before, Cost, Metrics, Run, compare

METRICS = Metrics(0.5, (0.4, 0.6), 1.0, 4, (Cost(1, 1, 1, 0.1),))


def predictions(rows: list[int], right: list[bool]) -> Predictions:
    labels = np.zeros(len(rows), np.int64)
    predicted = np.where(right, 0, 1)
    return Predictions(np.array(rows), np.full(len(rows), ""), labels, predicted, np.eye(2)[predicted], ("yes", "no"))


def test_only_clips_of_both_runs_count() -> None:
    """Two bad clips were left out: what remains did not change, so neither does the figure."""
    then = predictions([1, 2, 3, 4], [True, False, False, False])
    now = Run("base", METRICS, [], predictions([2, 9, 1], [False, True, True]))
    change = compare(now, Before("", {"base": then}))
    assert change is not None
    assert (change.clips, change.was, change.now) == (2, 0.5, 0.5)


def test_nothing_in_common_is_no_change() -> None:
    now = Run("base", METRICS, [], predictions([1], [True]))
    assert compare(now, Before("", {"base": predictions([2], [True])})) is None
    assert compare(now, Before("", {})) is None
