"""Command ``features verify``: every file of a store against its checksum, and repair of what is not right."""

import json
from pathlib import Path
from typing import Annotated

import typer

from features.errors import InputError
from features.look.location import locate, reachable
from features.repair import repair_features, repair_waveforms, strays_of
from features.store.reader import array_in, is_elsewhere, mending
from features.store.verify import size_of, verify
from pipeline.commands.dvc_cache import replace_damaged
from pipeline.shell.options import Folder, shard_cache
from pipeline.shell.params import DataSpec, read_section
from pipeline.shell.progress import progress
from pipeline.shell.stage import counted, default_workers, say

FAULTY = 1
"""Exit code when something is not right and was not repaired."""


def command(
    store: Annotated[str, typer.Argument(help="A store, such as data/features/train.zarr or data/split/train.zarr.")],
    repair: Annotated[bool, typer.Option("--repair", help="Compute again what is not right.")] = False,
    source: Annotated[
        Path | None,
        typer.Option(help="What the store was made from, for --repair; found beside it or in params.yaml by default."),
    ] = None,
    cache_folder: Folder = None,
    workers: Annotated[int, typer.Option(envvar="WORKERS", min=1, help="Files read at once.")] = default_workers(),
    as_json: Annotated[bool, typer.Option("--json", help="Print it for programs.")] = False,
) -> None:
    """Check every file of a store against the checksum taken when it was made; exit code 1 if any is not right."""
    path = locate(store)
    if repair and is_elsewhere(path):
        raise InputError(f"{path} lies elsewhere; expected a store on this machine to repair, so copy it here first")
    with reachable(path), progress(f"verifying {path.name}", size_of(path), unit="bytes") as advance:
        report = verify(path, workers=workers, advance=advance)
    repaired: list[str] = []
    restored: list[Path] = []
    if repair and report.faults:
        # What is beside a link to it is not what is beside it.
        itself = path.resolve() if path.is_symlink() or not path.name else path
        repaired = _repair(itself, source, cache_folder)
        with progress(f"verifying {path.name}", size_of(path), unit="bytes") as advance:
            after = verify(path, workers=workers, advance=advance)
        if after.faults:
            raise InputError(f"{path} is still not right after repair ({after.faults[0]}); delete it and run dvc repro")
    if repaired:
        restored = replace_damaged(itself, [itself / name for name in repaired if (itself / name).is_file()])
    if as_json:
        faults = [
            {"file": fault.name, "what": fault.what, "shard": fault.shard, "clips": fault.clips}
            for fault in report.faults
        ]
        say(
            json.dumps(
                {
                    "files": report.files,
                    "bytes": report.bytes,
                    "faults": faults,
                    "repaired": repaired,
                    "restored": [str(path) for path in restored],
                },
                indent=2,
            )
        )
    else:
        for fault in report.faults:
            say(f"{path}: {fault}")
        if not report.faults:
            say(f"verify: {counted(report.files, 'file')}, {report.bytes / 1e6:,.0f} MB of {path} are what was written")
        elif repair:
            if restored:
                say(f"verify: DVC's cache held {len(restored)} of them damaged too, or none, and has them right now")
            if strays_of(itself).exists():
                say(f"verify: files that do not belong in a store were moved to {strays_of(itself)}")
            say(f"verify: repaired {counted(len(repaired), 'file')} of {path}: {', '.join(repaired)}")
        else:
            many = counted(len(report.faults), "file") + (" is" if len(report.faults) == 1 else " are")
            say(f"verify: {many} not right in {path}; {mending(path)}")
    if report.faults and not repair:
        raise typer.Exit(FAULTY)


def _repair(store: Path, source: Path | None, cache_folder: Path | None) -> list[str]:
    cache = shard_cache(cache_folder, store)
    if array_in(store) == "features":
        waveforms = source or store.absolute().parent.parent / "split" / store.name
        return repair_features(store, waveforms, cache)
    npz = source or Path(read_section("data", DataSpec).npz)
    with progress("examining", None) as advance:
        return repair_waveforms(store, npz, cache, advance)
