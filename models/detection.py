"""Words in long recordings: probabilities of overlapping windows in, events out.

Probabilities are averaged over the last windows, and a word is reported where its average passes a threshold. Posterior
smoothing is that of Chen, Parada and Heigold, "Small-footprint keyword spotting using deep neural networks" (ICASSP
2014). One report for each word spoken follows Warden, "Speech Commands" (2018), and its ``RecognizeCommands``.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

WINDOWS_PER_CLIP = 4
"""Windows that begin within the length of a clip."""
AVERAGED = 2
"""Windows that are averaged. Eight windows a clip, four of them averaged, find no more words and take twice as long."""
THRESHOLD = 0.7
"""Probability from which a word is reported, as long as none was measured."""
BACKGROUND = ("unknown", "silence")
"""Words that are never reported."""


@dataclass
class Event:
    """A word that was found."""

    word: int
    reported: int
    """Number of the window that passed the threshold."""
    peak: int
    """Number of the window with the largest average."""
    probability: float
    """That average."""

    def span(self, clip_s: float) -> tuple[float, float]:
        """Start and end of the word in seconds: what the windows averaged at the peak have in common."""
        hop_s = clip_s / WINDOWS_PER_CLIP
        return self.peak * hop_s, max(0, self.peak - AVERAGED + 1) * hop_s + clip_s

    def reported_s(self, clip_s: float) -> float:
        """When it is reported: at the end of a window, in seconds from the start of the recording."""
        return self.reported * clip_s / WINDOWS_PER_CLIP + clip_s


class Averager:
    """Averages the probabilities of each window with those of the windows before it."""

    def __init__(self) -> None:
        self._before: NDArray[np.float64] | None = None

    def __call__(self, probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
        """Average the next windows, (windows, words)."""
        if self._before is None:  # the first windows count for those before them
            self._before = np.repeat(probabilities[:1], AVERAGED - 1, axis=0)
        rows = np.concatenate([self._before, probabilities])
        self._before = rows[len(rows) - AVERAGED + 1 :]
        return np.lib.stride_tricks.sliding_window_view(rows, AVERAGED, axis=0).mean(axis=-1)


class Detector:
    """Finds words in averaged probabilities, window by window.

    A word is reported once for as long as it stays the most probable one above the threshold. The same word is not
    reported again within the length of a clip.

    Attributes
    ----------
    events : list of Event
        All that was found so far, in order; the last one may still grow.

    Examples
    --------
    >>> detector = Detector(threshold=0.5, background=[1])
    >>> found = detector(np.array([[0.1, 0.9], [0.6, 0.4], [0.8, 0.2], [0.3, 0.7]]))
    >>> [(event.word, event.reported, event.peak, event.probability) for event in found]
    [(0, 1, 2, 0.8)]
    """

    def __init__(self, threshold: float, background: Collection[int]) -> None:
        self.events: list[Event] = []
        self._threshold = threshold
        self._background = list(background)
        self._windows = 0
        self._last = -1  # the last window above the threshold

    def __call__(self, averages: NDArray[np.float64]) -> list[Event]:
        """Look at the next windows, (windows, words); return the events that begin in them."""
        known = len(self.events)
        words, largest = averages.argmax(axis=1), averages.max(axis=1)
        above = (largest >= self._threshold) & ~np.isin(words, self._background)
        for at in np.flatnonzero(above).tolist():
            self._pass(self._windows + at, int(words[at]), float(largest[at]))
        self._windows += len(averages)
        return self.events[known:]

    def _pass(self, window: int, word: int, probability: float) -> None:
        last = self.events[-1] if self.events else None
        goes_on = last and last.word == word
        if last and goes_on and (window == self._last + 1 or window - last.reported < WINDOWS_PER_CLIP):
            if probability > last.probability:
                last.peak, last.probability = window, probability
        else:
            self.events.append(Event(word, window, window, probability))
        self._last = window


def background_of(words: Sequence[str]) -> list[int]:
    """Numbers of the words that are never reported."""
    return [number for number, word in enumerate(words) if word in BACKGROUND]


def average(probabilities: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Average the probabilities of all windows of a recording, (windows, words), with those before them."""
    return Averager()(probabilities.astype(np.float64))
