"""What the pipeline left of each network: metrics, history, predictions; now, and when a run was last committed."""

import json
import subprocess
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ruamel.yaml import YAML

from features.errors import InputError
from models.history import Epoch, read_history
from models.predictions import Predictions, parse_predictions, read_predictions

METRICS = "metrics/{}.json"
PREDICTIONS = "artifacts/{}/predictions.csv"
HISTORY = "artifacts/{}/history.csv"
NPZ = "data/.npz"
"""What ``split`` read, as dvc.lock names it."""


@dataclass(frozen=True)
class Run:
    """A network that was evaluated."""

    name: str
    metrics: dict[str, Any]
    history: list[Epoch]
    predictions: Predictions

    @property
    def cost(self) -> dict[str, Any]:
        """Parameters, multiply-adds and bytes of the network, and its time for a clip."""
        (cost,) = self.metrics["cost"]
        return dict(cost)


def read_run(name: str, source_rows: NDArray[np.int64]) -> Run | None:
    """Read what evaluating a network left, or None if it was not evaluated.

    Parameters
    ----------
    name : str
    source_rows : int64 array, shape (clips,)
        Rows of the test set, which the predictions must have too.

    Raises
    ------
    InputError
        If a file is damaged, or tells of another test set.
    """
    metrics, predictions, history = (Path(pattern.format(name)) for pattern in (METRICS, PREDICTIONS, HISTORY))
    if not (metrics.is_file() and predictions.is_file() and history.is_file()):
        return None
    again = f"run dvc repro --force evaluate@{name}"
    try:
        found = Run(
            name, json.loads(metrics.read_text(encoding="utf-8")), read_history(history), read_predictions(predictions)
        )
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"the results of {name} cannot be read ({error}); to make them again, {again}") from None
    if not np.array_equal(found.predictions.source_rows, source_rows):
        raise InputError(f"{predictions} tells of other clips than the test set has; {again}")
    return found


@dataclass(frozen=True)
class Before:
    """The run that was last committed."""

    commit: str
    """Its short name, date and subject."""
    metrics: dict[str, dict[str, Any]]
    """Of each network that it has."""
    predictions: dict[str, Predictions]
    """Of each network whose predictions are still in DVC's cache, on the same npz."""


def read_before(names: list[str]) -> Before | str:
    """Read the last committed run; or the reason why there is none to compare with, in words."""
    commit = _git("log", "-1", "--format=%h, %as: %s")
    lock = _git("show", "HEAD:./dvc.lock")
    if commit is None or lock is None:
        return "No run is committed yet. Commit dvc.lock and metrics/ after a run: the next report compares with it."
    then, now = _hash_of_npz(lock), _hash_of_npz(Path("dvc.lock").read_text(encoding="utf-8"))
    if then != now:
        return f"The last committed run ({commit.strip()}) used another npz, so its figures are of other clips."
    metrics, predictions = {}, {}
    for name in names:
        text = _git("show", f"HEAD:./{METRICS.format(name)}")
        if text is not None:
            metrics[name] = json.loads(text)
        found = _predictions_of_head(name)
        if found:
            predictions[name] = found
    if not metrics:
        return f"The last commit ({commit.strip()}) has no metrics of these networks."
    return Before(commit.strip(), metrics, predictions)


def _predictions_of_head(name: str) -> Predictions | None:
    import dvc.api  # takes a second to load
    from dvc.exceptions import DvcException

    try:
        text = dvc.api.read(PREDICTIONS.format(name), rev="HEAD", encoding="utf-8")
        return parse_predictions(StringIO(text, newline=""))
    except (DvcException, OSError, ValueError):  # a run that is no longer in DVC's cache
        return None


def _hash_of_npz(lock: str) -> str | None:
    """Hash of the npz that ``split`` read, by the text of dvc.lock."""
    stages = (YAML(typ="safe").load(lock) or {}).get("stages", {})
    return next((dep["md5"] for dep in stages.get("split", {}).get("deps", ()) if dep["path"] == NPZ), None)


def _git(*arguments: str) -> str | None:
    """What git prints, or None if it fails or is not there."""
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, encoding="utf-8", check=False)  # noqa: S603, S607
    except FileNotFoundError:
        return None
    return done.stdout if done.returncode == 0 else None
