"""Planning: what featurizing a set would compute and what it would reuse, and why. Writes nothing."""

import io
import time
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from features.fingerprint import Version, provenance_changes, settings_hash, shard_key
from features.spectrogram import FeatureSpec, transform
from features.store.cache import ShardCache
from features.store.layout import StoreSpec, shard_ranges
from features.store.reader import FeatureStore
from features.store.shard import write_shard

LISTED_ROWS = 5


@dataclass(frozen=True)
class Clips:
    """The clips that a set will hold.

    Attributes
    ----------
    digests : uint8 array, shape (clips, 16)
    labels : int8 array, shape (clips,)
    source_rows : int64 array, shape (clips,)
    split : dict
        Settings by which they were chosen.
    """

    digests: NDArray[np.uint8]
    labels: NDArray[np.int8]
    source_rows: NDArray[np.int64]
    split: dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """What featurizing a set would do.

    Attributes
    ----------
    clips : int
    shards : int
    computed : list of int
        Shards that are not in the cache.
    computed_clips : int
    why : list of str
        What differs from the features that are there now.
    """

    clips: int
    shards: int
    computed: list[int]
    computed_clips: int
    why: list[str]

    @property
    def reused(self) -> int:
        """Shards that are in the cache."""
        return self.shards - len(self.computed)


def plan(
    clips: Clips, spec: FeatureSpec, layout: StoreSpec, made_by: Version, cache: ShardCache, before: FeatureStore | None
) -> Plan:
    """Look up every shard of a set, and compare the set with what is there.

    Parameters
    ----------
    clips : Clips
    spec : FeatureSpec
    layout : StoreSpec
    made_by : Version
        What would compute them.
    cache : ShardCache
    before : FeatureStore or None
        The features that are there now.
    """
    settings = settings_hash(spec, layout, made_by)
    ranges = shard_ranges(len(clips.digests), layout.shard_clips)
    computed = [
        number
        for number, (start, stop) in enumerate(ranges)
        if not cache.holds(shard_key(settings, clips.digests[start:stop]))
    ]
    why = ["there are no features of this set yet"]
    if before is not None:
        now = {
            "features": msgspec.to_builtins(spec),
            "store": msgspec.to_builtins(layout),
            "split": clips.split,
            "made_by": msgspec.to_builtins(made_by),
        }
        why = provenance_changes(before.attributes, now) + _clips_changed(before, clips)
    return Plan(
        clips=len(clips.digests),
        shards=len(ranges),
        computed=computed,
        computed_clips=sum(ranges[number][1] - ranges[number][0] for number in computed),
        why=why,
    )


def _clips_changed(before: FeatureStore, now: Clips) -> list[str]:
    """Say which clips are others than before, by their rows in the npz."""
    if before.clips == len(now.digests):
        rows, digests = before.source_rows, before.digests
        moved = rows != now.source_rows
        edited = (digests != now.digests).any(axis=1) & ~moved
        relabelled = (before.labels != now.labels) & ~moved
        changes = []
        if moved.any():
            changes.append(f"{moved.sum()} of {before.clips} places hold another row of the npz")
        if edited.any():
            changes.append(f"{_count(edited)} other samples (rows {_rows(rows[edited])})")
        if relabelled.any():
            changes.append(f"{_count(relabelled)} another label (rows {_rows(rows[relabelled])})")
        return changes
    return [f"the set has {len(now.digests)} clips; it had {before.clips}"]


def _count(which: NDArray[np.bool_]) -> str:
    return "1 clip has" if which.sum() == 1 else f"{which.sum()} clips have"


def _rows(rows: NDArray[np.int64]) -> str:
    shown = ", ".join(map(str, sorted(rows.tolist())[:LISTED_ROWS]))
    return shown + (", ..." if len(rows) > LISTED_ROWS else "")


@dataclass(frozen=True)
class Cost:
    """What a clip costs on this machine."""

    seconds: float
    """On one core."""
    bytes: float


def cost_of(sample: NDArray[np.float32], spec: FeatureSpec, layout: StoreSpec, clips: int) -> Cost:
    """Featurize a few clips into memory, to see how long that takes and how large they come out.

    Parameters
    ----------
    sample : float32 array, shape (clips, 8000)
    spec : FeatureSpec
    layout : StoreSpec
    clips : int
        How many the set has, whose last chunk is filled up.
    """
    transform(sample[:1], spec)  # compiles
    file = io.BytesIO()
    chunk_clips = min(layout.chunk_clips, len(sample))
    shard_clips = len(sample) // chunk_clips * chunk_clips
    one_shard = msgspec.structs.replace(layout, chunk_clips=chunk_clips, shard_clips=shard_clips)
    chunks = shard_ranges(shard_clips, chunk_clips)
    started = time.perf_counter()
    written = write_shard(file, (transform(sample[start:stop], spec) for start, stop in chunks), one_shard)
    seconds = time.perf_counter() - started
    filled = -(-clips // layout.chunk_clips) * layout.chunk_clips / clips if layout.codec == "none" else 1
    return Cost(seconds / shard_clips, filled * written.size / shard_clips)
