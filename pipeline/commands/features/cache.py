"""Command ``features cache``: what the caches hold, and making them smaller.

There are two: finished shards of stores, and kept results of trainings and evaluations.
"""

import json
from pathlib import Path
from typing import Annotated

import typer

from features.errors import InputError
from features.store.cache import Usage
from pipeline.shell import results
from pipeline.shell.options import DEFAULT_SIZE, Folder, Size, parse_size, shard_cache
from pipeline.shell.results import Results
from pipeline.shell.stage import say

app = typer.Typer(help="What the caches hold, and making them smaller: shards and trainings, never source data.")
ResultsSize = Annotated[
    str,
    typer.Option(
        "--results-size",
        envvar="TRAININGS_CACHE_SIZE",
        help="Least recently used trainings and evaluations above this size are removed.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print it for programs.")]


@app.command()
def show(
    cache_folder: Folder = None,
    as_json: Json = False,
) -> None:
    """Where they lie, how many shards and results they hold, and how large these are."""
    shards, kept = shard_cache(cache_folder), Results.of_project()
    shards_usage, kept_usage = shards.usage(), kept.usage()
    if as_json:
        found = {
            "folder": str(shards.folder),
            "shards": shards_usage.entries,
            "bytes": shards_usage.bytes,
            "results_folder": str(kept.folder),
            "results": kept_usage.entries,
            "results_bytes": kept_usage.bytes,
        }
        say(json.dumps(found, indent=2))
    else:
        say(f"cache: {_counted(shards_usage, 'shards')} in {shards.folder}")
        say(f"cache: {_counted(kept_usage, 'trainings and evaluations')} in {kept.folder}")


@app.command()
def prune(
    cache_folder: Folder = None,
    cache_size: Size = DEFAULT_SIZE,
    results_size: ResultsSize = results.DEFAULT_SIZE,
    as_json: Json = False,
) -> None:
    """Remove the least recently used shards and results until the rest fits."""
    _prune(cache_folder, parse_size(cache_size), parse_size(results_size), as_json)


@app.command()
def clear(cache_folder: Folder = None, as_json: Json = False) -> None:
    """Remove every shard, and every kept training and evaluation.

    Stores keep what they hold; what they lack later is computed again. Trained networks stay in artifacts.
    """
    _prune(cache_folder, 0, 0, as_json)


def _prune(cache_folder: Path | None, max_bytes: int, max_results_bytes: int, as_json: bool) -> None:
    removed = {}
    for cache, limit, what in (
        (shard_cache(cache_folder), max_bytes, "shards"),
        (Results.of_project(), max_results_bytes, "trainings and evaluations"),
    ):
        removed[what] = cache.prune(limit)
        if not as_json:
            say(f"cache: removed {_counted(removed[what], what)}")
        left = cache.usage()
        if left.bytes > limit:
            raise InputError(
                f"{left.entries} {what} in {cache.folder} may not be removed; change the permissions of that folder"
            )
    if as_json:
        shards, kept = removed.values()
        found = {"shards": shards.entries, "bytes": shards.bytes}
        say(json.dumps({**found, "results": kept.entries, "results_bytes": kept.bytes}, indent=2))


def _counted(usage: Usage, what: str) -> str:
    return f"{usage.entries:,} {what}, {usage.bytes / 1e6:,.0f} MB"
