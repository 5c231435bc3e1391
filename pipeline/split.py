"""Stage ``split``: divide the clips of the npz into three sets, before anything is computed from them."""

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from features.corpus import word_counts
from features.sources.npz import Source, open_source
from features.split.division import Division, count_duplicates, divide_source, write_set
from features.split.sets import SETS, SplitSpec
from features.store.publish import publish, scratch
from pipeline.shell.options import DEFAULT_SIZE, Folder, Size, parse_size, shard_cache
from pipeline.shell.params import DataSpec, read_section, refuse_edited_settings
from pipeline.shell.progress import progress
from pipeline.shell.stage import default_workers, refuse_edited_code, run, say, warn, warn_waiting

FOLDER = Path("data/split")
METRICS = Path("metrics/split.json")


def main(
    workers: Annotated[int, typer.Option(envvar="WORKERS", min=1, help="Threads.")] = default_workers(),
    cache_folder: Folder = None,
    cache_size: Size = DEFAULT_SIZE,
) -> None:
    """Write data/split/{train,validation,test}.zarr and metrics/split.json with the settings of data and split."""
    limit = parse_size(cache_size)
    cache = shard_cache(cache_folder)
    data = read_section("data", DataSpec)
    spec = read_section("split", SplitSpec)
    stores = [FOLDER / f"{name}.zarr" for name in SETS]
    with scratch(FOLDER / "samples", warn_waiting) as inflated, open_source(Path(data.npz), inflated) as source:
        with progress("examining", source.clips) as advance:
            division = divide_source(source, spec, advance)
        for remark in source.warnings:
            warn(remark)
        absent = [word for word, count in word_counts(source.labels).items() if not count]
        if absent:
            warn(f"{data.npz} has no clip of {', '.join(absent)}; no network will learn to tell it")
        with (
            publish(*stores, METRICS, waiting=warn_waiting) as (*asides, metrics),
            progress("splitting", source.clips) as advance,
        ):
            outcomes = [
                write_set(aside, name, source, division, cache, workers=workers, advance=advance)
                for name, aside in zip(SETS, asides, strict=True)
            ]
            if not source.is_unchanged:
                raise source.changed
            metrics.write_text(json.dumps(_summary(source, division), indent=2) + "\n")
            refuse_edited_settings({"data": data, "split": spec})
            refuse_edited_code()
    cache.prune(limit)
    sizes = ", ".join(f"{name} {len(rows)}" for name, rows in division.rows.items())
    reused = [outcome.reused for each in outcomes for outcome in each]
    say(
        f"split: {source.clips} clips in {division.groups.max() + 1} groups, {reused.count(False)} shards written, "
        f"{reused.count(True)} reused -> {sizes}"
    )


def _summary(source: Source, division: Division) -> dict[str, Any]:
    return {
        "clips": source.clips,
        "speakers_known": source.groups is not None,
        "sets": {
            name: {
                "clips": len(rows),
                "groups": len(np.unique(division.groups[rows])),
                "words": word_counts(source.labels[rows]),
            }
            for name, rows in division.rows.items()
        },
        "duplicates": count_duplicates(division.digests, source.labels),
        "silent_clips": int((division.peaks == 0).sum()),
        "clips_beyond_full_scale": int((division.peaks > 1).sum()),
        "dropped": {"clips": 0, "reasons": {}},
    }


if __name__ == "__main__":
    run(main)
