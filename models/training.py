"""Training: batches in, the network of the best epoch out. It reads no store and writes only its checkpoint.

Every order is a function of the settings. So a training resumed from a checkpoint ends with the weights and history of
one that never stopped, bit for bit on a processor. GPUs sum in no fixed order; there the last digits differ.
"""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from msgspec import Struct
from numpy.typing import NDArray

from models.checkpoint import Checkpoint
from models.devices import choose_strategy, list_gpus
from models.history import Epoch, Timing, best_of
from models.memory import free_bytes, largest_batch
from models.networks.front_end import LOG_OFFSET, Statistics
from models.settings import CHECKPOINT_S, TrainSpec
from models.trainer import Trainer

RUNAWAY = 10
"""Validation loss of a diverged training, in multiples of what guessing gives: the log of the number of words."""
STATISTICS_CLIPS = 2048
"""Clips from which mean and variance of the log magnitudes are computed."""


class TrainingError(Exception):
    """The network cannot be trained with these settings; the message says in one sentence what to change."""


@dataclass(frozen=True)
class Trained:
    """A trained network and its history."""

    model: keras.Model
    """In float32, with the weights of the best epoch."""
    best: Epoch
    """The epoch of least validation loss."""
    history: list[Epoch]


@dataclass
class Progress:
    """How far a training is: the numbers in a checkpoint."""

    step: int = 0
    """Finished steps of this epoch."""
    loss: float = 0.0
    """Sum of the losses of these steps."""
    correct: int = 0
    """Clips of these steps that were classified correctly."""
    history: list[Epoch] = field(default_factory=list)

    @property
    def best(self) -> Epoch:
        """The epoch of least validation loss."""
        return best_of(self.history)

    @property
    def is_lost(self) -> bool:
        """Whether the last validation loss is NaN; no later epoch recovers from NaN weights."""
        return bool(self.history) and math.isnan(self.history[-1].val_loss)

    def patience_is_over(self, epochs: int) -> bool:
        """Whether this many epochs have passed since the best one; never if 0."""
        return bool(epochs and self.history and len(self.history) - self.best.epoch >= epochs)


def log_statistics(batches: tf.data.Dataset) -> Statistics:
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
    variance = np.maximum(squares / count - np.square(mean), 0)  # rounding can give -1e-16 for 0
    return np.asarray(mean, np.float32), np.asarray(variance, np.float32)


def train(
    network: Struct,
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
    network : Struct
        Settings of one of the :data:`~models.networks.registry.FAMILIES`.
    spec : TrainSpec
    training : callable
        Called with the number of batches to skip; returns the rest of one endless stream of (features, label): float32
        or float16 (batch, frequency, time, 1), linear magnitudes, and int64 (batch,). Every batch has
        ``spec.batch_size`` clips.
    validation : tf.data.Dataset
        Finite, of the same elements; the last batch may be partial.
    clips_of_words : int64 array, shape (words,)
        Clips of each word in the training set. An epoch is as many full batches as they fill.
    checkpoint : Path, optional
        File to save checkpoints to, and to resume from.
    key : str
        Fingerprint of what is trained; a checkpoint with another key is ignored.
    checkpoint_s : float
        Seconds between two checkpoints.
    strategy : tf.distribute.Strategy, optional
        How devices share the work; that of :func:`choose_strategy` by default.
    on_resume : callable
        Called on resuming, with the finished epochs and the number of finished batches of the next one.
    on_batch : callable
        Called after each step with its number of clips; on resuming, once with the clips of all earlier steps.
    on_epoch : callable
        Called after each epoch; not for the epochs before a resume.

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
    trainer = Trainer(network, spec, shape, statistics, clips_of_words, steps * spec.epochs, strategy)
    _refuse_too_large(spec.batch_size, trainer.model)
    progress = Progress()
    best_weights: list[NDArray[np.float32]] = []

    saved = Checkpoint.load(checkpoint, key) if checkpoint else None
    if saved:
        history = [Epoch(**epoch) for epoch in saved.numbers.pop("history")]
        progress = Progress(**saved.numbers, history=history)
        best_weights = saved.arrays.pop("best")
        trainer.restore(saved.arrays)
        on_resume(history, progress.step)
        on_batch((len(history) * steps + progress.step) * spec.batch_size)

    def save() -> None:
        if checkpoint:
            Checkpoint(key, asdict(progress), {**trainer.state(), "best": best_weights}).save(checkpoint)

    while (
        len(progress.history) < spec.epochs
        and not progress.patience_is_over(spec.early_stopping)
        and not progress.is_lost
    ):
        epoch = len(progress.history)
        batches = trainer.batches(training(epoch * steps + progress.step))
        seconds = data_wait_s = 0.0
        last_saved = time.monotonic()
        try:
            while progress.step < steps:
                started = time.monotonic()
                batch = next(batches)
                arrived = time.monotonic()
                loss, correct = trainer.step(batch)
                progress.step += 1
                progress.loss += loss
                progress.correct += correct
                ended = time.monotonic()
                seconds += ended - started
                data_wait_s += arrived - started
                on_batch(spec.batch_size)
                if progress.step < steps and ended - last_saved >= checkpoint_s:
                    save()
                    last_saved = time.monotonic()
        finally:
            del batches  # a stream that is still being read can hang the interpreter at exit
        val_loss, val_accuracy = trainer.score(validation)
        result = Epoch(
            epoch + 1,
            trainer.learning_rate,
            progress.loss / steps,
            progress.correct / (steps * spec.batch_size),
            val_loss,
            val_accuracy,
        )
        progress = Progress(history=[*progress.history, result])
        if progress.best is result:
            best_weights = trainer.model.get_weights()
        save()
        on_epoch(result, Timing(seconds, data_wait_s))
    most = RUNAWAY * math.log(len(clips_of_words))
    if not progress.best.val_loss <= most:
        if checkpoint:
            checkpoint.unlink(missing_ok=True)
        raise TrainingError(
            f"its validation loss diverged to {progress.best.val_loss:.3g}; expected at most {most:.0f}, so choose a "
            f"train.learning_rate smaller than {spec.learning_rate:g}"
        )
    return Trained(trainer.finished(best_weights), progress.best, progress.history)


def _refuse_too_large(batch_size: int, model: keras.Model) -> None:
    """Refuse a batch larger than the processor's memory; on GPUs TensorFlow raises an error of its own."""
    free = None if list_gpus() else free_bytes()
    most = batch_size if free is None else largest_batch(model, free)
    if batch_size > most:
        assert free is not None
        advice = f"set it to {most:,} at most" if most > 1 else "end other programs or raise the memory limit"
        raise TrainingError(
            f"train.batch_size {batch_size:,} takes more memory than the {free / 1e9:.1f} GB that are free; {advice}"
        )
