from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.audio.layout import NOISE_GAIN, lay_out, render

LABELS = np.repeat([0, 1, 2], [20, 10, 5])
NOISE = np.flatnonzero(LABELS == 2)


def read(clip: int) -> np.ndarray:
    """A clip of one value, its number."""
    return np.full(100, clip + 1, np.float32)


@given(st.integers(100, 20000), st.integers(0, 5))
def test_utterances_are_in_order_inside_and_do_not_overlap(samples: int, seed: int) -> None:
    utterances = lay_out(LABELS, 2, 100, samples, seed)
    starts = [each.start for each in utterances]
    assert all(after - before >= 100 for before, after in pairwise(starts))
    assert not starts or (starts[0] >= 0 and starts[-1] + 100 <= samples)
    chosen = [each.clip for each in utterances]
    assert len(set(chosen)) == len(chosen) == min(30, samples // 300)
    assert all(each.word == LABELS[each.clip] != 2 for each in utterances)


def test_places_in_a_slot_are_random() -> None:
    utterances = lay_out(LABELS, 2, 100, 30_000, 0)
    places = [each.start - number * 1000 for number, each in enumerate(utterances)]
    assert len(places) == 30
    assert 0 <= min(places) < 200
    assert 700 < max(places) <= 900


def test_equal_seeds_lay_out_equally() -> None:
    assert lay_out(LABELS, 2, 100, 9000, 1) == lay_out(LABELS, 2, 100, 9000, 1) != lay_out(LABELS, 2, 100, 9000, 2)


def test_render_puts_each_utterance_where_it_belongs() -> None:
    utterances = lay_out(LABELS, 2, 100, 5000, 0)
    audio = np.concatenate(list(render(utterances, np.zeros(0, int), read, 5000, 1000, 0)))
    expected = np.zeros(5000)
    for each in utterances:
        expected[each.start : each.start + 100] = each.clip + 1
    np.testing.assert_array_equal(audio, expected)


def test_noise_fills_the_rest_quieter_and_without_gaps() -> None:
    audio = np.concatenate(list(render([], NOISE, read, 5000, 1000, 0)))
    assert len(audio) == 5000
    assert audio.min() >= NOISE_GAIN * 31 * 0.99  # the quietest clip of noise; a gap would be zero
    assert audio.max() <= NOISE_GAIN * 35 * 1.01
    assert np.abs(np.diff(audio)).max() < NOISE_GAIN * 4 / 40  # crossfades of 50 samples make no step
    again = np.concatenate(list(render([], NOISE, read, 5000, 1000, 0)))
    np.testing.assert_array_equal(audio, again)


@pytest.mark.parametrize("noise", [NOISE, np.zeros(0, int)])
def test_render_is_as_long_as_asked_for(noise: np.ndarray) -> None:
    utterances = lay_out(LABELS, 2, 100, 3333, 3)
    assert sum(map(len, render(utterances, noise, read, 3333, 1000, 3))) == 3333
