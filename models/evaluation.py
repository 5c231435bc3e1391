"""Evaluation: the predictions of a trained network, and how good they are."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from scipy.special import log_softmax
from scipy.stats import binomtest
from sklearn.metrics import precision_recall_fscore_support


def predict(
    network: keras.Model, batches: tf.data.Dataset, on_batch: Callable[[int], None] = lambda clips: None
) -> NDArray[np.float64]:
    """Classify clips, in float32.

    Parameters
    ----------
    network : keras.Model
        Maps features to logits, float32 (batch, words).
    batches : tf.data.Dataset
        Finite, of (features, label): float32 (batch, frequency, time, 1).
    on_batch : callable
        Called with the number of clips of each batch.

    Returns
    -------
    float64 array, shape (clips, words)
        Natural logarithm of the probability of each word, in the order of the batches; the exponentials of each row
        sum to 1.
    """
    logits = []
    for features, _ in batches:
        logits.append(network.predict_on_batch(features))
        on_batch(len(features))
    return log_softmax(np.concatenate(logits).astype(np.float64), axis=1)


def score(
    labels: NDArray[np.integer[Any]], log_probabilities: NDArray[np.float64], words: Sequence[str]
) -> dict[str, Any]:
    """Compare predictions with labels.

    Parameters
    ----------
    labels : integer array, shape (clips,)
        Numbers of the words spoken.
    log_probabilities : float64 array, shape (clips, words)
        As :func:`predict` returns them.
    words : sequence of str
        Names of the label numbers.

    Returns
    -------
    dict
        ``accuracy``; ``accuracy_ci95``, low and high end of its 95 % Wilson interval, clips taken as independent;
        ``loss``, mean cross-entropy in nats; ``test_clips``; and ``words``, a list of ``precision``, ``recall``, ``f1``
        and ``clips`` of each ``word``. A ratio with denominator 0 is 0. Lists keep DVC's
        tables of metrics narrow, because it gives every number in a dictionary its own column.

    Examples
    --------
    >>> score(np.array([0], np.int8), np.log([[0.9, 0.1]]), ["yes", "no"])["accuracy"]
    1.0
    """
    predicted = log_probabilities.argmax(axis=1)
    correct = int((predicted == labels).sum())
    interval = binomtest(correct, len(labels)).proportion_ci(0.95, method="wilson")
    each = precision_recall_fscore_support(labels, predicted, labels=range(len(words)), zero_division=0.0)
    return {
        "accuracy": correct / len(labels),
        "accuracy_ci95": [float(interval.low), float(interval.high)],
        "loss": float(-log_probabilities[np.arange(len(labels)), labels].mean()),
        "test_clips": len(labels),
        "words": [
            {"word": word, "precision": float(precision), "recall": float(recall), "f1": float(f1), "clips": int(clips)}
            for word, precision, recall, f1, clips in zip(words, *each, strict=True)
        ],
    }
