"""What the pipeline left of each network: metrics, history, predictions; now, and when a run was last committed."""

import csv
import subprocess
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import msgspec
import numpy as np
from msgspec import Struct
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from features.errors import InputError
from features.store.reader import Store
from models.history import Epoch, read_history
from models.predictions import Predictions, parse_predictions, read_predictions

METRICS = "metrics/{}.json"
PREDICTIONS = "artifacts/{}/predictions.csv"
HISTORY = "artifacts/{}/history.csv"
LOCK = Path("dvc.lock")
NPZ = "data/.npz"
"""What ``split`` read, as dvc.lock names it."""


class Cost(Struct, frozen=True):
    """What listening with a network costs, as its metrics say."""

    parameters: int
    multiply_adds: int
    file_bytes: int
    real_time_factor: float


class Metrics(Struct, frozen=True):
    """What a report reads of the metrics of a network."""

    accuracy: float
    accuracy_ci95: tuple[float, float]
    loss: float
    test_clips: int
    cost: tuple[Cost]


@dataclass(frozen=True)
class Run:
    """A network that was evaluated."""

    name: str
    metrics: Metrics
    history: list[Epoch]
    predictions: Predictions

    @property
    def cost(self) -> Cost:
        """Parameters, multiply-adds and bytes of the network, and its time for a clip."""
        return self.metrics.cost[0]


def read_run(name: str, test: Store) -> Run | None:
    """Read what evaluating a network left, or None if it was not evaluated.

    Parameters
    ----------
    name : str
    test : Store
        The test set, whose clips, labels and words the predictions must have too.

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
            name,
            msgspec.json.decode(metrics.read_bytes(), type=Metrics),
            read_history(history),
            read_predictions(predictions),
        )
        if not found.history:
            raise ValueError(f"{history} has no epoch")
    except (ValueError, TypeError, KeyError, csv.Error) as error:
        raise InputError(f"the results of {name} cannot be read ({error}); to make them again, {again}") from None
    if not is_of(found.predictions, test):
        raise InputError(f"{predictions} tells of other clips than the test set has; {again}")
    return found


def is_of(predictions: Predictions, store: Store) -> bool:
    """Whether predictions are of the clips, labels and words of a store."""
    return (
        predictions.words == tuple(store.attributes["words"])
        and np.array_equal(predictions.source_rows, store.source_rows)
        and np.array_equal(predictions.labels, store.labels)
    )


@dataclass(frozen=True)
class Before:
    """The run that was last committed."""

    commit: str
    """Its short name, date and subject."""
    predictions: dict[str, Predictions]
    """Of each network whose predictions are still in DVC's cache, for the same words."""


@dataclass(frozen=True)
class Change:
    """How a network did in two runs, on the test clips that both have."""

    clips: int
    was: float
    """Share of them that were right."""
    now: float


def compare(now: Run, before: Before) -> Change | None:
    """Compare a network with the run before; None if the two have no clip in common."""
    then = before.predictions.get(now.name)
    if then is None:
        return None
    _, at, at_then = np.intersect1d(now.predictions.source_rows, then.source_rows, return_indices=True)
    if not len(at):
        return None
    was = (then.predicted == then.labels)[at_then].mean()
    return Change(len(at), float(was), float((now.predictions.predicted == now.predictions.labels)[at].mean()))


def read_before(runs: list[Run]) -> Before | str:
    """Read the last committed run; or the reason why there is none to compare with, in words."""
    commit = _git("log", "-1", "--format=%h, %as: %s")
    lock = _git("show", "HEAD:./dvc.lock")
    if commit is None or lock is None:
        return "No run is committed yet. Commit dvc.lock and metrics/ after a run: the next report compares with it."
    commit = commit.strip()
    try:
        then, now = _hash_of_npz(lock), _hash_of_npz(LOCK.read_text(encoding="utf-8") if LOCK.exists() else "")
    except (YAMLError, AttributeError, TypeError, KeyError):
        return f"dvc.lock, or that of the last commit ({commit}), cannot be read, so nothing is compared."
    if None not in (then, now) and then != now:
        return f"The last committed run ({commit}) used another npz, so its figures are of other clips."
    found = {run.name: _predictions_of_head(run.name) for run in runs}
    same_words = {run.name: each for run in runs if (each := found[run.name]) and each.words == run.predictions.words}
    if not same_words:
        return f"DVC's cache holds no predictions of the last commit ({commit}) for these networks and words."
    return Before(commit, same_words)


def is_uncommitted() -> bool:
    """Whether git has not got what the last run wrote."""
    return bool(_git("status", "--porcelain", "--", "dvc.lock", "metrics"))


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
        command = ["git", "-c", "i18n.logOutputEncoding=UTF-8", *arguments]
        done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=False)  # noqa: S603
    except FileNotFoundError:
        return None
    return done.stdout if done.returncode == 0 else None
