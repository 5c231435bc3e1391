from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from models.evaluation import predict, score
from models.saved import SavedError, load_keras

WORDS = ["yes", "no", "up"]
# clip: actual, scores for yes, no, up
LOGITS = np.log([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.5, 0.4, 0.1], [0.2, 0.2, 0.6]])
LABELS = np.array([0, 1, 1, 2], np.int8)


def test_scores_by_hand() -> None:
    result = score(LABELS, LOGITS, WORDS)
    assert result["accuracy"] == 0.75
    assert result["test_clips"] == 4
    assert result["loss"] == pytest.approx(-np.mean(np.log([0.7, 0.8, 0.4, 0.6])))
    yes, no, _ = result["words"]
    assert yes == {"word": "yes", "precision": 0.5, "recall": 1.0, "f1": pytest.approx(2 / 3), "clips": 1}
    assert no == {"word": "no", "precision": 1.0, "recall": 0.5, "f1": pytest.approx(2 / 3), "clips": 2}


def test_the_interval_is_wilsons() -> None:
    low, high = score(LABELS, LOGITS, WORDS)["accuracy_ci95"]
    share, z, n = 0.75, 1.959964, 4
    centre, spread = share + z * z / (2 * n), z * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    assert low == pytest.approx((centre - spread) / (1 + z * z / n), rel=1e-5)
    assert high == pytest.approx((centre + spread) / (1 + z * z / n), rel=1e-5)


def test_a_word_that_never_occurs_scores_nothing() -> None:
    result = score(np.array([0], np.int8), LOGITS[:1], WORDS)
    assert result["words"][2] == {"word": "up", "precision": 0, "recall": 0, "f1": 0, "clips": 0}


def test_a_saved_network_predicts_in_the_order_of_the_batches(tmp_path: Path) -> None:
    inputs = keras.Input((2, 2, 1))
    model = keras.Model(inputs, keras.layers.Flatten()(inputs))  # predicts its input
    model.save(tmp_path / "model.keras")
    magnitude = np.random.default_rng(0).uniform(0, 5, (10, 2, 2, 1)).astype(np.float32)
    batches = tf.data.Dataset.from_tensor_slices((magnitude, np.zeros(10))).batch(4)
    log_probabilities = predict(load_keras(tmp_path / "model.keras"), batches)
    assert log_probabilities.argmax(axis=1).tolist() == magnitude.reshape(10, 4).argmax(axis=1).tolist()
    np.testing.assert_allclose(np.exp(log_probabilities).sum(axis=1), 1)


@pytest.mark.parametrize("damage", [lambda content: b"garbage", lambda content: content[: len(content) // 2]])
def test_a_damaged_network_is_refused(tmp_path: Path, damage) -> None:
    inputs = keras.Input((2, 2, 1))
    path = tmp_path / "model.keras"
    keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(inputs))).save(path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(SavedError, match="cannot be loaded as a network"):
        load_keras(path)
