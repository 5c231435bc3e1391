"""Predictions as a table, and label errors found in them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.predictions import likely_label_errors, parse_predictions, read_predictions, write_predictions

WORD = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=8)


@settings(max_examples=50, deadline=None)
@given(
    words=st.lists(WORD, min_size=2, max_size=4, unique=True),
    files=st.lists(WORD, min_size=1, max_size=5) | st.integers(1, 5),
    seed=st.integers(0, 99),
)
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, words: list[str], files: list[str] | int, seed: int
) -> None:
    recordings = np.full(files, "") if isinstance(files, int) else np.array(files)
    clips = len(recordings)
    rng = np.random.default_rng(seed)
    labels, rows = rng.integers(len(words), size=clips), rng.permutation(100)[:clips]
    probabilities = rng.dirichlet(np.ones(len(words)), clips)
    path = tmp_path_factory.mktemp("table") / "predictions.csv"
    write_predictions(path, rows, recordings, labels, probabilities, words)
    found = read_predictions(path)
    assert found.words == tuple(words)
    np.testing.assert_array_equal(found.source_rows, rows)
    assert found.recordings.tolist() == recordings.tolist()
    np.testing.assert_array_equal(found.labels, labels)
    np.testing.assert_array_equal(found.predicted, probabilities.argmax(axis=1))
    np.testing.assert_allclose(found.probabilities, probabilities, atol=5e-7)


HEADER = "source_row,recording,actual,predicted,confidence,probability of yes,probability of no"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "its columns are others"),
        ("source_row,recording,actual,predicted,confidence\n1,a.wav,yes,no,0.5\n", "its columns are others"),
        (f"{HEADER}\n", "it has no clip"),
        (f"{HEADER}\n1,a.wav,yes,no,0.6,0.4\n", "line 2 is incomplete"),
        (f"{HEADER}\n1,,yes,maybe,0.6,0.4,0.6\n", "line 2 is incomplete"),
        (f"{HEADER}\n1,,yes,no,0.6,0.4,much\n", "could not convert"),
    ],
)
def test_a_table_that_is_none_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_predictions(text.splitlines(keepends=True))


def test_swapped_labels_are_found_and_the_surest_comes_first() -> None:
    """300 clips of three words, of which ten carry the label of another."""
    rng = np.random.default_rng(0)
    truth = np.repeat([0, 1, 2], 100)
    sure = rng.uniform(0.7, 0.95, 300)
    sure[7] = 0.999
    probabilities = np.repeat((1 - sure[:, None]) / 2, 3, axis=1)
    probabilities[np.arange(300), truth] = sure
    labels = truth.copy()
    swapped = np.array([7, 20, 31, 105, 120, 133, 140, 210, 250, 299])
    labels[swapped] = (truth[swapped] + 1) % 3
    found = likely_label_errors(labels, probabilities)
    assert found[0] == 7
    assert set(found) <= set(swapped)  # none that is right
    assert len(found) >= 4  # those that are surer than clips of their word usually are


def test_a_word_without_clips_is_never_suspected() -> None:
    probabilities = np.array([[0.2, 0.1, 0.7], [0.9, 0.1, 0.0], [0.1, 0.9, 0.0]])
    assert likely_label_errors(np.array([0, 0, 1]), probabilities).tolist() == []
