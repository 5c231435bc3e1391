"""The course of a training: which settings decide its steps and which only its end, and what can be trained on.

Importing this loads neither TensorFlow nor Keras.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from models.history import Epoch, best_of
from models.settings import TrainSpec


@dataclass(frozen=True)
class Position:
    """How far a training has come."""

    history: tuple[Epoch, ...]
    """Finished epochs."""
    step: int = 0
    """Finished steps of the next one."""
    loss: float = 0.0
    """Sum over these steps."""
    correct: int = 0
    """Clips of these steps that were classified correctly."""

    @property
    def distance(self) -> tuple[int, int]:
        """For comparing positions of one course."""
        return len(self.history), self.step


def without_end(spec: TrainSpec) -> TrainSpec:
    """Settings of a training without those that say how many epochs it has."""
    return replace(spec, epochs=0, early_stopping=0, stop_after=0)


def course_of(spec: TrainSpec) -> TrainSpec:
    """Settings that decide the steps of a training, without those that only say after which epoch it ends.

    Trainings of one course are the same until one of them ends, bit for bit. The cosine schedule spans
    ``epochs``, so with it they decide every step.
    """
    steps = without_end(spec)
    return steps if spec.schedule == "constant" else replace(steps, epochs=spec.epochs)


def is_over(history: Sequence[Epoch], spec: TrainSpec) -> bool:
    """Whether training ends after these epochs."""
    if not history:
        return False
    is_lost = math.isnan(history[-1].val_loss)  # no epoch recovers from NaN weights
    since_best = len(history) - best_of(history).epoch
    return is_lost or len(history) >= spec.last_epoch or 0 < spec.early_stopping <= since_best


def has_more(history: Sequence[Epoch], spec: TrainSpec) -> bool:
    """Whether other settings of the same course could train on after these epochs."""
    return spec.schedule == "constant" or len(history) < spec.epochs


def continued(reached: Position, spec: TrainSpec) -> Position | None:
    """Where a training goes on, given what another one of its course has reached.

    Returns
    -------
    Position or None
        The end of the training if it ends earlier than the other. None if the other's best epoch came after that:
        only the weights of the best epoch are kept.

    Examples
    --------
    >>> from msgspec.structs import replace
    >>> spec = TrainSpec(
    ...     batch_size=8, epochs=3, learning_rate=1e-3, schedule="constant", early_stopping=0, class_weights="none",
    ...     compression="log", precision="auto", seed=0,
    ... )
    >>> losses = [3.0, 1.0, 2.0]
    >>> reached = Position(tuple(Epoch(n, 1e-3, 1, 0.5, loss, 0.5) for n, loss in enumerate(losses, 1)), step=7)
    >>> [continued(reached, replace(spec, epochs=epochs)) for epochs in (1, 4)] == [None, reached]
    True
    >>> continued(reached, replace(spec, epochs=2)).distance
    (2, 0)
    """
    history = reached.history
    ends = next((epochs for epochs in range(1, len(history) + 1) if is_over(history[:epochs], spec)), None)
    if ends is None:
        return reached
    return Position(history[:ends]) if best_of(history).epoch <= ends else None
