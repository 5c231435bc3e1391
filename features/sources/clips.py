"""The clips of an import in the order of the npz: by word, and then as they were found."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.audio.clips import NOISE_SEGMENT_CLIPS, onset_s
from features.corpus import Corpus
from features.sources.naming import is_noise
from features.sources.npz_columns import printable
from features.sources.recordings import Entry, Journal

SETS = ("train", "validation", "test")
WINDOWS_OF_SEGMENT = 2 * NOISE_SEGMENT_CLIPS - 1
SEGMENT_SETS = (*["train"] * 8, "validation", "test")
"""Sets of the segments of a noise recording, in turn, where a split is published."""


@dataclass(frozen=True)
class Clips:
    """All clips of an import, in the order of the npz: by word, and then as they were found."""

    words: list[str]
    """Different words, sorted."""
    word: NDArray[np.int32]
    """Position in ``words`` of each clip."""
    groups: list[str]
    group: NDArray[np.int32]
    """Position in ``groups`` of each clip's speaker or stretch of noise; the empty group is an unknown speaker."""
    set: NDArray[np.int8]
    """Position in :data:`SETS` of each clip, or -1."""
    place: NDArray[np.int32]
    """Part and number in it of each clip, shape (clips, 2)."""
    recordings: list[str]
    """Path of each clip's file; of a file that gives several clips with the place, as in ``a.wav at 1.5 s``."""
    entry: NDArray[np.int32]
    """Position in the journal of each clip's file."""


def arrange(journal: Journal, corpus: Corpus) -> Clips:
    """Put the clips of all entries in the order of the npz."""
    words: dict[str, int] = {}
    groups: dict[str, int] = {}
    rows = ((*row, number) for number, entry in enumerate(journal) for row in _rows(entry, words, groups))
    table = np.fromiter(rows, np.dtype((np.int32, 6)))
    recordings = [_recording(entry, clip, corpus) for entry in journal for clip in range(entry.clips)]
    if not any(entry.set for entry in journal):  # noise has sets in any case
        table[:, 2] = -1
    rank = np.argsort(np.argsort(list(words)))
    order = np.argsort(rank[table[:, 0]], kind="stable")
    table = table[order]
    return Clips(
        sorted(words), rank[table[:, 0]].astype(np.int32), list(groups), table[:, 1].astype(np.int32),
        table[:, 2].astype(np.int8), table[:, 3:5].astype(np.int32), [recordings[clip] for clip in order.tolist()],
        table[:, 5].astype(np.int32),
    )  # fmt: skip


def _recording(entry: Entry, clip: int, corpus: Corpus) -> str:
    path = printable(entry.path)
    if entry.clips == 1:
        return path
    return f"{path} at {onset_s(clip, corpus.clip_seconds, 'noise' if is_noise(entry.path) else 'windows'):g} s"


def _rows(entry: Entry, words: dict[str, int], groups: dict[str, int]) -> Iterator[tuple[int, int, int, int, int]]:
    """Word, group, set, part and number in it of each clip of a recording."""
    word = words.setdefault(entry.word, len(words)) if entry.clips else 0
    for clip in range(entry.clips):
        # A recording of silence has no speaker; what is known of it is which recording it is.
        group, published = entry.speaker or (entry.path if entry.word == "silence" else ""), entry.set
        if is_noise(entry.path):
            segment = clip // WINDOWS_OF_SEGMENT
            group, published = f"{entry.path}#{segment}", SEGMENT_SETS[segment % len(SEGMENT_SETS)]
        number = SETS.index(published) if published else -1
        yield word, groups.setdefault(group, len(groups)), number, entry.part, entry.first + clip
