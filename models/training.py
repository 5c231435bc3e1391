"""Training: batches in, the network of the best epoch out. Knows no store; its only file is its checkpoint.

The order of everything is a function of the settings, so a training that goes on from a checkpoint gives the weights
and the history of one that was never stopped, to the last bit where the device adds up in one order.
"""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from models.checkpoint import Checkpoint
from models.devices import choose_strategy
from models.learner import Learner, TrainSpec
from models.memory import free_bytes, largest_batch
from models.networks.cnn import LOG_OFFSET, NetworkSpec

RUNAWAY = 10
"""Validation loss of a diverged training, in multiples of what guessing gives: the log of the number of words."""
STATISTICS_CLIPS = 2048
"""Clips that mean and variance of the log magnitudes are taken over."""
CHECKPOINT_S = 30.0
"""Seconds between two checkpoints: what a kill costs at most."""


class TrainingError(Exception):
    """Settings that a network cannot be trained with; the message says in a sentence what to change."""


@dataclass(frozen=True)
class Epoch:
    """How one epoch went."""

    epoch: int
    learning_rate: float
    """At its end."""
    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float


@dataclass(frozen=True)
class Timing:
    """Where the time of an epoch went, or of that part of it which came after a restart."""

    seconds: float
    """Of the epoch's steps; validation and checkpoints are not in it."""
    waited: float
    """Seconds in which the device had nothing to do because the next batch was not there."""

    @property
    def waiting(self) -> float:
        """Share of the seconds that was waited."""
        return self.waited / self.seconds if self.seconds else 0.0


@dataclass(frozen=True)
class Trained:
    """A trained network and how it came about."""

    model: keras.Model
    """In float32, with the weights of the best epoch."""
    best: Epoch
    """The epoch of least validation loss."""
    history: list[Epoch]


@dataclass
class Progress:
    """How far a training is: the numbers of a checkpoint."""

    step: int = 0
    """Steps of this epoch that are done."""
    loss: float = 0.0
    """Sum of these steps' losses."""
    correct: int = 0
    """Clips of these steps that were named right."""
    history: list[Epoch] = field(default_factory=list)

    @property
    def best(self) -> Epoch:
        """The epoch of least validation loss."""
        return min(self.history, key=lambda epoch: (math.isnan(epoch.val_loss), epoch.val_loss))

    @property
    def is_lost(self) -> bool:
        """Whether the weights are NaN, from which no later epoch recovers."""
        return bool(self.history) and math.isnan(self.history[-1].val_loss)

    def patience_is_over(self, epochs: int) -> bool:
        """Whether so many epochs have gone by since the best."""
        return bool(epochs and self.history and len(self.history) - self.best.epoch >= epochs)


