"""Stage ``split``: divide the clips of the npz into three sets, before anything is computed from them."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from features.corpus import word_counts
from features.sources.npz import Source, open_source
from features.split.division import Divided, divide_source
from features.split.scan import count_duplicates
from features.split.sets import SETS, SplitSpec
from features.split.write import changed, write_set
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
    npz = Path(data.npz)
    spec = read_section("split", SplitSpec)
    stores = [FOLDER / f"{name}.zarr" for name in SETS]
    with scratch(FOLDER / "samples", warn_waiting) as inflated, open_source(npz, inflated) as source:
        with progress("examining", source.clips) as advance:
            divided = divide_source(npz, source, spec, advance)
        for remark in source.warnings:
            warn(remark)
        absent = [word for word, count in word_counts(source.labels).items() if not count]
        if absent:
            warn(f"{npz} has no clip of {', '.join(absent)}; no network will learn to tell it")
        with (
            publish(*stores, METRICS, waiting=warn_waiting) as (*asides, metrics),
            progress("splitting", source.clips) as advance,
        ):
            outcomes = [
                write_set(aside, name, source, divided, spec, cache, workers=workers, advance=advance)
                for name, aside in zip(SETS, asides, strict=True)
            ]
            if not source.is_unchanged:
                raise changed(source)
            metrics.write_text(json.dumps(_summary(source, divided), indent=2) + "\n")
            refuse_edited_settings({"data": data, "split": spec})
            refuse_edited_code()
    cache.prune(limit)
    division = divided.division
    sizes = ", ".join(f"{name} {len(division.rows[name])}" for name in SETS)
    reused = [outcome.reused for each in outcomes for outcome in each]
    say(
        f"split: {source.clips} clips in {sum(division.groups.values())} groups, {reused.count(False)} shards written, "
        f"{reused.count(True)} reused -> {sizes}"
    )


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
