"""Evaluation: what a trained network answers, and how often it is right."""

import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from scipy.special import log_softmax
from scipy.stats import binomtest
from sklearn.metrics import precision_recall_fscore_support


@dataclass(frozen=True)
class Answers:
    """What a network answers to a set of clips.

    Attributes
    ----------
    log_probabilities : float64 array, shape (clips, words)
        Natural logarithms; each row's exponentials sum to 1.
    """

    log_probabilities: NDArray[np.float64]

    @property
    def predicted(self) -> NDArray[np.int64]:
        """The likeliest word of each clip, int64, shape (clips,)."""
        return self.log_probabilities.argmax(axis=1)

    @property
    def confidence(self) -> NDArray[np.float64]:
        """The probability of that word, float64, shape (clips,)."""
        return np.exp(self.log_probabilities.max(axis=1))


def load(path: Path) -> keras.Model:
    """Load a saved network.

    Raises
    ------
    ValueError
        If the file is none.
    """
    try:
        return keras.models.load_model(path, compile=False)
    except (zipfile.BadZipFile, zlib.error, KeyError, OSError, TypeError) as error:  # by what is damaged
        raise ValueError(str(error)) from None


def answer(network: keras.Model, batches: tf.data.Dataset) -> Answers:
    """Run a network over clips, in float32.

    Parameters
    ----------
    network : keras.Model
        Gives logits.
    batches : tf.data.Dataset
        Finite, of (features, label): float32 (batch, frequency, time, 1).

    Returns
    -------
    Answers
        In the order of the batches.
    """
    logits = network.predict(batches.map(lambda features, label: features), verbose=0)
    return Answers(log_softmax(logits.astype(np.float64), axis=1))


def score(labels: NDArray[np.int8], answers: Answers, words: Sequence[str]) -> dict[str, Any]:
    """Compare answers with labels.

    Parameters
    ----------
    labels : int8 array, shape (clips,)
    answers : Answers
    words : sequence of str
        Names of the label numbers.

    Returns
    -------
    dict
        ``accuracy``; ``accuracy_ci95``, low and high end of its 95 % Wilson interval, clips taken as independent;
        ``loss``, mean cross-entropy in nats; ``test_clips``; and ``words``, a list of ``precision``, ``recall``, ``f1``
        and ``clips`` of each ``word``. A ratio without a denominator is 0. (Lists keep tables of metrics narrow: DVC
        gives every number in a dictionary a column.)

    Examples
    --------
    >>> score(np.array([0], np.int8), Answers(np.log([[0.9, 0.1]])), ["yes", "no"])["accuracy"]
    1.0
    """
    correct = int((answers.predicted == labels).sum())
    interval = binomtest(correct, len(labels)).proportion_ci(0.95, method="wilson")
    each = precision_recall_fscore_support(labels, answers.predicted, labels=range(len(words)), zero_division=0.0)
    return {
        "accuracy": correct / len(labels),
        "accuracy_ci95": [float(interval.low), float(interval.high)],
        "loss": float(-answers.log_probabilities[np.arange(len(labels)), labels].mean()),
        "test_clips": len(labels),
        "words": [
            {"word": word, "precision": float(precision), "recall": float(recall), "f1": float(f1), "clips": int(clips)}
            for word, precision, recall, f1, clips in zip(words, *each, strict=True)
        ],
    }
