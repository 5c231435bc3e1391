"""Command ``features cache``: what the shard cache holds, and making it smaller."""

import json
from typing import Annotated

import typer

from features.errors import InputError
from pipeline.shell.options import DEFAULT_SIZE, Folder, Size, parse_size, shard_cache
from pipeline.shell.stage import say

app = typer.Typer(help="What the cache holds, and making it smaller; finished shards and records, never source data.")


@app.command()
def show(
    cache_folder: Folder = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it for programs.")] = False,
) -> None:
    """Where it lies, how many shards it holds and what they take."""
    cache = shard_cache(cache_folder)
    usage = cache.usage()
    if as_json:
        say(json.dumps({"folder": str(cache.folder), "shards": usage.entries, "bytes": usage.bytes}, indent=2))
    else:
        say(f"cache: {usage.entries} shards, {usage.bytes / 1e6:,.0f} MB in {cache.folder}")


@app.command()
def prune(cache_folder: Folder = None, cache_size: Size = DEFAULT_SIZE) -> None:
    """Remove the least recently used shards until the rest fits."""
    removed = shard_cache(cache_folder).prune(parse_size(cache_size))
    say(f"cache: removed {removed.entries} shards, {removed.bytes / 1e6:,.0f} MB")


@app.command()
def clear(cache_folder: Folder = None) -> None:
    """Remove every shard. Stores keep what they hold; what they lack later is computed again."""
    cache = shard_cache(cache_folder)
    removed = cache.clear()
    left = cache.usage().entries
    if left:
        raise InputError(f"{left} shards in {cache.folder} may not be removed; change the permissions of that folder")
    say(f"cache: removed {removed.entries} shards, {removed.bytes / 1e6:,.0f} MB")
