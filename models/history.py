"""The history of a training: one line an epoch. Importing this loads neither TensorFlow nor Keras."""

import csv
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path


@dataclass(frozen=True)
class Epoch:
    """How one epoch went; losses are mean cross-entropies in nats, accuracies shares from 0 to 1."""

    epoch: int
    """Counted from 1."""
    learning_rate: float
    """Of the epoch's last step."""
    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float


def best_of(history: Iterable[Epoch]) -> Epoch:
    """The epoch of least validation loss; one whose loss is NaN is the best only if all are.

    Examples
    --------
    >>> losses = [math.nan, 2.0, 3.0]
    >>> best_of(Epoch(number, 0.1, 1, 0.5, loss, 0.5) for number, loss in enumerate(losses, 1)).epoch
    2
    """
    return min(history, key=lambda epoch: (math.isnan(epoch.val_loss), epoch.val_loss))


def write_history(path: Path, history: Iterable[Epoch]) -> None:
    """Write a CSV with a header and one row an epoch."""
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, [field.name for field in fields(Epoch)])
        table.writeheader()
        table.writerows(asdict(epoch) for epoch in history)


def read_history(path: Path) -> list[Epoch]:
    """Read what :func:`write_history` wrote; every number comes back to the last bit."""
    with path.open(newline="") as file:
        return [
            Epoch(int(row.pop("epoch")), **{name: float(value) for name, value in row.items()})
            for row in csv.DictReader(file)
        ]
