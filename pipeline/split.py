"""Stage ``split``: divide the clips of the npz into three sets, before anything is computed from them."""

import json
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.audit import Audit, count_duplicates, examine
from features.corpus import word_counts
from features.heap import steady_heap
from features.npz import Source, open_source
from features.publish import publish, scratch
from features.sets import SETS, Division, SplitSpec, divide, join_groups
from features.store import WaveformStore, shard_ranges
from pipeline.params import DataSpec, read_section
from pipeline.progress import Advance, progress
from pipeline.stage import note, run, say

FOLDER = Path("data/split")
METRICS = Path("metrics/split.json")


def main() -> None:
    """Write data/split/{train,validation,test}.zarr and metrics/split.json with the settings of data and split."""
    npz = Path(read_section("data", DataSpec).npz)
    spec = read_section("split", SplitSpec)
    steady_heap()
    stores = [FOLDER / f"{name}.zarr" for name in SETS]
    with scratch(FOLDER / ".partial-samples") as inflated, open_source(npz, inflated) as source:
        # Sorting text takes several times its size, so that is done while nothing else is in memory.
        speakers = None if source.groups is None else np.unique(source.groups, return_inverse=True)[1]
        with progress("examining", source.clips) as advance:
            audit = examine(npz, source.clips, _counted(source, advance))
        division = divide(source.labels, join_groups(speakers, audit.digests), spec)
        for remark in source.notes:
            note(remark)
        absent = [word for word, count in word_counts(source.labels).items() if not count]
        if absent:
            note(f"{npz} has no clip of {', '.join(absent)}; no network will learn to tell it")
        with publish(*stores, METRICS) as (*asides, metrics), progress("splitting", source.clips) as advance:
            for name, aside in zip(SETS, asides, strict=True):
                _write_set(aside, source, division.rows[name], audit.digests, advance)
            metrics.write_text(json.dumps(_summary(source, audit, division), indent=2) + "\n")
    sizes = ", ".join(f"{name} {len(division.rows[name])}" for name in SETS)
    say(f"split: {source.clips} clips in {sum(division.groups.values())} groups -> {sizes}")


def _counted(source: Source, advance: Advance) -> Iterator[tuple[int, NDArray[np.float32]]]:
    for start, block in source.blocks():
        yield start, block
        advance(len(block))


def _write_set(
    path: Path, source: Source, rows: NDArray[np.int64], digests: NDArray[np.void], advance: Advance
) -> None:
    labels = source.labels[rows]
    fingerprint = blake2b(digests[rows].tobytes() + labels.tobytes() + rows.tobytes(), digest_size=16).hexdigest()
    store = WaveformStore.create(path, labels, rows, fingerprint)
    for start, stop in shard_ranges(store.clips, store.shard_clips):
        store.write_shard(start, source.read(rows[start:stop]))
        advance(stop - start)


def _summary(source: Source, audit: Audit, division: Division) -> dict[str, Any]:
    duplicates = count_duplicates(audit.digests, source.labels)
    return {
        "clips": source.clips,
        "speakers_known": source.groups is not None,
        "sets": {
            name: {
                "clips": len(rows),
                "groups": division.groups[name],
                "words": word_counts(source.labels[rows]),
            }
            for name, rows in division.rows.items()
        },
        "duplicates": {
            "contents": duplicates.contents,
            "clips": duplicates.clips,
            "words_disagree": duplicates.words_disagree,
        },
        "silent_clips": audit.silent,
        "clips_beyond_full_scale": audit.beyond_full_scale,
        "dropped": {"clips": 0, "reasons": {}},
    }


if __name__ == "__main__":
    run(main)
