import numpy as np
import pytest
import tensorflow as tf

from models.networks import NetworkSpec
from models.training import Epoch, TrainSpec, log_statistics, train

NETWORK = NetworkSpec(skip_connections=False, dropout=0.1, dense_units=16)
SHAPE = (24, 16)
CLIPS = 192


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


def spec(**changes: object) -> TrainSpec:
    return TrainSpec.model_validate(
        {
            "batch_size": 32,
            "epochs": 5,
            "learning_rate": 2e-3,
            "schedule": "cosine",
            "compression": "log",
            "precision": "float32",
            "seed": 0,
            **changes,
        }
    )


@pytest.mark.parametrize("precision", ["float32", "auto"])
def test_training_learns_in_every_precision(precision: str) -> None:
    batch_calls: list[int] = []
    told: list[Epoch] = []
    trained = train(
        NETWORK,
        spec(precision=precision, epochs=6),
        batches(CLIPS, 0).repeat(),
        batches(50, 1),
        clips=CLIPS,
        words=3,
        on_batch=lambda batch, loss: batch_calls.append(batch),
        on_epoch=told.append,
    )
    assert trained.history[-1].accuracy > 0.95
    assert trained.best.val_accuracy > 0.9
    assert batch_calls == [1, 2, 3, 4, 5, 6] * 6
    assert told == trained.history
    assert {layer.compute_dtype for layer in trained.model.layers} == {"float32"}


def test_the_best_epoch_by_validation_loss_is_kept() -> None:
    # A huge step size makes the losses jump, so that the last epoch is seldom the best.
    for seed in range(5):
        unsteady = spec(schedule="constant", learning_rate=0.05, seed=seed)
        validation = batches(50, 1)
        trained = train(NETWORK, unsteady, batches(CLIPS, 0).repeat(), validation, clips=CLIPS, words=3)
        if trained.best is not trained.history[-1]:
            break
    else:
        pytest.fail("the last epoch was always the best")
    assert trained.best.val_loss == min(epoch.val_loss for epoch in trained.history)
    val_loss, val_accuracy = trained.model.evaluate(validation, verbose=0)
    assert val_loss == pytest.approx(trained.best.val_loss, rel=1e-5)
    assert val_accuracy == pytest.approx(trained.best.val_accuracy, rel=1e-5)


def test_statistics_are_those_of_each_frequency() -> None:
    magnitude, _ = tones(CLIPS, 0)
    mean, variance = log_statistics(batches(CLIPS, 0))
    logarithm = np.log(magnitude.astype(np.float64) + 1e-3)
    np.testing.assert_allclose(mean, logarithm.mean(axis=(0, 2, 3)), rtol=1e-4)
    np.testing.assert_allclose(variance, logarithm.var(axis=(0, 2, 3)), rtol=1e-4)


def test_the_notebooks_recipe_sees_magnitudes_as_they_are() -> None:
    notebook = spec(compression="none", schedule="constant", epochs=1)
    trained = train(NETWORK, notebook, batches(CLIPS, 0).repeat(), batches(50, 1), clips=CLIPS, words=3)
    assert [type(layer).__name__ for layer in trained.model.layers][:2] == ["InputLayer", "Conv2D"]


@pytest.mark.parametrize(
    "change", [{"epochs": 0}, {"learning_rate": 0.0}, {"batch_size": 1}, {"precision": "int8"}, {"optimiser": "sgd"}]
)
def test_bad_settings_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        spec(**change)
