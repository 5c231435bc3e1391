import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.detection import AVERAGED, WINDOWS_PER_CLIP, Averager, Detector, Event, average, background_of

CLIP_S = 1.0


def rows(*largest: tuple[int, float]) -> np.ndarray:
    """Averages of three words; the largest of each window is given."""
    made = np.empty((len(largest), 3))
    for row, (word, probability) in zip(made, largest, strict=True):
        row[:] = (1 - probability) / 2
        row[word] = probability
    return made


def found(averages: np.ndarray, threshold: float = 0.6) -> list[tuple[int, int, int]]:
    detector = Detector(threshold, [2])
    detector(averages)
    return [(event.word, event.reported, event.peak) for event in detector.events]


def test_a_word_is_reported_once_while_it_lasts() -> None:
    assert found(rows((0, 0.5), (0, 0.7), (0, 0.9), (0, 0.8), (0, 0.5))) == [(0, 1, 2)]


def test_another_word_is_another_event() -> None:
    assert found(rows((0, 0.9), (1, 0.9), (1, 0.95))) == [(0, 0, 0), (1, 1, 2)]


def test_the_same_word_counts_again_after_the_length_of_a_clip() -> None:
    soon = [(0, 0.9), *[(0, 0.5)] * (WINDOWS_PER_CLIP - 2), (0, 0.95)]
    late = [(0, 0.9), *[(0, 0.5)] * (WINDOWS_PER_CLIP - 1), (0, 0.95)]
    assert found(rows(*soon)) == [(0, 0, WINDOWS_PER_CLIP - 1)]
    assert found(rows(*late)) == [(0, 0, 0), (0, WINDOWS_PER_CLIP, WINDOWS_PER_CLIP)]


def test_background_and_what_is_below_the_threshold_is_not_reported() -> None:
    assert found(rows((2, 0.99), (0, 0.59), (1, 0.6))) == [(1, 2, 2)]


def test_a_word_that_lasts_is_not_reported_again_however_long() -> None:
    assert len(found(rows(*[(0, 0.9)] * 50))) == 1


def test_times_of_an_event() -> None:
    event = Event(word=0, reported=4, peak=6, probability=0.9)
    hop = CLIP_S / WINDOWS_PER_CLIP
    assert event.reported_s(CLIP_S) == 4 * hop + CLIP_S
    assert event.span(CLIP_S) == (6 * hop, (6 - AVERAGED + 1) * hop + CLIP_S)
    assert Event(0, 0, 0, 0.9).span(CLIP_S) == (0, CLIP_S)


@given(st.lists(st.integers(1, 5), min_size=1, max_size=6))
def test_averages_do_not_depend_on_how_windows_arrive(pieces: list[int]) -> None:
    probabilities = np.random.default_rng(sum(pieces)).uniform(size=(sum(pieces), 3))
    averager = Averager()
    parts = [averager(part) for part in np.split(probabilities, np.cumsum(pieces)[:-1])]
    np.testing.assert_array_equal(np.concatenate(parts), average(probabilities))


def test_average_of_each_window_and_those_before() -> None:
    probabilities = np.arange(6.0)[:, None]
    expected = [np.mean([max(0, at - back) for back in range(AVERAGED)]) for at in range(6)]
    np.testing.assert_allclose(average(probabilities)[:, 0], expected)


@pytest.mark.parametrize("split", [1, 2, 3, 7])
def test_events_do_not_depend_on_how_windows_arrive(split: int) -> None:
    rng = np.random.default_rng(split)
    words, probabilities = rng.integers(3, size=60), rng.uniform(0.4, 1, 60)
    averages = rows(*zip(words.tolist(), probabilities.tolist(), strict=True))
    detector = Detector(0.6, [2])
    begun = [event for part in np.array_split(averages, split) for event in detector(part)]
    assert begun == detector.events
    assert [(event.word, event.reported, event.peak) for event in begun] == found(averages)


def test_background_words() -> None:
    assert background_of(["yes", "silence", "no", "unknown"]) == [1, 3]
