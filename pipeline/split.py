"""Stage ``split``: divide the clips of the npz into three sets, before anything is computed from them."""

import json
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from features.audit import count_duplicates
from features.cache import ShardCache
from features.corpus import word_counts
from features.division import Divided, divide_source
from features.draft import ClipColumns
from features.errors import InputError
from features.fingerprint import settings_hash, shard_key, waveform_version
from features.heap import steady_heap
from features.layout import WAVEFORM_LAYOUT, shard_ranges
from features.npz import Source, open_source
from features.publish import publish, scratch
from features.sets import SETS, SplitSpec
from features.shard import Checksum, write_shard
from features.store import WaveformStore
from pipeline.cache import DEFAULT_SIZE, Folder, Size, parse_size, shard_cache
from pipeline.params import DataSpec, read_section
from pipeline.progress import Advance, progress
from pipeline.stage import note, note_waiting, run, say

FOLDER = Path("data/split")
METRICS = Path("metrics/split.json")


def main(cache_folder: Folder = None, cache_size: Size = DEFAULT_SIZE) -> None:
    """Write data/split/{train,validation,test}.zarr and metrics/split.json with the settings of data and split."""
    limit = parse_size(cache_size)
    cache = shard_cache(cache_folder)
    npz = Path(read_section("data", DataSpec).npz)
    spec = read_section("split", SplitSpec)
    steady_heap()
    stores = [FOLDER / f"{name}.zarr" for name in SETS]
    with scratch(FOLDER / "samples") as inflated, open_source(npz, inflated) as source:
        looked_at = _version(npz)
        with progress("examining", source.clips) as advance:
            divided = divide_source(npz, source, spec, advance)
        for remark in source.notes:
            note(remark)
        absent = [word for word, count in word_counts(source.labels).items() if not count]
        if absent:
            note(f"{npz} has no clip of {', '.join(absent)}; no network will learn to tell it")
        with (
            publish(*stores, METRICS, waiting=note_waiting) as (*asides, metrics),
            progress("splitting", source.clips) as advance,
        ):
            reused = [
                _write_set(aside, name, source, divided, spec, cache, advance)
                for name, aside in zip(SETS, asides, strict=True)
            ]
            if _version(npz) != looked_at:
                raise InputError(f"{npz} changed while it was being split; run this again when nobody writes to it")
            metrics.write_text(json.dumps(_summary(source, divided), indent=2) + "\n")
    cache.prune(limit)
    division = divided.division
    sizes = ", ".join(f"{name} {len(division.rows[name])}" for name in SETS)
    shards = [shard for each in reused for shard in each]
    say(
        f"split: {source.clips} clips in {sum(division.groups.values())} groups, {shards.count(False)} shards written, "
        f"{shards.count(True)} reused -> {sizes}"
    )


def _version(path: Path) -> tuple[int, int, int]:
    """What changes when somebody writes to a file."""
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns


def _write_set(
    path: Path,
    name: str,
    source: Source,
    divided: Divided,
    spec: SplitSpec,
    cache: ShardCache,
    advance: Advance,
) -> list[bool]:
    """Write a set, taking from the cache what is there; for each shard, whether it was."""
    rows = divided.division.rows[name]
    columns = ClipColumns(divided.labels_of(name), rows, divided.digests_of(name))
    store = WaveformStore.draft(path, columns, divided.fingerprint_of(name), spec.model_dump(mode="json"))
    settings = settings_hash(WAVEFORM_LAYOUT, waveform_version())
    reused = []
    for number, (start, stop) in enumerate(store.shards):
        key, target = shard_key(settings, columns.digests[start:stop]), store.shard_path(number)

        def write(file: BinaryIO, rows: NDArray[np.int64] = rows[start:stop]) -> Checksum:
            waves, chunks = source.read(rows), shard_ranges(len(rows), WAVEFORM_LAYOUT.chunk_clips)
            return write_shard(file, (waves[first:end] for first, end in chunks), WAVEFORM_LAYOUT)

        found = cache.take(key, target, WAVEFORM_LAYOUT)
        store.record(number, found or cache.add(key, target, write))
        reused.append(found is not None)
        advance(stop - start)
    store.seal()
    return reused


def _summary(source: Source, divided: Divided) -> dict[str, Any]:
    audit = divided.audit
    duplicates = count_duplicates(audit.digests, source.labels)
    return {
        "clips": source.clips,
        "speakers_known": source.groups is not None,
        "sets": {
            name: {
                "clips": len(rows),
                "groups": divided.division.groups[name],
                "words": word_counts(source.labels[rows]),
            }
            for name, rows in divided.division.rows.items()
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
