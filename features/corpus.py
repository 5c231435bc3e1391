"""The contract: words, sample rate and length of every clip. Nothing here reads, cuts or transforms one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

WORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go", "unknown", "silence")
"""The words of the reference file."""


class Corpus(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What every clip is; the defaults are those of the reference file.

    Examples
    --------
    >>> Corpus(sample_rate_hz=16000, clip_seconds=1.5).clip_samples
    24000
    """

    words: Annotated[tuple[Annotated[str, Meta(min_length=1)], ...], Meta(min_length=2)] = WORDS
    """The words to tell apart; a word's label is its position."""
    sample_rate_hz: Annotated[int, Meta(ge=1000, le=192_000)] = 8000
    clip_seconds: Annotated[float, Meta(ge=0.1, le=60)] = 1.0

    def __post_init__(self) -> None:
        for word in self.words:
            if word != word.strip() or not word.isprintable():
                raise ValueError(f"the word {word!r} begins or ends with a space, or holds a character without a shape")
            if self.words.count(word) > 1:
                raise ValueError(f"the word {word!r} is listed twice; expected every word once")

    @property
    def clip_samples(self) -> int:
        """Samples of a clip."""
        return round(self.sample_rate_hz * self.clip_seconds)


@dataclass(frozen=True)
class Recording:
    """One clip of a corpus, as every source gives it."""

    clip: NDArray[np.float32]
    """Shape (samples,), in [-1, 1]."""
    word: str
    group: str
    """The speaker; for silence, the noise it was cut from. Clips of one group go into one set. Empty if unknown."""
    set: str = ""
    """Its set in a published split; empty if no split is published."""
    recording: str = ""
    """Path of the file that it was cut from; empty if unknown."""


def name_of_clip(row: int, recording: str = "") -> str:
    """What people read of a clip, wherever it is shown: its row in the npz and, if known, its recording.

    Examples
    --------
    >>> name_of_clip(7), name_of_clip(7, "yes/anna_1.wav")
    ('row 7', 'row 7, yes/anna_1.wav')
    """
    return f"row {row}, {recording}" if recording else f"row {row}"


def label_dtype(words: Sequence[str]) -> np.dtype[Any]:
    """The smallest type of labels: int8 for up to 127 words, else int16."""
    return np.dtype(np.int8 if len(words) <= np.iinfo(np.int8).max else np.int16)


def word_counts(labels: NDArray[np.integer[Any]], words: Sequence[str]) -> dict[str, int]:
    """Count the clips of each word: every word, in the order of labels.

    Parameters
    ----------
    labels : integer array, shape (clips,)
        Positions in ``words``.

    Examples
    --------
    >>> word_counts(np.array([0, 0, 1], np.int8), ["yes", "no"])
    {'yes': 2, 'no': 1}
    """
    counts = np.bincount(labels, minlength=len(words))
    return {word: int(count) for word, count in zip(words, counts, strict=True)}
