"""Training: batches in, the network of the best epoch out. Knows no store; its only file is its checkpoint.

The order of everything is a function of the settings, so a training that goes on from a checkpoint gives the weights
and the history of one that was never stopped, to the last bit where the device adds up in one order.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from models.checkpoint import Checkpoint
from models.networks import LOG_OFFSET, NetworkSpec, Precision, build_network

STATISTICS_CLIPS = 2048
"""Clips that mean and variance of the log magnitudes are taken over."""
WARMUP_SHARE = 0.1
"""Share of all steps in which the cosine schedule rises to the learning rate."""
CHECKPOINT_S = 30.0
"""Seconds between two checkpoints: what a kill costs at most."""
BFLOAT16_CAPABILITY = (8, 0)
"""Compute capability from which GPUs multiply bfloat16 in hardware."""


class TrainSpec(BaseModel):
    """How a network is trained."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    batch_size: Annotated[int, Field(ge=2)]
    epochs: Annotated[int, Field(ge=1)]
    learning_rate: Annotated[float, Field(gt=0)]
    """Adam's step size; with the cosine schedule, the largest."""
    schedule: Literal["cosine", "constant"]
    """``cosine`` rises in the first tenth of the steps and falls to 0 at the last."""
    early_stopping: Annotated[int, Field(ge=0)]
    """Epochs without a smaller validation loss after which training ends; 0 trains to the last."""
    class_weights: Literal["none", "balanced"]
    """``balanced``: each word counts the same in the loss, however many clips of it there are."""
    compression: Literal["log", "none"]
    """``log``: the network's first layers take the log of magnitudes and normalise each frequency."""
    precision: Literal["auto", "float32", "bfloat16", "float16"]
    """``auto``: the fastest precision that is known to learn on the device; see :func:`choose_precision`."""
    seed: Annotated[int, Field(ge=0)]


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
class _Progress:
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
        return min(self.history, key=lambda epoch: epoch.val_loss)

    def patience_is_over(self, epochs: int) -> bool:
        return bool(epochs and self.history and len(self.history) - self.best.epoch >= epochs)


def choose_precision(precision: str) -> Precision:
    """What to compute in on the devices at hand.

    ``auto`` is bfloat16 where every GPU has it in hardware, and float32 on anything else. On processors, bfloat16 is
    slow without AMX, and with it TensorFlow 2.16 lost most trainings to single broken steps.
    """
    if precision != "auto":
        return precision  # type: ignore[return-value]  # pydantic has checked it
    gpus = tf.config.list_physical_devices("GPU")
    capabilities = [tf.config.experimental.get_device_details(gpu).get("compute_capability") for gpu in gpus]
    fit = capabilities and all(each and each >= BFLOAT16_CAPABILITY for each in capabilities)
    return "bfloat16" if fit else "float32"


def adds_up_in_order() -> bool:
    """Whether the devices at hand give the same sum of the same numbers every time, as processors do."""
    return not tf.config.list_physical_devices("GPU")


def choose_strategy() -> tf.distribute.Strategy:
    """All GPUs side by side where there are several; else the one device there is."""
    several = len(tf.config.list_physical_devices("GPU")) > 1
    return tf.distribute.MirroredStrategy() if several else tf.distribute.get_strategy()


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
    return np.asarray(mean, np.float32), np.asarray(squares / count - np.square(mean), np.float32)


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


