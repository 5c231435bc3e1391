"""Command ``features cache``: what the caches hold, and making them smaller.

There are two: finished shards of stores, and kept results of trainings and evaluations.
"""

import json
from typing import Annotated

import typer

from features.errors import InputError
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


@app.command()
def show(
    cache_folder: Folder = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it for programs.")] = False,
) -> None:
    """Where they lie, how many shards and results they hold, and how large these are."""
    cache, kept = shard_cache(cache_folder), Results.of_project()
    usage, results_usage = cache.usage(), kept.usage()
    if as_json:
        found = {
            "folder": str(cache.folder),
            "shards": usage.entries,
            "bytes": usage.bytes,
            "results_folder": str(kept.folder),
            "results": results_usage.results,
            "results_bytes": results_usage.bytes,
        }
        say(json.dumps(found, indent=2))
    else:
        say(f"cache: {usage.entries} shards, {usage.bytes / 1e6:,.0f} MB in {cache.folder}")
        say(f"cache: {_described(results_usage)} in {kept.folder}")


@app.command()
def prune(
    cache_folder: Folder = None,
    cache_size: Size = DEFAULT_SIZE,
    results_size: ResultsSize = results.DEFAULT_SIZE,
) -> None:
    """Remove the least recently used shards and results until the rest fits."""
    max_bytes, max_results_bytes = parse_size(cache_size), parse_size(results_size)
    removed = shard_cache(cache_folder).prune(max_bytes)
    say(f"cache: removed {removed.entries} shards, {removed.bytes / 1e6:,.0f} MB")
    say(f"cache: removed {_described(Results.of_project().prune(max_results_bytes))}")


@app.command()
def clear(cache_folder: Folder = None) -> None:
    """Remove every shard, and every kept training and evaluation.

    Stores keep what they hold; what they lack later is computed again. Trained networks stay in artifacts.
    """
    cache, kept = shard_cache(cache_folder), Results.of_project()
    removed, removed_results = cache.clear(), kept.clear()
    for left, what, folder in (
        (cache.usage().entries, "shards", cache.folder),
        (kept.usage().results, "trainings and evaluations", kept.folder),
    ):
        if left:
            raise InputError(f"{left} {what} in {folder} may not be removed; change the permissions of that folder")
    say(f"cache: removed {removed.entries} shards, {removed.bytes / 1e6:,.0f} MB")
    say(f"cache: removed {_described(removed_results)}")


def _described(usage: results.Usage) -> str:
    return f"{usage.results:,} trainings and evaluations, {usage.bytes / 1e6:,.0f} MB"
