"""Stage ``split``: divide the clips of the npz into three sets, before anything is computed from them."""

import json
from pathlib import Path
from typing import Any

from features.audit import count_duplicates
from features.corpus import word_counts
from features.division import Divided, divide_source
from features.errors import InputError
from features.heap import steady_heap
from features.npz import Source, open_source
from features.publish import publish, scratch
from features.sets import SETS, SplitSpec
from features.store import ClipColumns, WaveformStore
from pipeline.params import DataSpec, read_section
from pipeline.progress import Advance, progress
from pipeline.stage import note, note_waiting, run, say

FOLDER = Path("data/split")
METRICS = Path("metrics/split.json")


def main() -> None:
    """Write data/split/{train,validation,test}.zarr and metrics/split.json with the settings of data and split."""
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
            for name, aside in zip(SETS, asides, strict=True):
                _write_set(aside, name, source, divided, spec, advance)
            if _version(npz) != looked_at:
                raise InputError(f"{npz} changed while it was being split; run this again when nobody writes to it")
            metrics.write_text(json.dumps(_summary(source, divided), indent=2) + "\n")
    division = divided.division
    sizes = ", ".join(f"{name} {len(division.rows[name])}" for name in SETS)
    say(f"split: {source.clips} clips in {sum(division.groups.values())} groups -> {sizes}")


def _version(path: Path) -> tuple[int, int, int]:
    """What changes when somebody writes to a file."""
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns


def _write_set(path: Path, name: str, source: Source, divided: Divided, spec: SplitSpec, advance: Advance) -> None:
    rows = divided.division.rows[name]
    columns = ClipColumns(divided.labels_of(name), rows, divided.digests_of(name))
    store = WaveformStore.draft(path, columns, divided.fingerprint_of(name), spec.model_dump(mode="json"))
    for number, (start, stop) in enumerate(store.shards):
        store.write(number, source.read(rows[start:stop]))
        advance(stop - start)
    store.seal()


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
