"""Command ``features verify``: check every file of a store against its checksum, and repair what is damaged."""

import json
from pathlib import Path
from typing import Annotated

import typer

from features.errors import InputError
from features.look.location import locate, reachable
from features.look.siblings import SPLIT
from features.repair import repair_features, repair_waveforms, strays_of
from features.split.marks import read_marks
from features.store.layout import FEATURES
from features.store.manifest import is_elsewhere, repair_hint
from features.store.reader import array_in
from features.store.verify import Report, size_of, verify
from pipeline.commands.features.dvc_cache import replace_damaged
from pipeline.shell.options import Folder, shard_cache
from pipeline.shell.params import MARKS_FILE, DataSpec, read_section
from pipeline.shell.progress import progress
from pipeline.shell.source import find_npz
from pipeline.shell.stage import counted, default_workers, say

FAULTY = 1
"""Exit code if a file is damaged and was not repaired."""


def command(
    store: Annotated[str, typer.Argument(help="A store, such as data/features/train.zarr or data/split/train.zarr.")],
    repair: Annotated[bool, typer.Option("--repair", help="Make damaged files again.")] = False,
    source: Annotated[
        Path | None,
        typer.Option(help="What the store was made from, for --repair; found beside it or in this project by default."),
    ] = None,
    cache_folder: Folder = None,
    workers: Annotated[int, typer.Option(envvar="WORKERS", min=1, help="Files read at once.")] = default_workers(),
    as_json: Annotated[bool, typer.Option("--json", help="Print it for programs.")] = False,
) -> None:
    """Check every file of a store against the checksum taken when it was made; exit code 1 if one differs."""
    path = locate(store)
    if repair and is_elsewhere(path):
        raise InputError(f"{path} lies elsewhere; expected a store on this machine to repair, so copy it here first")
    if repair and (path.is_symlink() or not path.name):
        path = path.resolve()  # what a store was made from is beside the store, not beside a link to it
    with reachable(path), progress(f"verifying {path.name}", size_of(path), unit="bytes") as advance:
        report = verify(path, workers=workers, advance=advance)
    repaired: list[str] = []
    restored: list[Path] = []
    if repair and report.faults:
        repaired = _repair(path, source, cache_folder)
        restored = replace_damaged(path, [path / name for name in repaired if (path / name).is_file()])
    if as_json:
        found = {
            "files": report.files,
            "bytes": report.bytes,
            "faults": [
                {"file": fault.name, "what": fault.what, "shard": fault.shard, "clips": fault.clips}
                for fault in report.faults
            ],
            "repaired": repaired,
            "restored": [str(file) for file in restored],
        }
        say(json.dumps(found, indent=2))
    else:
        _print(path, report, repaired, restored)
    if report.faults and not repair:
        raise typer.Exit(FAULTY)


def _print(path: Path, report: Report, repaired: list[str], restored: list[Path]) -> None:
    for fault in report.faults:
        say(f"{path}: {fault}")
    if not report.faults:
        say(f"verify: {counted(report.files, 'file')}, {report.bytes / 1e6:,.0f} MB of {path} are what was written")
    elif not repaired:
        say(f"verify: {counted(len(report.faults), 'file')} of {path} damaged; {repair_hint(path)}")
    else:
        if restored:
            say(f"verify: repaired {counted(len(restored), 'file')} in DVC's cache, too")
        if strays_of(path).exists():
            say(f"verify: files that do not belong in a store were moved to {strays_of(path)}")
        say(f"verify: repaired {counted(len(repaired), 'file')} of {path}: {', '.join(repaired)}")


def _repair(store: Path, source: Path | None, cache_folder: Path | None) -> list[str]:
    cache = shard_cache(cache_folder, store)
    if array_in(store) == FEATURES:
        return repair_features(store, source or _waveforms_named_as(store), cache)
    npz = source or find_npz(read_section("data", DataSpec))
    with progress("examining", None) as advance:
        return repair_waveforms(store, npz, read_marks(MARKS_FILE), cache, advance)


def _waveforms_named_as(store: Path) -> Path:
    """The waveforms of the same name beside a store of features; for a copy elsewhere, those of this project."""
    beside, here = store.absolute().parent.parent / "split" / store.name, SPLIT / store.name
    if beside.exists():
        return beside
    if here.exists():
        return here
    raise InputError(
        f"there is neither {beside} nor {here}; expected the waveforms that {store} was computed from, so run this in "
        "the folder of its project, name them with --source, or copy the store again"
    )
