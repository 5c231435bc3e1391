"""Training: batches in, the network of the best epoch out. Knows no store and no file."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from models.networks import LOG_OFFSET, NetworkSpec, build_network

STATISTICS_CLIPS = 2048
"""Clips that mean and variance of the log magnitudes are taken over."""
WARMUP_SHARE = 0.1
"""Share of all steps in which the cosine schedule rises to the learning rate."""


class TrainSpec(BaseModel):
    """How a network is trained."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    batch_size: Annotated[int, Field(ge=2)]
    epochs: Annotated[int, Field(ge=1)]
    learning_rate: Annotated[float, Field(gt=0)]
    """Adam's step size; with the cosine schedule, the largest."""
    schedule: Literal["cosine", "constant"]
    """``cosine`` rises in the first tenth of the steps and falls to 0 at the last."""
    compression: Literal["log", "none"]
    """``log``: the network's first layers take the log of magnitudes and normalise each frequency."""
    precision: Literal["auto", "float32"]
    """``auto``: the fastest precision that is known to learn, which is float32 on every device so far."""
    seed: Annotated[int, Field(ge=0)]


@dataclass(frozen=True)
class Epoch:
    """How one epoch went."""

    epoch: int
    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float
    seconds: float
    """Wall time, validation included."""


@dataclass(frozen=True)
class Trained:
    """A trained network and how it came about."""

    model: keras.Model
    """With the weights of the best epoch."""
    best: Epoch
    """The epoch of least validation loss."""
    history: list[Epoch]


def log_statistics(batches: tf.data.Dataset) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and variance of log magnitudes, for each frequency.

    Parameters
    ----------
    batches : tf.data.Dataset
        Finite, of (features, label): float32 (batch, frequency, time, 1), linear magnitudes.

    Returns
    -------
    pair of float32 arrays, shape (frequency,)
    """
    count, total, squares = 0, np.float64(0), np.float64(0)
    for features, _ in batches.as_numpy_iterator():
        logarithm = np.log(features + np.float32(LOG_OFFSET), dtype=np.float64)
        count += logarithm.size // logarithm.shape[1]
        total = total + logarithm.sum(axis=(0, 2, 3))
        squares = squares + np.square(logarithm).sum(axis=(0, 2, 3))
    mean = total / count
    return np.asarray(mean, np.float32), np.asarray(squares / count - np.square(mean), np.float32)


class _BestEpoch(keras.callbacks.Callback):  # type: ignore[misc]  # Keras ships no types
    """Keeps the weights of the epoch with the least validation loss."""

    def __init__(self, on_batch: Callable[[int, float], None], on_epoch: Callable[[Epoch], None]) -> None:
        super().__init__()
        self._on_batch = on_batch
        self._on_epoch = on_epoch
        self._started = 0.0
        self.history: list[Epoch] = []
        self.weights: list[NDArray[np.float32]] = []

    @property
    def best(self) -> Epoch:
        return min(self.history, key=lambda epoch: epoch.val_loss)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._started = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._on_batch(batch + 1, float((logs or {})["loss"]))

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        scores = {name: float((logs or {})[name]) for name in ("loss", "accuracy", "val_loss", "val_accuracy")}
        result = Epoch(epoch + 1, **scores, seconds=time.monotonic() - self._started)
        self.history.append(result)
        if self.best is result:
            self.weights = self.model.get_weights()
        self._on_epoch(result)


def train(
    network: NetworkSpec,
    spec: TrainSpec,
    training: tf.data.Dataset,
    validation: tf.data.Dataset,
    *,
    clips: int,
    words: int,
    on_batch: Callable[[int, float], None] = lambda batch, loss: None,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
) -> Trained:
    """Train a network and keep its best epoch by validation loss.

    Parameters
    ----------
    network : NetworkSpec
    spec : TrainSpec
    training : tf.data.Dataset
        Endless, of (features, label): float32 (batch, frequency, time, 1), every batch of one size, and int64 (batch,).
    validation : tf.data.Dataset
        Finite, of the same elements; the last batch may be partial.
    clips : int
        Clips in the training set: an epoch is as many batches as they fill.
    words : int
    on_batch : callable
        Told the number of batches done in the epoch, and the epoch's mean loss so far.
    on_epoch : callable
        Told how each epoch went.

    Returns
    -------
    Trained
    """
    keras.utils.set_random_seed(spec.seed)
    steps = max(1, clips // spec.batch_size)
    statistics = None
    if spec.compression == "log":
        statistics = log_statistics(training.take(min(steps, max(1, STATISTICS_CLIPS // spec.batch_size))))
    model = build_network(network, training.element_spec[0].shape[1:], words, statistics=statistics)
    model.compile(
        keras.optimizers.Adam(_learning_rate(spec, steps * spec.epochs)),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    best = _BestEpoch(on_batch, on_epoch)
    model.fit(
        training,
        epochs=spec.epochs,
        steps_per_epoch=steps,
        validation_data=validation,
        callbacks=[best],
        shuffle=False,
        verbose=0,
    )
    model.set_weights(best.weights)
    return Trained(model, best.best, best.history)


def _learning_rate(spec: TrainSpec, steps: int) -> float | keras.optimizers.schedules.LearningRateSchedule:
    if spec.schedule == "constant":
        return spec.learning_rate
    warmup = max(1, round(steps * WARMUP_SHARE))
    return keras.optimizers.schedules.CosineDecay(
        0.0, max(1, steps - warmup), warmup_target=spec.learning_rate, warmup_steps=warmup
    )
