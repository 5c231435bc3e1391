"""Command ``features diff``: how two feature stores differ."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from features.corpus import name_of_clip
from features.errors import InputError
from features.look.comparison import Comparison, compare
from features.look.location import locate, reachable
from features.store.reader import FeatureStore, open_store
from pipeline.shell.progress import progress
from pipeline.shell.stage import say


def command(
    store: Annotated[str, typer.Argument(help="A feature store.")],
    other: Annotated[str, typer.Argument(help="Another one.")],
    sample: Annotated[
        int, typer.Option(min=1, help="Clips to compare one by one where the stores are in different order.")
    ] = 1000,
    as_json: Annotated[bool, typer.Option("--json", help="Print it for programs.")] = False,
) -> None:
    """How two feature stores differ: settings, rows, words, distribution, and clip by clip where they share rows."""
    first, second = locate(store), locate(other)
    with reachable(first, second):
        stores = _open(first), _open(second)
        with progress("comparing", stores[0].clips + stores[1].clips) as advance:
            found = compare(*stores, sample=sample, advance=advance)
    if as_json:
        say(json.dumps({"same": found.same, **asdict(found)}, indent=2))
    else:
        _print(*stores, found)


def _open(path: Path) -> FeatureStore:
    store = open_store(path)
    if not isinstance(store, FeatureStore):
        raise InputError(f"{path} holds waveforms; expected a store of features, such as data/features/train.zarr")
    return store


def _print(first: FeatureStore, second: FeatureStore, found: Comparison) -> None:
    rows, words, statistics, values = found.rows, found.words, found.statistics, found.values
    order = (", in the same order" if rows.same_order else ", in different order") if rows.shared else ""
    changed = [
        f"{word} {before:,} -> {after:,}"
        for (word, before), after in zip(words[0].items(), words[1].values(), strict=True)
        if before != after
    ]
    facts = Table.grid(padding=(0, 2))
    facts.add_row("settings", "\n".join(found.settings) or "the same")
    facts.add_row(
        "rows",
        f"{rows.shared:,} shared{order}; "
        f"{rows.only_first:,} only in the first, {rows.only_second:,} only in the second",
    )
    if rows.other_samples or rows.other_labels:
        facts.add_row(
            "", f"of the shared, {rows.other_samples:,} have other samples, {rows.other_labels:,} other labels"
        )
    facts.add_row("words", ", ".join(changed) or "the same")
    for name, before in statistics[0].items():
        facts.add_row(name.replace("_", " "), f"{before:.6g} -> {statistics[1][name]:.6g}")
    if values is None:
        facts.add_row("clip by clip", "not comparable: other shapes, or no row in common")
    else:
        compared = "compared are " if values.clips < rows.shared else ""
        facts.add_row(
            "clip by clip",
            f"{values.equal:,} of {values.clips:,} {compared}equal; greatest difference {values.greatest:.3g} "
            f"({values.greatest_relative:.2g} of its clip's maximum), mean {values.mean:.2g}",
        )
        if values.worst_rows:
            recordings = dict(zip(first.source_rows.tolist(), first.recordings.tolist(), strict=True))
            worst = [name_of_clip(row, recordings[row]) for row in values.worst_rows]
            facts.add_row("", Text(f"clips that differ most: {'; '.join(worst)}"))
    console = Console(highlight=False)
    console.print(f"{first.path} and {second.path}", style="bold", markup=False)
    console.print(facts)
    if found.same:
        say("diff: the same")
