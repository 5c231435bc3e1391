"""The trainer: a network, its optimizer, and training and validation steps."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from msgspec import Struct
from numpy.typing import NDArray

from models.networks.front_end import Statistics
from models.networks.registry import family_of
from models.settings import TrainSpec
from models.training.devices import choose_precision

WARMUP_SHARE = 0.1
"""Share of all steps in which the cosine schedule rises to the learning rate."""


def balanced_weights(clips_of_words: NDArray[np.int64]) -> NDArray[np.float32]:
    """Weight of a clip of each word, so that all words weigh the same and a clip weighs 1 on average.

    Examples
    --------
    >>> balanced_weights(np.array([30, 10, 0])).round(3)
    array([0.667, 2.   , 0.   ], dtype=float32)
    """
    present = clips_of_words > 0
    weights = clips_of_words.sum() / (present.sum() * np.maximum(clips_of_words, 1))
    return np.where(present, weights, 0).astype(np.float32)


class Trainer:
    """A network, its optimizer, and the steps taken with them.

    Parameters
    ----------
    network : Struct
        Settings of one of the :data:`~models.networks.registry.FAMILIES`.
    shape : tuple of int
        (frequency, time, 1).
    clips_of_words : int64 array, shape (words,)
        Clips of each word in the training set.
    steps : int
        Steps of the whole training, over which the learning rate is scheduled.

    Attributes
    ----------
    model : keras.Model
        The network with its current weights, in the precision of the settings.
    """

    def __init__(
        self,
        network: Struct,
        spec: TrainSpec,
        shape: tuple[int, ...],
        statistics: Statistics | None,
        clips_of_words: NDArray[np.int64],
        steps: int,
        strategy: tf.distribute.Strategy,
    ) -> None:
        precision = choose_precision(spec.precision)
        build = family_of(network).build
        words = len(clips_of_words)
        self._strategy = strategy
        self._batch_size = spec.batch_size
        self._weights = tf.constant(
            balanced_weights(clips_of_words) if spec.class_weights == "balanced" else np.ones(words, np.float32)
        )
        with strategy.scope():
            keras.utils.set_random_seed(spec.seed)
            self.model = build(network, shape, words, statistics=statistics, precision=precision)
            self._optimizer = keras.optimizers.Adam(_learning_rate(spec, steps))
            if precision == "float16":
                self._optimizer = keras.optimizers.LossScaleOptimizer(self._optimizer)
            self._optimizer.build(self.model.trainable_variables)
        self._scorer = self.model
        if precision != "float32":
            self._scorer = build(network, shape, words, statistics=statistics)
        self._take_step = tf.function(self._distributed_step, reduce_retracing=True)
        self._score_batch = tf.function(self._score, reduce_retracing=True)

    @property
    def learning_rate(self) -> float:
        """The learning rate of the next step."""
        return float(keras.ops.convert_to_numpy(self._optimizer.learning_rate))

    @property
    def variables(self) -> list[keras.Variable]:
        """All that decides the next step: weights, random seeds, the optimizer's state."""
        return [*self.model.variables, *self._optimizer.variables]

    def batches(self, dataset: tf.data.Dataset) -> Iterator[Any]:
        """Iterate over batches, each split evenly among the devices."""
        several = self._strategy.num_replicas_in_sync > 1
        return iter(self._strategy.experimental_distribute_dataset(dataset) if several else dataset)

    def step(self, batch: Any) -> tuple[float, int]:
        """Take one step; return the mean loss of the batch and how many of its clips were classified correctly."""
        loss, correct = self._take_step(batch)
        return float(loss), int(correct)

    def _distributed_step(self, batch: Any) -> tuple[tf.Tensor, tf.Tensor]:
        losses, correct = self._strategy.run(self._replica_step, args=batch)
        total = tf.distribute.ReduceOp.SUM
        return self._strategy.reduce(total, losses, axis=None), self._strategy.reduce(total, correct, axis=None)

    def _replica_step(self, features: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            logits = self.model(tf.cast(features, tf.float32), training=True)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits) * tf.gather(self._weights, labels)
            loss = tf.reduce_sum(losses) / self._batch_size
            scaled = self._optimizer.scale_loss(loss)
        variables = self.model.trainable_variables
        self._optimizer.apply(tape.gradient(scaled, variables), variables)
        return loss, _count_correct(logits, labels)

    def score(self, batches: tf.data.Dataset) -> tuple[float, float]:
        """Mean loss and accuracy over finite batches, in float32."""
        if self._scorer is not self.model:
            self._scorer.set_weights(self.model.get_weights())
        clips, loss, correct = 0, 0.0, 0
        for features, labels in batches:
            batch_loss, batch_correct = self._score_batch(features, labels)
            clips, loss, correct = clips + len(labels), loss + float(batch_loss), correct + int(batch_correct)
        return loss / clips, correct / clips

    def _score(self, features: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        logits = self._scorer(tf.cast(features, tf.float32), training=False)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        return tf.reduce_sum(losses), _count_correct(logits, labels)

    def finished(self, weights: list[NDArray[np.float32]]) -> keras.Model:
        """The network in float32, with the given weights."""
        self._scorer.set_weights(weights)
        return self._scorer


def _count_correct(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.cast(tf.argmax(logits, axis=1) == labels, tf.int64))


def _learning_rate(spec: TrainSpec, steps: int) -> float | keras.optimizers.schedules.LearningRateSchedule:
    if spec.schedule == "constant":
        return spec.learning_rate
    warmup = round(steps * WARMUP_SHARE)
    if not warmup:
        return keras.optimizers.schedules.CosineDecay(spec.learning_rate, steps)
    return keras.optimizers.schedules.CosineDecay(
        0.0, steps - warmup, warmup_target=spec.learning_rate, warmup_steps=warmup
    )
