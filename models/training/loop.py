"""Training: batches in, the network of the best epoch out. It reads no store and writes only its checkpoint.

Every order is a function of the settings. So a training resumed from a checkpoint ends with the weights and history of
one that never stopped, bit for bit on a processor. GPUs sum in no fixed order; there the last digits differ.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from models.history import Epoch, best_of
from models.networks.front_end import FrontEnd, Statistics
from models.settings import NetworkSpec, TrainSpec
from models.training.checkpoint import Checkpoint
from models.training.course import Position, is_over
from models.training.devices import choose_strategy, list_gpus
from models.training.memory import free_bytes, largest_batch
from models.training.trainer import Trainer

RUNAWAY = 10
"""Validation loss of a diverged training, in multiples of what guessing gives: the log of the number of words."""
STATISTICS_CLIPS = 2048
"""Clips from which mean and variance of each frequency are computed."""
SMALLEST_VARIANCE = 1e-8
"""Of a frequency that never changes: dividing by less would turn rounding into noise."""


class TrainingError(Exception):
    """The network cannot be trained with these settings; the message says in one sentence what to change."""


@dataclass(frozen=True)
class Trained:
    """A trained network and its history."""

    model: keras.Model
    """In float32, with the weights of the epoch of least validation loss."""
    history: list[Epoch]


def measure_statistics(batches: tf.data.Dataset, front_end: FrontEnd) -> Statistics:
    """Mean and variance of each frequency of what a front end normalises.

    Parameters
    ----------
    batches : tf.data.Dataset
        Finite, of (features, label): float (batch, frequency, time, 1).
    """
    features = keras.Input(batches.element_spec[0].shape[1:])
    spectrum = keras.Model(features, front_end.spectrum(features))
    count, total, squares = 0, np.float64(0), np.float64(0)
    for given, _ in batches:
        values = spectrum(tf.cast(given, tf.float32)).numpy().astype(np.float64)
        count += values.size // values.shape[1]
        total = total + values.sum(axis=(0, 2, 3))
        squares = squares + np.square(values).sum(axis=(0, 2, 3))
    mean = total / count
    variance = np.maximum(squares / count - np.square(mean), SMALLEST_VARIANCE)
    return Statistics(np.asarray(mean, np.float32), np.asarray(variance, np.float32))


def train(
    network: NetworkSpec,
    spec: TrainSpec,
    training: Callable[[int], tf.data.Dataset],
    validation: tf.data.Dataset,
    *,
    clips_of_words: NDArray[np.int64],
    front_end: FrontEnd,
    noise: NDArray[Any] | None = None,
    checkpoint: Checkpoint | None = None,
    strategy: tf.distribute.Strategy | None = None,
    on_resume: Callable[[list[Epoch], int], None] = lambda epochs, batches: None,
    on_batch: Callable[[int], None] = lambda clips: None,
    on_score: Callable[[int], None] = lambda clips: None,
    on_ready: Callable[[float], None] = lambda score_s: None,
    on_epoch: Callable[[Epoch, float, float], None] = lambda epoch, seconds, data_wait_s: None,
) -> Trained:
    """Train a network and keep its best epoch by validation loss.

    Parameters
    ----------
    network : NetworkSpec
        Settings of one of the :data:`~models.networks.registry.FAMILIES`.
    training : callable
        Called with the number of batches to skip; returns the rest of one endless stream of (features, label): float32
        or float16 (batch, frequency, time, 1) and int64 (batch,). Every batch has
        ``spec.batch_size`` clips.
    validation : tf.data.Dataset
        Finite, of the same elements; the last batch may be partial.
    clips_of_words : int64 array, shape (words,)
        Clips of each word in the training set. An epoch is as many full batches as they fill.
    front_end : FrontEnd
        The network's first layers.
    noise : float array, shape (clips, frequency, time, 1), optional
        Features of clips of noise, from which augmentation adds some.
    strategy : tf.distribute.Strategy, optional
        How devices share the work; that of :func:`choose_strategy` by default.
    on_resume : callable
        Called on resuming, with the finished epochs and the number of finished batches of the next one.
    on_batch : callable
        Called after each step with its number of clips.
    on_score : callable
        Called with the number of clips of each batch of the validation set that was scored.
    on_ready : callable
        Called before the first step with the seconds that scoring a clip takes.
    on_epoch : callable
        Called after each epoch with the seconds that its steps took, without validation and checkpoints, and the
        seconds of these in which the device idled because the next batch was not ready. After a resume, both count
        only the steps since then; epochs before it are not told.

    Raises
    ------
    TrainingError
        If a batch is larger than the training set or than memory allows, or the loss diverges.
    """
    clips = int(clips_of_words.sum())
    if spec.batch_size > clips:
        raise TrainingError(
            f"train.batch_size is {spec.batch_size:,}; expected at most the training set's {clips:,} clips, so lower it"
        )
    steps = clips // spec.batch_size
    first = training(0)
    statistics = None
    if front_end.compress:
        few = first.take(min(steps, max(1, STATISTICS_CLIPS // spec.batch_size)))
        statistics = measure_statistics(few, front_end)
    shape = tuple(first.element_spec[0].shape[1:])
    trainer = Trainer(
        network,
        spec,
        shape,
        front_end,
        statistics,
        np.zeros((0, *shape)) if noise is None else noise,
        clips_of_words,
        steps * spec.epochs,
        strategy or choose_strategy(),
    )
    _refuse_too_large(spec.batch_size, trainer.model)

    history: list[Epoch] = []
    best_weights: list[NDArray[np.float32]] = []
    step, loss, correct = 0, 0.0, 0
    saved = checkpoint.load(spec) if checkpoint else None
    if saved:
        reached, variables, best_weights = saved
        history = list(reached.history)
        step, loss, correct = reached.step, reached.loss, reached.correct
        for variable, value in zip(trainer.variables, variables, strict=True):
            variable.assign(value)
        on_resume(history, step)

    def save() -> None:
        if checkpoint:
            variables = [np.asarray(variable) for variable in trainer.variables]
            checkpoint.save(Position(tuple(history), step, loss, correct), variables, best_weights)

    @contextmanager
    def saving_on_ctrl_c() -> Iterator[None]:
        """For calls between two steps: an interrupt inside one leaves a state that cannot be gone on from."""
        try:
            yield
        except KeyboardInterrupt:
            save()
            raise

    on_ready(_seconds_to_score(trainer, validation))
    batches = trainer.batches(training(len(history) * steps + step))
    try:
        while not is_over(history, spec):
            seconds = data_wait_s = 0.0
            last_saved = time.monotonic()
            while step < steps:
                started = time.monotonic()
                batch = next(batches)
                arrived = time.monotonic()
                batch_loss, batch_correct = trainer.step(batch)
                step, loss, correct = step + 1, loss + batch_loss, correct + batch_correct
                ended = time.monotonic()
                seconds += ended - started
                data_wait_s += arrived - started
                with saving_on_ctrl_c():
                    on_batch(spec.batch_size)
                if checkpoint and step < steps and ended - last_saved >= checkpoint.every_s:
                    save()
                    last_saved = time.monotonic()
            with saving_on_ctrl_c():
                scores = trainer.score(validation, on_score)
            mean_loss, accuracy = loss / steps, correct / (steps * spec.batch_size)
            result = Epoch(len(history) + 1, trainer.learning_rate, mean_loss, accuracy, *scores)
            history = [*history, result]
            step, loss, correct = 0, 0.0, 0
            if best_of(history) is result:
                best_weights = trainer.scored_weights
            save()
            on_epoch(result, seconds, data_wait_s)
    finally:
        del batches  # a stream that is still being read can hang the interpreter at exit
    best, most = best_of(history).val_loss, RUNAWAY * math.log(len(clips_of_words))
    if not best <= most:
        if checkpoint:
            checkpoint.path.unlink(missing_ok=True)
        raise TrainingError(
            f"its validation loss diverged to {best:.3g}; expected at most {most:.0f}, so choose a "
            f"train.learning_rate smaller than {spec.learning_rate:g}"
        )
    return Trained(trainer.finished(best_weights), history)


def _seconds_to_score(trainer: Trainer, validation: tf.data.Dataset) -> float:
    """Time of scoring a clip of the first batch, measured after TensorFlow has built the graph."""
    one = validation.take(1).cache()
    trainer.score(one)
    clips = 0

    def count(scored: int) -> None:
        nonlocal clips
        clips += scored

    started = time.monotonic()
    trainer.score(one, count)
    return (time.monotonic() - started) / clips


def _refuse_too_large(batch_size: int, model: keras.Model) -> None:
    """Refuse a batch larger than the processor's memory; on GPUs TensorFlow raises an error of its own."""
    free = None if list_gpus() else free_bytes()
    if free is None:
        return
    most = largest_batch(model, free)
    if batch_size > most:
        advice = f"set it to {most:,} at most" if most > 1 else "end other programs or raise the memory limit"
        raise TrainingError(
            f"train.batch_size {batch_size:,} takes more memory than the {free / 1e9:.1f} GB that are free; {advice}"
        )
