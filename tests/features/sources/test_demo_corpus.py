from itertools import pairwise

import numpy as np
import pytest

from features.corpus import WORDS, Corpus
from features.look.measures import measure
from features.sources.demo_corpus import (
    OTHER_WORDS,
    SynthesizeSpec,
    clips_per_word,
    draw_speakers,
    noise,
    place,
    synthesize,
    trim,
)


@pytest.mark.parametrize("clips", [12, 25, 1800, 50620])
def test_clips_are_divided_evenly(clips: int) -> None:
    counts = clips_per_word(clips)
    assert sum(counts.values()) == clips
    assert max(counts.values()) - min(counts.values()) <= 1


def test_unknown_is_many_other_words() -> None:
    assert len(set(OTHER_WORDS)) >= 20
    assert not set(OTHER_WORDS) & set(WORDS)


def test_speakers_are_many_and_all_different() -> None:
    speakers = draw_speakers(12_500, "en", np.random.default_rng(0))  # for the largest corpus
    assert len({speaker.name for speaker in speakers}) == 12_500
    assert len({(speaker.accent, speaker.variant) for speaker in speakers}) > 500


def test_noise_has_unit_power_and_is_never_the_same() -> None:
    clips = [noise(Corpus(), np.random.default_rng(seed)) for seed in range(20)]
    for first, second in pairwise(clips):
        assert first.dtype == np.float32
        assert np.sqrt(np.mean(np.square(first))) == pytest.approx(1, rel=1e-3)
        assert (first != second).mean() > 0.9
    roughness = [np.square(np.diff(clip)).mean() for clip in clips]
    assert max(roughness) > 10 * min(roughness)  # hiss and rumble


@pytest.mark.parametrize("samples", [0, 1, 3000, 8000, 9000])
def test_words_of_any_length_are_placed(samples: int) -> None:
    rng = np.random.default_rng(0)
    clip = place(np.ones(samples, np.float32), noise(Corpus(), rng), 8000, rng)
    assert clip.shape == (8000,)
    assert np.abs(clip).max() <= 1


def test_no_word_is_clipped_and_few_reach_full_scale() -> None:
    corpus = Corpus(words=("yes", "stop", "left"))
    clips = np.stack([each.clip for each in synthesize(SynthesizeSpec(clips=300, seed=0), corpus)])
    assert not measure(clips, corpus.sample_rate_hz).clipped.any()
    assert 0 < (np.abs(clips).max(axis=1) == 1).mean() < 0.25


def test_silence_around_a_word_is_cut_off() -> None:
    speech = np.concatenate([np.zeros(50), [0.5, 0.001, 0.5], np.full(20, 0.001)]).astype(np.float32)
    np.testing.assert_array_equal(trim(speech), np.float32([0.5, 0.001, 0.5]))
    assert trim(np.zeros(5, np.float32)).size == 0
