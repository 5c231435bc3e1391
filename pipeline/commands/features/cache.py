"""Command ``features cache``: what the caches hold, and making them smaller.

There are three: finished shards of stores, kept results of trainings and evaluations, and checkpoints of trainings.
"""

import json
from pathlib import Path
from typing import Annotated

import typer

from features.errors import InputError
from features.store.cache import FileCache, Usage
from pipeline.shell import results
from pipeline.shell.options import DEFAULT_SIZE, Folder, Size, parse_size, shard_cache
from pipeline.shell.results import Checkpoints, Results
from pipeline.shell.stage import say

app = typer.Typer(help="What the caches hold, and making them smaller: shards and trainings, never source data.")
ResultsSize = Annotated[
    str,
    typer.Option(
        "--results-size",
        envvar="TRAININGS_CACHE_SIZE",
        help="Least recently used trainings and evaluations, and checkpoints, above this size are removed.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print it for programs.")]


@app.command()
def show(
    cache_folder: Folder = None,
    as_json: Json = False,
) -> None:
    """Where they lie, how many shards, results and checkpoints they hold, and how large these are."""
    found: dict[str, str | int] = {}
    for cache, name, prefix, what in _caches(cache_folder):
        usage = cache.usage()
        found |= {f"{prefix}folder": str(cache.folder), name: usage.entries, f"{prefix}bytes": usage.bytes}
        if not as_json:
            say(f"cache: {_counted(usage, what)} in {cache.folder}")
    if as_json:
        say(json.dumps(found, indent=2))


@app.command()
def prune(
    cache_folder: Folder = None,
    cache_size: Size = DEFAULT_SIZE,
    results_size: ResultsSize = results.DEFAULT_SIZE,
    as_json: Json = False,
) -> None:
    """Remove the least recently used shards, results and checkpoints until the rest fits."""
    _prune(cache_folder, parse_size(cache_size), parse_size(results_size), as_json)


@app.command()
def clear(cache_folder: Folder = None, as_json: Json = False) -> None:
    """Remove every shard, every kept training and evaluation, and every checkpoint.

    Stores keep what they hold; what they lack later is computed again. Trained networks stay in artifacts.
    """
    _prune(cache_folder, 0, 0, as_json)


def _prune(cache_folder: Path | None, max_bytes: int, max_results_bytes: int, as_json: bool) -> None:
    found: dict[str, int] = {}
    limits = (max_bytes, max_results_bytes, max_results_bytes)
    for (cache, name, prefix, what), limit in zip(_caches(cache_folder), limits, strict=True):
        removed = cache.prune(limit)
        found |= {name: removed.entries, f"{prefix}bytes": removed.bytes}
        if not as_json:
            say(f"cache: removed {_counted(removed, what)}")
        left = cache.usage()
        if left.bytes > limit:
            raise InputError(
                f"{left.entries} {what} in {cache.folder} may not be removed; change the permissions of that folder"
            )
    if as_json:
        say(json.dumps(found, indent=2))


def _caches(cache_folder: Path | None) -> list[tuple[FileCache, str, str, str]]:
    """Each cache, its name and prefix for programs, and what it holds."""
    return [
        (shard_cache(cache_folder), "shards", "", "shards"),
        (Results.of_project(), "results", "results_", "trainings and evaluations"),
        (Checkpoints.of_project(), "checkpoints", "checkpoints_", "checkpoints"),
    ]


def _counted(usage: Usage, what: str) -> str:
    return f"{usage.entries:,} {what}, {usage.bytes / 1e6:,.0f} MB"