def log_statistics(batches: tf.data.Dataset) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and variance of log magnitudes, for each frequency.

    Parameters
    ----------
    batches : tf.data.Dataset
        Finite, of (features, label): float (batch, frequency, time, 1), linear magnitudes.

    Returns
    -------
    pair of float32 arrays, shape (frequency,)
    """
    count, total, squares = 0, np.float64(0), np.float64(0)
    for features, _ in batches.as_numpy_iterator():
        logarithm = np.log(features.astype(np.float32) + np.float32(LOG_OFFSET), dtype=np.float64)
        count += logarithm.size // logarithm.shape[1]
        total = total + logarithm.sum(axis=(0, 2, 3))
        squares = squares + np.square(logarithm).sum(axis=(0, 2, 3))
    mean = total / count
    variance = np.maximum(squares / count - np.square(mean), 0)  # rounding can make none a little less than none
    return np.asarray(mean, np.float32), np.asarray(variance, np.float32)


def train(
    network: NetworkSpec,
    spec: TrainSpec,
    training: Callable[[int], tf.data.Dataset],
    validation: tf.data.Dataset,
    *,
    clips_of_words: NDArray[np.int64],
    checkpoint: Path | None = None,
    key: str = "",
    checkpoint_s: float = CHECKPOINT_S,
    strategy: tf.distribute.Strategy | None = None,
    on_resume: Callable[[list[Epoch], int], None] = lambda epochs, batches: None,
    on_batch: Callable[[int], None] = lambda clips: None,
    on_epoch: Callable[[Epoch, Timing], None] = lambda epoch, timing: None,
) -> Trained:
    """Train a network and keep its best epoch by validation loss.

    Parameters
    ----------
    network : NetworkSpec
    spec : TrainSpec
    training : callable
        Told how many batches to leave out, gives the others of one endless stream of (features, label): float32 or
        float16 (batch, frequency, time, 1), every batch of ``spec.batch_size``, and int64 (batch,).
    validation : tf.data.Dataset
        Finite, of the same elements; the last batch may be partial.
    clips_of_words : int64 array, shape (words,)
        Clips of each word in the training set. An epoch is as many batches as they all fill.
    checkpoint : Path, optional
        Where to keep a checkpoint, and to look for one to go on from.
    key : str
        Fingerprint of what is trained; a checkpoint of another key is not used.
    checkpoint_s : float
        Seconds between two checkpoints.
    strategy : tf.distribute.Strategy, optional
        How devices share the work; that of :func:`choose_strategy` by default.
    on_resume : callable
        Told the epochs that a checkpoint holds, and how many batches of the next one were done too.
    on_batch : callable
        Told the number of clips of each step when it is done; at a restart, those of all steps before.
    on_epoch : callable
        Told how each epoch went; at a restart, not of those before.

    Returns
    -------
    Trained

    Raises
    ------
    TrainingError
        If a batch is larger than the training set or than memory allows, or the loss diverges.
    """
    strategy = strategy or choose_strategy()
    clips = int(clips_of_words.sum())
    if spec.batch_size > clips:
        raise TrainingError(
            f"train.batch_size is {spec.batch_size:,}; expected at most the training set's {clips:,} clips, so lower it"
        )
    steps = clips // spec.batch_size
    first = training(0)
    statistics = None
    if spec.compression == "log":
        statistics = log_statistics(first.take(min(steps, max(1, STATISTICS_CLIPS // spec.batch_size))))
    shape = tuple(first.element_spec[0].shape[1:])
    learner = Learner(network, spec, shape, statistics, clips_of_words, steps * spec.epochs, strategy)
    _refuse_too_large(spec.batch_size, learner.model)
    progress = Progress()
    best_weights: list[NDArray[np.float32]] = []

    saved = Checkpoint.load(checkpoint, key) if checkpoint else None
    if saved:
        history = [Epoch(**epoch) for epoch in saved.numbers.pop("history")]
        progress = Progress(**saved.numbers, history=history)
        best_weights = saved.arrays.pop("best")
        learner.restore(saved.arrays)
        on_resume(history, progress.step)
        on_batch((len(history) * steps + progress.step) * spec.batch_size)

    def save() -> None:
        if checkpoint:
            Checkpoint(key, asdict(progress), {**learner.state(), "best": best_weights}).save(checkpoint)

    while (
        len(progress.history) < spec.epochs
        and not progress.patience_is_over(spec.early_stopping)
        and not progress.is_lost
    ):
        epoch = len(progress.history)
        batches = learner.batches(training(epoch * steps + progress.step))
        seconds = waited = 0.0
        last_saved = time.monotonic()
        try:
            while progress.step < steps:
                started = time.monotonic()
                batch = next(batches)
                arrived = time.monotonic()
                loss, correct = learner.step(batch)
                progress.step += 1
                progress.loss += loss
                progress.correct += correct
                ended = time.monotonic()
                seconds += ended - started
                waited += arrived - started
                on_batch(spec.batch_size)
                if progress.step < steps and ended - last_saved >= checkpoint_s:
                    save()
                    last_saved = time.monotonic()
        finally:
            del batches  # an endless stream that is still read when the interpreter ends can hang it
        val_loss, val_accuracy = learner.score(validation)
        result = Epoch(
            epoch + 1,
            learner.learning_rate,
            progress.loss / steps,
            progress.correct / (steps * spec.batch_size),
            val_loss,
            val_accuracy,
        )
        progress = Progress(history=[*progress.history, result])
        if progress.best is result:
            best_weights = learner.model.get_weights()
        save()
        on_epoch(result, Timing(seconds, waited))
    most = RUNAWAY * math.log(len(clips_of_words))
    if not progress.best.val_loss <= most:
        if checkpoint:
            checkpoint.unlink(missing_ok=True)
        raise TrainingError(
            f"its validation loss diverged to {progress.best.val_loss:.3g}; expected at most {most:.0f}, so choose a "
            f"train.learning_rate smaller than {spec.learning_rate:g}"
        )
    return Trained(learner.finished(best_weights), progress.best, progress.history)


def _refuse_too_large(batch_size: int, model: keras.Model) -> None:
    """Refuse a batch that the processor's memory cannot hold; that of GPUs TensorFlow itself looks after."""
    free = None if tf.config.list_physical_devices("GPU") else free_bytes()
    most = batch_size if free is None else largest_batch(model, free)
    if batch_size > most:
        assert free is not None
        advice = f"set it to {most:,} at most" if most > 1 else "end other programs or raise the memory limit"
        raise TrainingError(
            f"train.batch_size {batch_size:,} takes more memory than the {free / 1e9:.1f} GB that are free; {advice}"
        )
