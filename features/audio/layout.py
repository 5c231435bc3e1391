"""Clips laid out at random in long audio, to score a network on a stream."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SLOT_CLIPS = 3
"""Shortest distance between two clips on average, in clips."""
FADE_S = 0.05
"""Length of the crossfade from one clip of noise to the next."""

NOISE_GAIN = 0.1
"""Gain of noise, as in Warden's own streaming test (``generate_streaming_test_wav`` of Speech Commands)."""

Read = Callable[[int], NDArray[np.float32]]
"""From the number of a clip to its samples, shape (samples,)."""


@dataclass(frozen=True)
class Utterance:
    """A clip laid out in long audio."""

    clip: int
    word: int
    start: int
    """Its first sample in the audio."""


def lay_out(
    labels: NDArray[np.integer[Any]], noise: int | None, clip_samples: int, samples: int, seed: int
) -> list[Utterance]:
    """Choose clips and their places.

    The audio is cut into equal slots, at least three clips long. Each holds one clip at a random place; clips come in
    random order and at most once each. What does not fit is left out at random.

    Parameters
    ----------
    labels : integer array, shape (clips,)
    noise : int or None
        Label of the clips that are no utterances.
    clip_samples : int
    samples : int
        Length of the audio.
    seed : int

    Returns
    -------
    list of Utterance
        In the order of the audio.

    Examples
    --------
    >>> [(each.clip, each.start) for each in lay_out(np.array([0, 1, 2]), 2, 10, 100, seed=0)]
    [(0, 26), (1, 70)]
    """
    rng = np.random.default_rng(seed)
    spoken = rng.permutation(np.flatnonzero(labels != noise) if noise is not None else np.arange(len(labels)))
    spoken = spoken[: samples // (SLOT_CLIPS * clip_samples)]
    slot = samples // max(1, len(spoken))
    places = rng.integers(slot - clip_samples + 1, size=len(spoken))
    return [
        Utterance(clip, int(labels[clip]), number * slot + int(place))
        for number, (clip, place) in enumerate(zip(spoken.tolist(), places, strict=True))
    ]


def render(
    utterances: Sequence[Utterance], noise: NDArray[np.integer[Any]], read: Read, samples: int, rate_hz: int, seed: int
) -> Iterator[NDArray[np.float32]]:
    """Mix utterances into noise.

    The noise is one clip of it after the other, chosen at random, with crossfades, 20 dB quieter than it was recorded.
    Without clips of noise it is digital silence.

    Parameters
    ----------
    utterances : sequence of Utterance
        As :func:`lay_out` gives them.
    noise : integer array
        Numbers of the clips of noise.
    read : callable
    samples : int
        Length of the audio.
    rate_hz : int
    seed : int

    Yields
    ------
    float32 array, shape (samples,)
        Pieces of the audio, which may go beyond full scale where noise and an utterance add up.
    """
    background = _Background(noise, read, round(FADE_S * rate_hz), np.random.default_rng([seed, 1]))
    at = 0
    for utterance in utterances:
        yield background.take(utterance.start - at)
        clip = read(utterance.clip)
        yield background.take(len(clip)) + clip
        at = utterance.start + len(clip)
    yield background.take(samples - at)


class _Background:
    """Endless noise."""

    def __init__(self, clips: NDArray[np.integer[Any]], read: Read, fade: int, rng: np.random.Generator) -> None:
        self._clips = clips
        self._read = read
        self._fade = np.linspace(0, 1, fade, dtype=np.float32)
        self._rng = rng
        self._held = np.zeros(0, np.float32)

    def take(self, samples: int) -> NDArray[np.float32]:
        if not len(self._clips):
            return np.zeros(samples, np.float32)
        fade = len(self._fade)
        pieces, length = [self._held], len(self._held)
        while length < samples + fade:
            clip = self._read(int(self._rng.choice(self._clips))) * np.float32(NOISE_GAIN)
            if length:
                last = pieces[-1]
                last[-fade:] = last[-fade:] * self._fade[::-1] + clip[:fade] * self._fade
                clip = clip[fade:]
            pieces.append(clip)
            length += len(clip)
        joined = np.concatenate(pieces)
        self._held = joined[samples:]
        return joined[:samples]
