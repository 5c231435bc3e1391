"""The trainer: a network, its optimizer, and training and validation steps."""

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from models.networks.build import build
from models.networks.front_end import NORMALIZE, FrontEnd, Statistics
from models.settings import AugmentSpec, NetworkSpec, TrainSpec
from models.training.augment import Augment
from models.training.devices import precision_of

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
    network : NetworkSpec
        Settings of one of the :data:`~models.networks.registry.FAMILIES`.
    shape : tuple of int
        (frequency, time, 1).
    noise : float array, shape (clips, frequency, time, 1)
        Features of clips of noise, for augmentation; none for no noise.
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
        network: NetworkSpec,
        spec: TrainSpec,
        shape: tuple[int, ...],
        front_end: FrontEnd,
        statistics: Statistics | None,
        noise: NDArray[Any],
        clips_of_words: NDArray[np.int64],
        steps: int,
        strategy: tf.distribute.Strategy,
    ) -> None:
        precision = precision_of(network, spec)
        words = len(clips_of_words)
        about: dict[str, Any] = {"front_end": front_end, "statistics": statistics}
        self._strategy = strategy
        self._batch_size = spec.batch_size
        self._smoothing = spec.label_smoothing
        self._weights = tf.constant(
            balanced_weights(clips_of_words) if spec.class_weights == "balanced" else np.ones(words, np.float32)
        )
        with strategy.scope():
            keras.utils.set_random_seed(spec.seed)
            self.model = build(network, shape, words, **about, precision=precision)
            self._rate = _learning_rate(spec, steps)
            self._optimizer = _optimizer(spec, self._rate)
            if precision == "float16":
                self._optimizer = keras.optimizers.LossScaleOptimizer(self._optimizer)
            self._optimizer.build(self.model.trainable_variables)
        normalized = self.model.get_layer(NORMALIZE).output
        self._front = keras.Model(self.model.input, normalized)
        self._trunk = keras.Model(normalized, self.model.output)
        self._augment = Augment(spec.augment or AugmentSpec(), front_end, statistics, self._heard(noise), spec.seed)
        self._scorer = self.model
        if precision != "float32" or spec.ema:
            self._scorer = build(network, shape, words, **about)
        self._take_step = tf.function(self._distributed_step, reduce_retracing=True)
        self._score_batch = tf.function(self._score, reduce_retracing=True)

    @property
    def learning_rate(self) -> float:
        """The learning rate of the last step."""
        if isinstance(self._rate, float):
            return self._rate
        return float(self._rate(keras.ops.convert_to_numpy(self._optimizer.iterations) - 1))

    @property
    def variables(self) -> list[keras.Variable]:
        """All that decides the next step: weights, random seeds, the optimizer's state."""
        return [*self.model.variables, *self._optimizer.variables]

    @property
    def scored_weights(self) -> list[NDArray[np.float32]]:
        """Weights that :meth:`score` scored last."""
        return self._scorer.get_weights()

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
        heard = self._augment(self._front(tf.cast(features, tf.float32)), self._draw_number())
        with tf.GradientTape() as tape:
            logits = self._trunk(heard, training=True)
            loss = tf.reduce_sum(self._losses(labels, logits) * tf.gather(self._weights, labels)) / self._batch_size
            scaled = self._optimizer.scale_loss(loss)
        variables = self.model.trainable_variables
        self._optimizer.apply(tape.gradient(scaled, variables), variables)
        return loss, _count_correct(logits, labels)

    def score(
        self, batches: tf.data.Dataset, on_batch: Callable[[int], None] = lambda clips: None
    ) -> tuple[float, float]:
        """Mean loss, smoothed as in training, and accuracy over finite batches, in float32."""
        if self._scorer is not self.model:
            self._scorer.set_weights(self.model.get_weights())
            self._optimizer.finalize_variable_values(self._scorer.trainable_variables)  # the moving average
        clips, loss, correct = 0, 0.0, 0
        for features, labels in batches:
            batch_loss, batch_correct = self._score_batch(features, labels)
            clips, loss, correct = clips + len(labels), loss + float(batch_loss), correct + int(batch_correct)
            on_batch(len(labels))
        return loss / clips, correct / clips

    def _heard(self, features: NDArray[Any]) -> NDArray[np.float32]:
        """What the front end gives, 64 clips at a time."""
        parts = [self._front(features[at : at + 64].astype(np.float32)).numpy() for at in range(0, len(features), 64)]
        return np.concatenate([np.zeros((0, *self._front.output.shape[1:]), np.float32), *parts])

    def _draw_number(self) -> tf.Tensor:
        """A number for each step and device."""
        replica = tf.distribute.get_replica_context()
        steps, device = (tf.cast(n, tf.int64) for n in (self._optimizer.iterations, replica.replica_id_in_sync_group))
        return steps * replica.num_replicas_in_sync + device

    def _score(self, features: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        logits = self._scorer(tf.cast(features, tf.float32), training=False)
        return tf.reduce_sum(self._losses(labels, logits)), _count_correct(logits, labels)

    def _losses(self, labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        targets = tf.one_hot(labels, len(self._weights))
        return keras.losses.categorical_crossentropy(targets, logits, from_logits=True, label_smoothing=self._smoothing)

    def finished(self, weights: list[NDArray[np.float32]]) -> keras.Model:
        """The network in float32, with the given weights."""
        self._scorer.set_weights(weights)
        return self._scorer


class AdamWithAverage(keras.optimizers.AdamW):
    """AdamW whose moving average of the weights begins short, so that a short training is not an average of its start.

    The momentum of step n is at most (1 + n) / (10 + n), as in TensorFlow's ``ExponentialMovingAverage``.
    """

    @property
    def ema_momentum(self) -> tf.Tensor:
        """Momentum of the next step."""
        step = tf.cast(self.iterations, tf.float32)
        return tf.minimum(self._ema_momentum, (1 + step) / (10 + step))

    @ema_momentum.setter
    def ema_momentum(self, value: float) -> None:
        self._ema_momentum = value


def _count_correct(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.cast(tf.argmax(logits, axis=1) == labels, tf.int64))


def _optimizer(
    spec: TrainSpec, rate: float | keras.optimizers.schedules.LearningRateSchedule
) -> keras.optimizers.Optimizer:
    optimizer = AdamWithAverage(
        rate,
        weight_decay=spec.weight_decay,
        use_ema=spec.ema > 0,
        ema_momentum=spec.ema,
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


def _learning_rate(spec: TrainSpec, steps: int) -> float | keras.optimizers.schedules.LearningRateSchedule:
    if spec.schedule == "constant":
        return spec.learning_rate
    warmup = round(steps * WARMUP_SHARE)
    if not warmup:
        return keras.optimizers.schedules.CosineDecay(spec.learning_rate, steps)
    return keras.optimizers.schedules.CosineDecay(
        0.0, steps - warmup, warmup_target=spec.learning_rate, warmup_steps=warmup
    )
