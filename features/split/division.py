"""Dividing an npz: one scan of every clip, the rows of each set, those left out, then a waveform store of each set."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from features.build import Outcome, fill, tasks_of
from features.errors import InputError
from features.fingerprint import settings_hash, shard_key, waveform_version
from features.sources.npz import Source
from features.split.marks import Marks, find_marked
from features.split.near import fingerprints, near_pairs
from features.split.sets import SETS, SplitSpec, divide, join_groups
from features.store.cache import ShardCache
from features.store.layout import WAVEFORM_LAYOUT, shard_ranges
from features.store.writer import ClipColumns, create_waveform_store

BLOCK_CLIPS = 256
DIGEST_BYTES = 16
SCALED_PEAK = 4.0
"""Samples in [-1, 1] may overshoot a little after resampling; beyond this they were never scaled to it."""


@dataclass(frozen=True)
class LeftOut:
    """A clip that is in no set because of its mark."""

    row: int
    set: str
    """Where it would be."""
    reason: str
    """Its mark, one of ``split.leave_out``."""


@dataclass(frozen=True)
class Division:
    """Which rows of an npz make up each set, and what the scan of its clips found."""

    spec: SplitSpec
    rows: dict[str, NDArray[np.int64]]
    """Rows of each of :data:`~features.split.sets.SETS`, in random order."""
    labels: NDArray[np.integer[Any]]
    """Of every row, shape (clips,)."""
    groups: NDArray[np.int64]
    """Group number of every row, shape (clips,); a group lies in one set."""
    digests: NDArray[np.void]
    """BLAKE2b of every row's float32 samples, 16 raw bytes (``V16``), shape (clips,)."""
    peaks: NDArray[np.float32]
    """Largest absolute sample of every row, shape (clips,)."""
    recordings: NDArray[np.str_]
    """Path of the file that every row was cut from, shape (clips,); empty where unknown."""
    left_out: tuple[LeftOut, ...] = ()
    """Clips that are in no set, in the order of rows."""
    unmatched_marks: int = 0
    """Marks of clips that the npz does not hold, or holds with another word."""

    @property
    def kept(self) -> NDArray[np.int64]:
        """Rows of all sets, sorted."""
        return np.sort(np.concatenate(list(self.rows.values())))

    def lost_labels(self, name: str) -> list[int]:
        """Labels whose last clip in a set was left out."""
        lost = {int(self.labels[each.row]) for each in self.left_out if each.set == name}
        return sorted(lost.difference(self.labels[self.rows[name]].tolist()))

    def columns_of(self, name: str) -> ClipColumns:
        """Labels, rows and digests of the clips of a set."""
        rows = self.rows[name]
        digests = self.digests[rows].view(np.uint8).reshape(-1, DIGEST_BYTES)
        return ClipColumns(self.labels[rows], rows, digests, self.recordings[rows])

    def fingerprint_of(self, name: str) -> str:
        """Hash of a set's waveforms, labels and rows: 32 hexadecimal digits."""
        columns = self.columns_of(name)
        parts = (columns.digests, columns.labels, columns.source_rows)
        return blake2b(b"".join(part.tobytes() for part in parts), digest_size=16).hexdigest()


