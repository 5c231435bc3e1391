"""Predictions of a network as a table: one line a clip. Importing this loads neither TensorFlow nor Keras."""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

COLUMNS = ("source_row", "recording", "actual", "predicted", "confidence")
PREFIX = "probability of "
"""Begins the name of the column of each word."""


@dataclass(frozen=True)
class Predictions:
    """What a network predicts for each clip of a set."""

    source_rows: NDArray[np.int64]
    """Rows of the npz, shape (clips,)."""
    recordings: NDArray[np.str_]
    """Path of the file that each clip was cut from, shape (clips,); empty if unknown."""
    labels: NDArray[np.int64]
    """Positions in ``words``, shape (clips,)."""
    predicted: NDArray[np.int64]
    """Positions in ``words`` of the most probable word, shape (clips,)."""
    probabilities: NDArray[np.float64]
    """Of each word, shape (clips, words)."""
    words: tuple[str, ...]

    @property
    def confidences(self) -> NDArray[np.float64]:
        """Probabilities of the predicted words, shape (clips,)."""
        return self.probabilities.max(axis=1)


def write_predictions(
    path: Path,
    source_rows: NDArray[np.integer[Any]],
    recordings: NDArray[np.str_],
    labels: NDArray[np.integer[Any]],
    probabilities: NDArray[np.floating[Any]],
    words: Sequence[str],
) -> None:
    """Write a CSV with a header and a line a clip; arrays are those of :class:`Predictions`."""
    guesses = probabilities.argmax(axis=1)
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow([*COLUMNS, *(f"{PREFIX}{word}" for word in words)])
        clips = zip(source_rows, recordings, labels, guesses, probabilities, strict=True)
        for row, recording, label, guess, each in clips:
            shares = [f"{share:.6f}" for share in each]
            table.writerow([row, recording, words[label], words[guess], shares[guess], *shares])


def read_predictions(path: Path) -> Predictions:
    """Read what :func:`write_predictions` wrote; probabilities are rounded to six digits.

    Raises
    ------
    ValueError
        If it is no such table, or has no line.
    """
    with path.open(newline="", encoding="utf-8") as file:
        return parse_predictions(file)


def parse_predictions(lines: Iterable[str]) -> Predictions:
    """Parse the lines of such a file, as :func:`read_predictions` does."""
    table = csv.reader(lines)
    header = next(table, [])
    words = tuple(name.removeprefix(PREFIX) for name in header[len(COLUMNS) :])
    if tuple(header[: len(COLUMNS)]) != COLUMNS or not words:
        raise ValueError("its columns are others")
    number = {word: position for position, word in enumerate(words)}
    rows, recordings, labels, predicted, probabilities = [], [], [], [], []
    for line in table:
        if len(line) != len(header) or not {line[2], line[3]} <= number.keys():
            raise ValueError(f"line {table.line_num} is incomplete")
        rows.append(int(line[0]))
        recordings.append(line[1])
        labels.append(number[line[2]])
        predicted.append(number[line[3]])
        probabilities.append([float(share) for share in line[len(COLUMNS) :]])
        if not 0.5 < sum(probabilities[-1]) < 1.5:  # NaN is neither
            raise ValueError(f"line {table.line_num} has probabilities that do not add up to 1")
    if not rows:
        raise ValueError("it has no clip")
    return Predictions(
        np.array(rows), np.array(recordings), np.array(labels), np.array(predicted), np.array(probabilities), words
    )


def likely_label_errors(labels: NDArray[np.integer[Any]], probabilities: NDArray[np.float64]) -> NDArray[np.int64]:
    """Find clips whose label is probably wrong, by confident learning.

    A clip is confidently of a word if the word's probability is at least the mean of that over the clips labelled so.
    Clips confidently of another word than their label are returned. The method is that of Northcutt, Jiang and Chuang,
    "Confident Learning: Estimating Uncertainty in Dataset Labels" (JAIR 2021), equations 2 and 3, and its ranking by
    normalized margin.

    Parameters
    ----------
    labels : integer array, shape (clips,)
        Positions in the words.
    probabilities : float64 array, shape (clips, words)
        From networks that were not trained on these clips.

    Returns
    -------
    int64 array
        Numbers of clips, the most suspicious first.

    Examples
    --------
    >>> surely_no = [[0.9, 0.1]] * 3 + [[0.1, 0.9]] * 3 + [[0.05, 0.95]]
    >>> likely_label_errors(np.array([0, 0, 0, 1, 1, 1, 0]), np.array(surely_no)).tolist()
    [6]
    """
    words = probabilities.shape[1]
    thresholds = np.full(words, np.inf)
    for word in np.unique(labels):
        thresholds[word] = probabilities[labels == word, word].mean()
    confident = np.where(probabilities >= thresholds, probabilities, -1.0)
    likely = confident.argmax(axis=1)
    found = np.flatnonzero((confident.max(axis=1) >= 0) & (likely != labels))
    margin = probabilities[found, labels[found]] - probabilities[found, likely[found]]
    return found[np.argsort(margin, kind="stable")]
