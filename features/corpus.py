"""What every clip of the corpus is: its length, its sample rate and its label.

The numbers of the data contract live here and nothing else does; reading, cutting and transforming clips is done
elsewhere.
"""

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE_HZ = 8000
CLIP_SAMPLES = 8000

WORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go", "unknown", "silence")
"""The twelve labels; a label's number is its position here."""


def word_counts(labels: NDArray[np.int8]) -> dict[str, int]:
    """Count the clips of each word.

    Parameters
    ----------
    labels : int8 array, shape (clips,)
        Positions in :data:`WORDS`.

    Returns
    -------
    dict
        Word to number of clips, every word present, in label order.

    Examples
    --------
    >>> word_counts(np.array([0, 0, 11], np.int8))["yes"]
    2
    """
    counts = np.bincount(labels, minlength=len(WORDS))
    return {word: int(count) for word, count in zip(WORDS, counts, strict=True)}