def divide_source(
    source: Source, spec: SplitSpec, marks: Marks, advance: Callable[[int], None] = lambda clips: None
) -> Division:
    """Read every clip once, choose its set, and leave marked clips out of theirs.

    All clips are divided, so that a mark moves no other clip. ``advance`` is told the number of clips of each block.

    Raises
    ------
    InputError
        If samples are NaN, infinite or not scaled to [-1, 1], a word has too few clips for every set to get one, or all
        clips of a set are left out.
    """
    digests = np.zeros(source.clips, f"V{DIGEST_BYTES}")
    peaks = np.zeros(source.clips, np.float32)
    for start, block in source.blocks():
        peaks[start : start + len(block)] = np.abs(block).max(axis=1)  # NaN and infinity survive a maximum
        digests[start : start + len(block)] = digests_of(block)
        advance(len(block))
    broken = np.flatnonzero(~np.isfinite(peaks))
    if len(broken):
        raise InputError(
            f"{len(broken)} of {source.clips} clips in {source.path} hold NaN or infinite samples "
            f"({source.names_of(broken)}); expected finite samples in [-1, 1], so repair or leave out these rows"
        )
    if peaks.max() > SCALED_PEAK:
        raise InputError(
            f"the samples in {source.path} reach {peaks.max():g} ({source.name_of(int(peaks.argmax()))}), so their "
            "scale is ambiguous; expected [-1, 1], so divide them by the full scale they were recorded with (32768 "
            "for 16 bits)"
        )
    groups = join_groups(source.groups, digests)
    if source.sets is None or spec.published == "ignore":
        rows = divide(source.labels, groups, source.corpus.words, spec)
    else:
        rows = _published(source, source.sets, groups, digests, spec)
    marked = find_marked(marks, digests, source.labels, source.corpus.words)
    reasons = {row: mark.mark for row, mark in marked.items() if mark.mark in spec.leave_out}
    rows, left_out = _leave_out(rows, reasons)
    unmatched = len(marks) - len(set(marked.values()))
    return Division(spec, rows, source.labels, groups, digests, peaks, source.recordings, left_out, unmatched)


def _leave_out(
    rows: dict[str, NDArray[np.int64]], reasons: Mapping[int, str]
) -> tuple[dict[str, NDArray[np.int64]], tuple[LeftOut, ...]]:
    """Take the rows that there are reasons for, in the order of rows, out of their sets."""
    set_of = {row: name for name, chosen in rows.items() for row in chosen.tolist() if row in reasons}
    left_out = tuple(LeftOut(row, set_of[row], reason) for row, reason in reasons.items())
    kept = {name: chosen[~np.isin(chosen, list(reasons))] for name, chosen in rows.items()}
    for name, chosen in kept.items():
        if not len(chosen):
            found = sorted({each.reason for each in left_out if each.set == name})
            raise InputError(
                f"all clips of the {name} set are marked as {' or '.join(found)}; expected one that is not, so remove "
                "some marks or shorten split.leave_out"
            )
    return kept, left_out


def _published(
    source: Source, sets: NDArray[np.str_], groups: NDArray[np.int64], digests: NDArray[np.void], spec: SplitSpec
) -> dict[str, NDArray[np.int64]]:
    """Rows of each set as the npz publishes them, in random order."""
    rng = np.random.default_rng(spec.seed)
    rows = {name: rng.permutation(np.flatnonzero(sets == name)) for name in SETS}
    empty = [name for name, chosen in rows.items() if not len(chosen)]
    if empty:
        raise InputError(
            f"set_vals in {source.path} puts no clip into {', '.join(empty)}; expected clips in each of "
            f"{', '.join(SETS)}, so complete it, or set split.published to ignore"
        )
    found = count_crossings(sets, source.groups, digests)
    if spec.published == "check" and any(found.values()):
        raise InputError(
            f"the split that {source.path} publishes puts {found['speakers']} speakers and {found['contents']} clips "
            "with copies into more than one set, so its test set is not unheard; expected each in one, so set "
            "split.published to ignore to divide anew, or to trust to take it as it is"
        )
    return rows


def count_crossings(
    sets: NDArray[np.str_], speakers: NDArray[np.str_] | None, digests: NDArray[np.void]
) -> dict[str, int]:
    """Count known speakers, and contents of clips, that are in more than one set.

    Examples
    --------
    >>> count_crossings(np.array(["train", "test"]), np.array(["ann", "ann"]), np.array([b"x", b"y"], "V1"))
    {'speakers': 1, 'contents': 0}
    """

    def crossing(of: NDArray[Any], where: NDArray[np.str_]) -> int:
        pairs = set(zip(np.unique(of, return_inverse=True)[1].reshape(-1).tolist(), where.tolist(), strict=True))
        return sum(count > 1 for count in Counter(one for one, _ in pairs).values())

    known = speakers != "" if speakers is not None else np.zeros(len(sets), bool)
    return {
        "speakers": crossing(speakers[known], sets[known]) if speakers is not None else 0,
        "contents": crossing(digests, sets),
    }