class _Trainer:
    """A network, its optimizer, and the steps that are taken with them."""

    def __init__(
        self,
        network: NetworkSpec,
        spec: TrainSpec,
        shape: tuple[int, ...],
        statistics: tuple[NDArray[np.float32], NDArray[np.float32]] | None,
        clips_of_words: NDArray[np.int64],
        steps: int,
        strategy: tf.distribute.Strategy,
    ) -> None:
        precision = choose_precision(spec.precision)
        words = len(clips_of_words)
        self._strategy = strategy
        self._batch_size = spec.batch_size
        self._weights = tf.constant(
            balanced_weights(clips_of_words) if spec.class_weights == "balanced" else np.ones(words, np.float32)
        )
        with strategy.scope():
            keras.utils.set_random_seed(spec.seed)
            self.model = build_network(network, shape, words, statistics=statistics, precision=precision)
            self._optimizer = keras.optimizers.Adam(_learning_rate(spec, steps))
            if precision == "float16":
                self._optimizer = keras.optimizers.LossScaleOptimizer(self._optimizer)
            self._optimizer.build(self.model.trainable_variables)
        self._scorer = self.model
        if precision != "float32":
            self._scorer = build_network(network, shape, words, statistics=statistics)
        self._take_step = tf.function(self._distributed_step, reduce_retracing=True)
        self._score_batch = tf.function(self._score, reduce_retracing=True)

    @property
    def learning_rate(self) -> float:
        return float(keras.ops.convert_to_numpy(self._optimizer.learning_rate))

    def state(self) -> dict[str, list[NDArray[Any]]]:
        """Values of all variables: weights, random seeds, the optimizer's."""
        return {name: [np.asarray(variable) for variable in variables] for name, variables in self._variables().items()}

    def restore(self, state: dict[str, list[NDArray[Any]]]) -> None:
        """Set all variables."""
        for name, variables in self._variables().items():
            for variable, value in zip(variables, state[name], strict=True):
                variable.assign(value)

    def _variables(self) -> dict[str, list[keras.Variable]]:
        return {"model": self.model.variables, "optimizer": self._optimizer.variables}

    def batches(self, dataset: tf.data.Dataset) -> Iterator[Any]:
        """Iterate over batches; each goes to the devices in equal parts."""
        several = self._strategy.num_replicas_in_sync > 1
        return iter(self._strategy.experimental_distribute_dataset(dataset) if several else dataset)

    def step(self, batch: Any) -> tuple[float, int]:
        """Take one step; mean loss of the batch, and how many of its clips were named right."""
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
        return loss, _count_right(logits, labels)

    def score(self, batches: tf.data.Dataset) -> tuple[float, float]:
        """Mean loss and share of right answers over finite batches, in float32."""
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
        return tf.reduce_sum(losses), _count_right(logits, labels)

    def finished(self, weights: list[NDArray[np.float32]]) -> keras.Model:
        """The network in float32 with such weights."""
        self._scorer.set_weights(weights)
        return self._scorer


def _count_right(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.cast(tf.argmax(logits, axis=1) == labels, tf.int64))


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
    """
    strategy = strategy or choose_strategy()
    steps = max(1, int(clips_of_words.sum()) // spec.batch_size)
    first = training(0)
    statistics = None
    if spec.compression == "log":
        statistics = log_statistics(first.take(min(steps, max(1, STATISTICS_CLIPS // spec.batch_size))))
    shape = tuple(first.element_spec[0].shape[1:])
    trainer = _Trainer(network, spec, shape, statistics, clips_of_words, steps * spec.epochs, strategy)
    progress = _Progress()
    best_weights: list[NDArray[np.float32]] = []

    saved = Checkpoint.load(checkpoint, key) if checkpoint else None
    if saved:
        history = [Epoch(**epoch) for epoch in saved.numbers.pop("history")]
        progress = _Progress(**saved.numbers, history=history)
        best_weights = saved.arrays.pop("best")
        trainer.restore(saved.arrays)
        on_resume(history, progress.step)
        on_batch((len(history) * steps + progress.step) * spec.batch_size)

    def save() -> None:
        if checkpoint:
            Checkpoint(key, asdict(progress), {**trainer.state(), "best": best_weights}).save(checkpoint)

    while len(progress.history) < spec.epochs and not progress.patience_is_over(spec.early_stopping):
        epoch = len(progress.history)
        batches = trainer.batches(training(epoch * steps + progress.step))
        seconds = waited = 0.0
        last_saved = time.monotonic()
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
            waited += arrived - started
            on_batch(spec.batch_size)
            if progress.step < steps and ended - last_saved >= checkpoint_s:
                save()
                last_saved = time.monotonic()
        del batches  # an endless stream must not outlive its use: it can hang the interpreter's exit
        val_loss, val_accuracy = trainer.score(validation)
        result = Epoch(
            epoch + 1,
            trainer.learning_rate,
            progress.loss / steps,
            progress.correct / (steps * spec.batch_size),
            val_loss,
            val_accuracy,
        )
        progress = _Progress(history=[*progress.history, result])
        if progress.best is result:
            best_weights = trainer.model.get_weights()
        save()
        on_epoch(result, Timing(seconds, waited))
    return Trained(trainer.finished(best_weights), progress.best, progress.history)


def _learning_rate(spec: TrainSpec, steps: int) -> float | keras.optimizers.schedules.LearningRateSchedule:
    if spec.schedule == "constant":
        return spec.learning_rate
    warmup = max(1, round(steps * WARMUP_SHARE))
    return keras.optimizers.schedules.CosineDecay(
        0.0, max(1, steps - warmup), warmup_target=spec.learning_rate, warmup_steps=warmup
    )
