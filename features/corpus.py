"""The contract: length, sample rate and label of every clip. Nothing here reads, cuts or transforms one."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE_HZ = 8000
CLIP_SAMPLES = 8000

WORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go", "unknown", "silence")
"""The twelve labels; a label's number is its position here."""


@dataclass(frozen=True)
class Recording:
    """One clip of a corpus, as every source gives it."""

    clip: NDArray[np.float32]
    """Shape (8000,), in [-1, 1] at 8 kHz."""
    word: str
    """One of :data:`WORDS`."""
    group: str
    """The speaker; for silence, the noise it was cut from. Clips of one group go into one set."""


def word_counts(labels: NDArray[np.int8]) -> dict[str, int]:
    """Count the clips of each word: every word of :data:`WORDS`, in that order.

    Parameters
    ----------
    labels : int8 array, shape (clips,)
        Positions in :data:`WORDS`.

    Examples
    --------
    >>> word_counts(np.array([0, 0, 11], np.int8))["yes"]
    2
    """
    counts = np.bincount(labels, minlength=len(WORDS))
    return {word: int(count) for word, count in zip(WORDS, counts, strict=True)}