def digests_of(clips: NDArray[np.float32]) -> NDArray[np.void]:
    """Digest each clip: float32, shape (clips, samples), to 16 raw bytes each (``V16``), shape (clips,)."""
    digests = b"".join(blake2b(clip.data, digest_size=DIGEST_BYTES).digest() for clip in clips)
    return np.frombuffer(digests, f"V{DIGEST_BYTES}")


def find_near_duplicates(
    source: Source, digests: NDArray[np.void], *, workers: int, advance: Callable[[int], None] = lambda clips: None
) -> NDArray[np.int64]:
    """Find clips of the same take that are not equal, with :mod:`features.split.near`.

    Returns
    -------
    int64 array, shape (pairs, 2)
        Rows, the lower first.
    """

    def look(rows: NDArray[np.int64]) -> NDArray[np.uint32]:
        prints = fingerprints(source.read(rows), source.corpus.sample_rate_hz)
        advance(len(rows))
        return prints

    blocks = [np.arange(start, stop) for start, stop in shard_ranges(source.clips, BLOCK_CLIPS)]
    with ThreadPoolExecutor(workers) as pool:
        pairs = near_pairs(np.concatenate(list(pool.map(look, blocks))))
    return pairs[digests[pairs[:, 0]] != digests[pairs[:, 1]]]


def count_duplicates(digests: NDArray[np.void], labels: NDArray[np.integer[Any]]) -> dict[str, int]:
    """Count exact duplicates, as ``metrics/split.json`` lists them.

    Returns
    -------
    dict
        ``contents``: different clips that have copies; ``clips``: clips beyond the first of each content;
        ``words_disagree``: contents whose copies have different words.

    Examples
    --------
    >>> count_duplicates(np.array([b"a", b"b", b"a"], "V1"), np.array([0, 1, 2], np.int8))
    {'contents': 1, 'clips': 1, 'words_disagree': 1}
    """
    _, content, copies = np.unique(digests, return_inverse=True, return_counts=True)
    words = int(labels.max()) + 1
    pairs = np.unique(content.reshape(-1).astype(np.int64) * words + labels) // words
    words_each = np.bincount(pairs, minlength=len(copies))
    return {
        "contents": int((copies > 1).sum()),
        "clips": int((copies - 1).sum()),
        "words_disagree": int((words_each > 1).sum()),
    }


def write_set(
    target: Path,
    name: str,
    source: Source,
    division: Division,
    cache: ShardCache,
    *,
    workers: int,
    advance: Callable[[int], None] = lambda clips: None,
) -> list[Outcome]:
    """Write the waveform store of a set with :func:`features.build.fill`.

    Raises
    ------
    InputError
        If the source holds other samples than when it was divided.
    """
    columns = division.columns_of(name)
    split = msgspec.to_builtins(division.spec)
    store = create_waveform_store(
        target, columns, division.fingerprint_of(name), split, source.corpus, speakers_known=source.speakers_known
    )
    settings = settings_hash(WAVEFORM_LAYOUT, waveform_version())

    def read(start: int, stop: int) -> Iterator[NDArray[np.float32]]:
        waves = source.read(columns.source_rows[start:stop])
        # Otherwise a file that changes meanwhile would leave its samples in the cache, under the key of others.
        if digests_of(waves).tobytes() != columns.digests[start:stop].tobytes():
            raise source.changed
        for first, end in shard_ranges(stop - start, WAVEFORM_LAYOUT.chunk_clips):
            yield waves[first:end]

    keys = [shard_key(settings, columns.digests[start:stop]) for start, stop in store.shards]
    return fill(store, tasks_of(store, keys, cache, read), workers=workers, advance=advance)
