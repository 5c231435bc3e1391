import math
import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import keras
import msgspec
import numpy as np
import pytest
import tensorflow as tf

from models.history import Epoch, best_of
from models.networks.build import build
from models.networks.cnn import CnnSpec
from models.networks.ds_cnn import DsCnnSpec
from models.networks.front_end import FrontEnd
from models.networks.residual import ResidualSpec
from models.networks.transform import Transform
from models.settings import NetworkSpec, TrainSpec
from models.training.checkpoint import Checkpoint
from models.training.course import Position
from models.training.loop import Trained, TrainingError, measure_statistics, train
from models.training.memory import free_bytes, largest_batch
from models.training.trainer import balanced_weights

NETWORK = CnnSpec(skip_connections=False, dropout=0.1, dense_units=16)
"""It learns what these tests teach in 36 steps."""
TINY = DsCnnSpec(channels=4, blocks=1)
"""It learns less, and is built and trained in a third of the time."""
SHAPE = (24, 16)
TRANSFORM = Transform(kind="magnitude", n_fft=46, hop_length=64, window="hann")
FRONT_END = FrontEnd(TRANSFORM, 1024)  # 16 frames a second
CLIPS = 200  # six batches of 32, and eight clips that open the next epoch
WORDS = np.array([CLIPS, 0, 0])


def tones(clips: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Magnitudes in which the label decides where the energy is, at loudnesses that tell nothing."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(3, size=clips)
    magnitude = rng.uniform(0, 0.1, (clips, *SHAPE))
    for clip, label in enumerate(labels):
        magnitude[clip, 8 * label + rng.integers(6)] += 1
    magnitude *= 10 ** rng.uniform(-2, 1, (clips, 1, 1))
    return magnitude.astype(np.float32)[..., np.newaxis], labels


def batches(clips: int, seed: int) -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices(tones(clips, seed)).batch(32)


def stream(clips: int = CLIPS, dtype: str = "float32") -> Callable[[int], tf.data.Dataset]:
    """An endless stream from which the first batches can be left out."""
    features, labels = tones(clips, 0)
    dataset = tf.data.Dataset.from_tensor_slices((features.astype(dtype), labels)).repeat()
    return lambda first: dataset.batch(32).skip(first)


def spec(**changes: object) -> TrainSpec:
    return msgspec.convert(
        {
            "batch_size": 32,
            "epochs": 5,
            "learning_rate": 2e-3,
            "schedule": "cosine",
            "early_stopping": 0,
            "class_weights": "none",
            "compression": "log",
            "precision": "float32",
            "seed": 0,
            **changes,
        },
        TrainSpec,
    )


def fit(network: NetworkSpec, settings: TrainSpec, *streams: object, **options: object) -> Trained:
    front_end = replace(FRONT_END, compress=settings.compression == "log")
    return train(network, settings, *streams, **{"front_end": front_end, **options})


def run(changes: dict[str, object] | None = None, network: NetworkSpec = TINY, **options: object) -> Trained:
    options = {"clips_of_words": WORDS, **options}
    return fit(network, spec(**(changes or {})), stream(), batches(50, 1), **options)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_training_learns_in_every_precision(precision: str) -> None:
    clips: list[int] = []
    told: list[tuple[Epoch, float, float]] = []
    changes = {"precision": precision, "epochs": 6}
    trained = run(changes, NETWORK, on_batch=clips.append, on_epoch=lambda *epoch: told.append(epoch))
    assert trained.history[-1].accuracy > 0.95
    assert best_of(trained.history).val_accuracy > 0.9
    assert clips == [32] * 36
    assert [epoch for epoch, _, _ in told] == trained.history
    assert all(0 <= data_wait_s < seconds for _, seconds, data_wait_s in told)
    # What is kept is float32, and scores as it did while training.
    assert {layer.compute_dtype for layer in trained.model.layers} == {"float32"}
    val_loss, val_accuracy = evaluated(trained)
    assert val_loss == pytest.approx(best_of(trained.history).val_loss, rel=1e-5)
    assert val_accuracy == pytest.approx(best_of(trained.history).val_accuracy, rel=1e-5)


def test_training_in_float16_follows_that_in_float32() -> None:
    """On one small batch, because processors compute float16 a hundred times slower."""
    features, labels = tones(48, 0)
    few = features[:8, :16], labels[:8] // 2  # two of three bands
    once = tf.data.Dataset.from_tensor_slices(few).repeat().batch(8)
    network = msgspec.structs.replace(NETWORK, dropout=0.0)
    losses = {}
    for precision in ("float32", "float16"):
        settings = spec(precision=precision, batch_size=8, epochs=6, schedule="constant", learning_rate=5e-4)
        trained = fit(network, settings, once.skip, once.take(1), clips_of_words=np.array([4, 4]))
        losses[precision] = [epoch.loss for epoch in trained.history]
    assert losses["float16"] != losses["float32"]
    assert losses["float16"] == pytest.approx(losses["float32"], rel=0.1)
    assert losses["float16"][-1] < 0.7 * losses["float16"][0]


def evaluated(trained: Trained) -> tuple[float, float]:
    trained.model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    loss, accuracy = trained.model.evaluate(batches(50, 1), verbose=0)
    return loss, accuracy


def test_float16_features_are_cast_where_they_are_used() -> None:
    stored = stream(dtype="float16")

    def cast(first: int) -> tf.data.Dataset:
        return stored(first).map(lambda features, label: (tf.cast(features, tf.float32), label))

    one, same = (fit(TINY, spec(epochs=1), given, batches(50, 1), clips_of_words=WORDS) for given in (stored, cast))
    assert one.history == same.history


def test_the_best_epoch_by_validation_loss_is_kept() -> None:
    # A huge step size makes the losses jump, so that the last epoch is seldom the best.
    for seed in range(5):
        trained = run({"schedule": "constant", "learning_rate": 0.05, "seed": seed})
        if best_of(trained.history) is not trained.history[-1]:
            break
    else:
        pytest.fail("the last epoch was always the best")
    assert best_of(trained.history).val_loss == min(epoch.val_loss for epoch in trained.history)
    assert evaluated(trained) == pytest.approx(
        (best_of(trained.history).val_loss, best_of(trained.history).val_accuracy), rel=1e-5
    )


def test_training_stops_when_validation_no_longer_improves() -> None:
    unsteady = {"schedule": "constant", "learning_rate": 0.05, "epochs": 30}
    trained = run({**unsteady, "early_stopping": 2})
    assert len(trained.history) == best_of(trained.history).epoch + 2 < 30
    whole = run({**unsteady, "epochs": len(trained.history) + 1})
    assert whole.history[:-1] == trained.history


def test_the_cosine_schedule_rises_and_falls() -> None:
    rates = [epoch.learning_rate for epoch in run({"epochs": 4}).history]
    assert rates == sorted(rates, reverse=True)
    assert max(rates) <= 2e-3
    assert 0 < rates[-1] < 0.1 * rates[0]  # that of the last step, which moves the weights a little
    assert {epoch.learning_rate for epoch in run({"schedule": "constant", "epochs": 2}).history} == {2e-3}


def test_rare_words_weigh_more_if_asked() -> None:
    weights = balanced_weights(np.array([90, 10, 0]))
    np.testing.assert_allclose(weights, [100 / 180, 5, 0], rtol=1e-6)
    counts = np.bincount(tones(CLIPS, 0)[1], minlength=3)
    plain, weighted = (
        fit(TINY, spec(class_weights=which, epochs=1), stream(), batches(50, 1), clips_of_words=counts)
        for which in ("none", "balanced")
    )
    assert plain.history != weighted.history
    even = fit(
        TINY,
        spec(class_weights="balanced", epochs=1),
        stream(),
        batches(50, 1),
        clips_of_words=np.array([67, 67, 66]),
    )
    assert even.history[0].loss == pytest.approx(plain.history[0].loss, rel=0.01)


def test_equal_settings_give_equal_networks(tmp_path: Path) -> None:
    """With checkpoints and without."""
    first, second = run(), run(checkpoint=Checkpoint(tmp_path / "c", "k", every_s=0))
    assert first.history == second.history
    for one, other in zip(first.model.get_weights(), second.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert run({"seed": 1}).history != first.history


AUGMENTED = {
    "batch_size": 32,
    "weight_decay": 0.05,
    "label_smoothing": 0.1,
    "ema": 0.8,
    "augment": {
        "shift_s": 0.1,
        "stretch": 0.1,
        "warp": 0.1,
        "gain_db": 6.0,
        "noise": 0.5,
        "time_masks": 1,
        "time_mask_s": 0.2,
        "frequency_masks": 1,
    },
}
NETWORKS = {
    "base": NETWORK,
    "conv1d": CnnSpec(skip_connections=True, dropout=0.1, dense_units=16, dimensions=1),
    "res": ResidualSpec(channels=(4, 6, 8, 10), dropout=0.1),
    "ds_cnn": DsCnnSpec(channels=6, blocks=2, front_end="mel", n_mels=20),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_resumes_in_mid_epoch_with_augmentation(name: str, tmp_path: Path) -> None:
    """From the checkpoint that a kill in the eighth step would have left."""
    settings, noise = spec(**AUGMENTED, epochs=2), tones(20, 2)[0]
    heard: list[int] = []

    def keep_a_checkpoint(clips: int) -> None:
        heard.append(clips)
        if len(heard) == 8:  # of six steps an epoch
            shutil.copy(tmp_path / "c", tmp_path / "kept")

    def trained(checkpoint: str, **options: object) -> Trained:
        return fit(
            NETWORKS[name],
            settings,
            stream(),
            batches(50, 1),
            clips_of_words=WORDS,
            noise=noise,
            checkpoint=Checkpoint(tmp_path / checkpoint, "k", every_s=0),
            **options,
        )

    whole = trained("c", on_batch=keep_a_checkpoint)
    resumed_after: list[tuple[int, int]] = []
    resumed = trained("kept", on_resume=lambda epochs, steps: resumed_after.append((len(epochs), steps)))
    assert resumed_after == [(1, 1)]
    assert resumed.history == whole.history
    for one, same in zip(resumed.model.get_weights(), whole.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, same)


def test_clips_are_varied_anew_each_time_they_are_heard() -> None:
    """One batch, again and again, by a network that does not learn."""
    once = tf.data.Dataset.from_tensor_slices(tones(32, 0)).batch(32).repeat()
    network = DsCnnSpec(channels=4, blocks=1, dropout=0)
    for augment, different in ((None, 1), ({"gain_db": 6.0, "shift_s": 0.2}, 4)):
        settings = spec(learning_rate=1e-30, schedule="constant", epochs=4, augment=augment)
        trained = fit(network, settings, once.skip, batches(50, 1), clips_of_words=np.array([32, 0, 0]))
        assert len({round(epoch.loss, 5) for epoch in trained.history}) == different


def test_the_moving_average_is_what_is_scored_and_kept() -> None:
    constant = {"schedule": "constant", "epochs": 2}
    plain, averaged = run(constant), run({**constant, "ema": 0.9})
    assert [epoch.loss for epoch in averaged.history] == [epoch.loss for epoch in plain.history]
    assert averaged.history[-1].val_loss != plain.history[-1].val_loss
    assert evaluated(averaged)[0] == pytest.approx(best_of(averaged.history).val_loss, rel=1e-5)


def test_the_moving_average_of_a_short_training_is_not_its_start() -> None:
    """Of 36 steps, an average with a momentum of 0.99 throughout would still hold two thirds of the first weights."""
    trained = run({"epochs": 6, "ema": 0.99}, NETWORK)
    assert trained.history[-1].val_accuracy > 0.9


def test_weight_decay_and_smoothing_do_what_they_say() -> None:
    """Decay takes a share of the learning rate from each weight; smoothing keeps the loss above its entropy."""
    one_step = {"epochs": 1, "schedule": "constant"}
    words = np.array([32, 0, 0])
    plain, decayed = (run({**one_step, "weight_decay": decay}, clips_of_words=words) for decay in (0.0, 10.0))
    for one, other in zip(plain.model.trainable_variables, decayed.model.trainable_variables, strict=True):
        if "kernel" not in one.name:
            np.testing.assert_array_equal(one, other)
        else:
            assert np.abs(other).sum() == pytest.approx(0.98 * np.abs(one).sum(), rel=0.01)  # 1 - 10 * 0.002
    smoothed = run({"epochs": 6, "label_smoothing": 0.3}, NETWORK)
    target = np.array([0.8, 0.1, 0.1])
    assert smoothed.history[-1].accuracy > 0.95
    assert smoothed.history[-1].loss > -(target * np.log(target)).sum()


def train_to(folder: Path) -> None:
    """Train with a checkpoint after every step, and write down each step and the outcome."""
    with (folder / "steps").open("a") as steps:

        def tell(clips: int) -> None:
            steps.write(f"{clips}\n")
            steps.flush()

        trained = run(
            AUGMENTED,
            NETWORK,
            checkpoint=Checkpoint(folder / "c", "k", every_s=0),
            on_batch=tell,
            on_resume=lambda before, batches: tell((len(before) * 6 + batches) * 32),
        )
    np.savez(folder / "weights.npz", *trained.model.get_weights())
    (folder / "history").write_text(repr(trained.history))


def test_a_killed_training_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    spawn = multiprocessing.get_context("spawn")
    for folder in (whole, killed):
        folder.mkdir()
    train_to(whole)
    rng = np.random.default_rng(0)
    for until in (int(rng.integers(7, 12)), math.inf):
        process = spawn.Process(target=train_to, args=(killed,))
        process.start()
        steps = killed / "steps"
        while process.is_alive() and (not steps.exists() or done(steps) < until):
            time.sleep(0.005)
        if process.is_alive() and until < math.inf:
            os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
    restarts = [int(line) // 32 for line in steps.read_text().split() if int(line) > 32]
    assert len(restarts) == 1
    assert any(step % 6 for step in restarts), "no kill struck in mid-epoch"
    assert (killed / "history").read_text() == (whole / "history").read_text()
    with np.load(killed / "weights.npz") as one, np.load(whole / "weights.npz") as other:
        for name in one.files:
            np.testing.assert_array_equal(one[name], other[name])


def done(steps: Path) -> int:
    """Steps that are done, over all restarts."""
    total = 0
    for line in steps.read_text().split():
        total = int(line) // 32 if int(line) > 32 else total + 1
    return total


def test_a_checkpoint_of_another_training_is_not_used(tmp_path: Path) -> None:
    resumed: list[int] = []
    options = {"on_resume": lambda before, batches: resumed.append(len(before))}
    a, b = Checkpoint(tmp_path / "c", "a"), Checkpoint(tmp_path / "c", "b")
    first = run({"epochs": 1}, checkpoint=a, **options)
    again = run({"epochs": 1}, checkpoint=b, **options)
    assert resumed == []
    assert again.history == first.history
    finished = run({"epochs": 1}, checkpoint=b, **options)
    assert resumed == [1]
    assert finished.history == first.history
    for one, same in zip(finished.model.get_weights(), first.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, same)
    content = (tmp_path / "c").read_bytes()
    (tmp_path / "c").write_bytes(content[:5000] + b"?" + content[5001:])
    assert run({"epochs": 1}, checkpoint=b, **options).history == first.history
    assert resumed == [1]


CONSTANT = {**AUGMENTED, "schedule": "constant", "learning_rate": 5e-3}


def lengths(folder: Path) -> tuple[Callable[..., Trained], list[tuple[int, int]]]:
    """Train one course to different ends, with a file each as the stage has; and where each went on from."""
    resumed: list[tuple[int, int]] = []

    def trained(name: str, **changes: object) -> Trained:
        others = tuple(folder.glob("*"))
        checkpoint = Checkpoint(folder / name, "k", every_s=0, others=others)
        note = {"on_resume": lambda before, steps: resumed.append((len(before), steps))}
        return run({**CONSTANT, **changes}, noise=tones(20, 2)[0], checkpoint=checkpoint, **note)

    return trained, resumed


def same(one: Trained, other: Trained) -> bool:
    weights = zip(one.model.get_weights(), other.model.get_weights(), strict=True)
    return one.history == other.history and all(np.array_equal(a, b) for a, b in weights)


def test_more_epochs_with_a_constant_rate_are_trained_on_to_the_bit(tmp_path: Path) -> None:
    trained, resumed = lengths(tmp_path)
    short = trained("three", epochs=3)
    files = {path: path.read_bytes() for path in tmp_path.iterdir()}
    long = trained("five", epochs=5)
    assert resumed == [(3, 0)]
    assert long.history[:3] == short.history
    assert same(long, run({**CONSTANT, "epochs": 5}, noise=tones(20, 2)[0]))
    assert {path: path.read_bytes() for path in files} == files, "the shorter training can be gone on from as before"
    assert same(trained("later", epochs=9, stop_after=5), long)
    assert resumed[1:] == [(5, 0)]


def test_fewer_epochs_end_at_once_where_their_best_weights_are_kept(tmp_path: Path) -> None:
    for seed in range(8):
        (tmp_path / str(seed)).mkdir()
        trained, resumed = lengths(tmp_path / str(seed))
        unsteady = {"learning_rate": 0.05, "seed": seed}
        best = best_of(trained("four", **unsteady, epochs=4).history).epoch
        if best == 2:
            break
    else:
        pytest.fail("the second epoch was never the best of four")

    def plain(epochs: int) -> Trained:
        return run({**CONSTANT, **unsteady, "epochs": epochs}, noise=tones(20, 2)[0])

    for epochs in (3, 1):
        assert same(trained("fewer", **unsteady, epochs=epochs), plain(epochs))
        assert resumed == [(3, 0)], "not for one epoch, whose weights are lost"
    assert same(trained("more", **unsteady, epochs=5), plain(5))
    assert resumed == [(3, 0), (4, 0)], "what was trained anew cost nothing of what was there"


def test_a_cosine_schedule_may_end_early_and_goes_on(tmp_path: Path) -> None:
    """The schedule stays that of all epochs, so ending after some of them changes no step."""
    trained, resumed = lengths(tmp_path)
    cosine = {"schedule": "cosine", "epochs": 4}
    short = trained("two", **cosine, stop_after=2)
    assert len(short.history) == 2
    whole = trained("four", **cosine)
    assert same(whole, run({**CONSTANT, **cosine}, noise=tones(20, 2)[0]))
    assert resumed == [(2, 0)]


def test_ctrl_c_between_steps_loses_no_step(tmp_path: Path) -> None:
    """With no checkpoint due for half a minute."""
    checkpoint = Checkpoint(tmp_path / "c", "k", every_s=30)
    whole = run({"epochs": 2})
    heard: list[int] = []

    def stop_at(step: int) -> Callable[[int], None]:
        def stop(clips: int) -> None:
            heard.append(clips)
            if len(heard) == step:
                raise KeyboardInterrupt

        return stop

    resumed: list[tuple[int, int]] = []
    options = {"checkpoint": checkpoint, "on_resume": lambda before, steps: resumed.append((len(before), steps))}
    with pytest.raises(KeyboardInterrupt):
        run({"epochs": 2}, on_batch=stop_at(8), **options)
    heard.clear()
    with pytest.raises(KeyboardInterrupt):
        run({"epochs": 2}, on_score=stop_at(1), **options)  # after the last of six steps
    assert same(run({"epochs": 2}, **options), whole)
    assert resumed == [(1, 2), (1, 6)]


def test_no_damage_to_a_checkpoint_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "c"
    checkpoint = Checkpoint(path, "k")
    whole = (Position((Epoch(1, 0.1, 1, 0.5, 2.0, 0.5),), 3), [np.arange(4.0), np.ones((2, 2))], [np.zeros(3)])
    checkpoint.save(*whole)
    content = path.read_bytes()
    for at in range(len(content)):
        for bit in (0, 3, 7):
            path.write_bytes(content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :])
            loaded = checkpoint.load(spec())
            if loaded is not None:
                np.testing.assert_equal(loaded, whole)
    for length in range(0, len(content), 50):
        path.write_bytes(content[:length])
        assert checkpoint.load(spec()) is None


def test_several_devices_share_a_batch() -> None:
    """In a process of its own, whose processor is made to look like two devices."""
    spawn = multiprocessing.get_context("spawn")
    with spawn.Pool(1) as pool:
        several = pool.apply(train_on_two)
    # Normalisation is over each device's part of a batch, so they agree at the beginning and not to the last digit.
    assert several[0].loss == pytest.approx(run({"epochs": 1}, NETWORK).history[0].loss, rel=0.1)
    assert several[-1].accuracy > 0.95


def train_on_two() -> list[Epoch]:
    processor = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * 2)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    assert strategy.num_replicas_in_sync == 2
    return run({"epochs": 6}, NETWORK, strategy=strategy).history


def test_statistics_are_those_of_each_frequency() -> None:
    magnitude, _ = tones(CLIPS, 0)
    logarithm = np.log(magnitude.astype(np.float64) + 1e-3)
    for kind, values in (("magnitude", logarithm), ("logmel", magnitude.astype(np.float64))):
        front_end = replace(FRONT_END, transform=msgspec.structs.replace(TRANSFORM, kind=kind))
        mean, variance = measure_statistics(batches(CLIPS, 0), front_end)
        np.testing.assert_allclose(mean, values.mean(axis=(0, 2, 3)), rtol=1e-4)
        np.testing.assert_allclose(variance, values.var(axis=(0, 2, 3)), rtol=1e-4)


@pytest.mark.parametrize("magnitude", [0.0, 0.7])
def test_a_frequency_that_never_changes_can_be_normalised(magnitude: float) -> None:
    """The mean of squares less the square of the mean comes out below 0 for both, by rounding."""
    steady = np.full((1792, *SHAPE, 1), magnitude, np.float32)
    given = tf.data.Dataset.from_tensor_slices((steady, np.zeros(1792))).batch(16)
    mean, variance = measure_statistics(given, FRONT_END)
    np.testing.assert_allclose(mean, np.log(magnitude + 1e-3), rtol=1e-6)
    np.testing.assert_array_equal(variance, np.float32(1e-8))  # a rounding error stays below a hundredth


def test_nan_is_never_the_best() -> None:
    history = [Epoch(1, 0.1, 1, 0.1, math.nan, 0.1), Epoch(2, 0.1, 1, 0.1, 3.0, 0.1), Epoch(3, 0.1, 1, 0.1, 4.0, 0.1)]
    assert best_of(history) is history[1]


def test_a_training_of_one_step_learns() -> None:
    """The only step is taken at the full learning rate, as with the constant schedule."""
    one_step = np.array([40, 0, 0])
    cosine, constant, untrained = (
        run({"epochs": 1, **changes}, clips_of_words=one_step).model.get_weights()
        for changes in ({}, {"schedule": "constant"}, {"learning_rate": 1e-30})
    )
    for one, same in zip(cosine, constant, strict=True):
        np.testing.assert_array_equal(one, same)
    changes = [np.abs(one - before).max() for one, before in zip(cosine, untrained, strict=True) if one.ndim == 4]
    assert len(changes) == 3
    assert min(changes) == pytest.approx(2e-3, rel=0.1)  # Adam's first step moves a weight by the learning rate


def test_the_notebooks_recipe_sees_magnitudes_as_they_are() -> None:
    trained = run({"compression": "none", "schedule": "constant", "epochs": 1})
    assert [type(layer).__name__ for layer in trained.model.layers][:3] == ["InputLayer", "Identity", "Conv2D"]


@pytest.mark.parametrize(
    "change",
    [
        {"epochs": 0},
        {"learning_rate": 0.0},
        {"learning_rate": math.inf},
        {"seed": 2**32},
        {"batch_size": 1},
        {"precision": "int8"},
        {"optimiser": "sgd"},
        {"early_stopping": -1},
        {"class_weights": {"yes": 2}},
    ],
)
def test_bad_settings_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        spec(**change)


def test_a_batch_that_memory_cannot_hold_is_refused_before_the_first_step() -> None:
    shape = (260, 256, 1)
    free = free_bytes()
    assert free, "these tests are written for Linux"
    most = largest_batch(build(NETWORK, shape, 3, front_end=FRONT_END, statistics=None), free)
    clips = tf.data.Dataset.from_tensors((tf.zeros(shape), tf.constant(0, tf.int64))).repeat()

    def stream(first: int) -> tf.data.Dataset:
        return clips.batch(2 * most)

    with pytest.raises(TrainingError, match=r"takes more memory than the .* GB that are free; set it to ") as refused:
        fit(
            NETWORK,
            spec(batch_size=2 * most, compression="none"),
            stream,
            stream(0),
            clips_of_words=np.array([2 * most, 0, 0]),
        )
    advised = int(str(refused.value).split("set it to ")[1].split()[0].replace(",", ""))
    assert most / 2 < advised < 2 * most
