"""Command ``features explain``: what ``dvc repro`` would compute of the features, what it would reuse, and why."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from features.errors import InputError
from features.fingerprint import current_version
from features.plan import Clips, changes, estimate, missing_shards
from features.sources.npz import open_source
from features.spectrogram import FeatureSpec
from features.split.division import divide_source
from features.split.sets import SETS, SplitSpec
from features.store.cache import ShardCache
from features.store.layout import StoreSpec, shard_ranges
from features.store.publish import scratch
from features.store.reader import FeatureStore, WaveformStore, mending
from features.store.verify import verify
from pipeline.commands.dvc_status import DvcStatus
from pipeline.shell.options import DEFAULT_SIZE, Folder, Size, parse_size, shard_cache
from pipeline.shell.params import DataSpec, read_section
from pipeline.shell.progress import progress
from pipeline.shell.stage import counted, default_workers, say, warn, warn_waiting

START_S = 1.0
"""Time that a featurize stage takes even if every shard is cached."""
DEMO_STAGE = "demo/dvc.yaml:synthesize"
"""The stage that makes the demo corpus, as ``dvc status`` names it."""


def command(
    name: Annotated[
        str | None, typer.Argument(metavar="[SET]", help="train, validation or test; all by default.")
    ] = None,
    cache_folder: Folder = None,
    cache_size: Size = DEFAULT_SIZE,
    workers: Annotated[
        int, typer.Option(envvar="WORKERS", min=1, help="Threads that would compute.")
    ] = default_workers(),
    as_json: Annotated[bool, typer.Option("--json", help="Print it for programs.")] = False,
) -> None:
    """Before running: what `dvc repro` would compute of the features and what it would reuse, in shards, and why."""
    if name is not None and name not in SETS:
        raise InputError(f"there is no set {name!r}; expected one of {', '.join(SETS)}")
    names = [name] if name else list(SETS)
    limit = parse_size(cache_size)
    spec, layout = read_section("features", FeatureSpec), read_section("store", StoreSpec)
    cache = shard_cache(cache_folder)
    status = DvcStatus.read(f"featurize@{name}" for name in names)
    clips = _clips_after_split(names, status)
    answers = {name: _explain(name, clips[name], spec, layout, cache, status, workers) for name in names}
    added, held = sum(answer["bytes"] for answer in answers.values()), cache.usage().bytes
    if added and held + added > limit:
        warn(
            f"the cache would grow from {held / 1e6:,.0f} to {(held + added) / 1e6:,.0f} MB, more than {cache_size}, "
            "so a set may remove shards that the next one would reuse; a larger --cache-size prevents that"
        )
    if as_json:
        say(json.dumps(answers, indent=2))
        return
    for name, answer in answers.items():
        _print(name, answer)


def _clips_after_split(names: list[str], status: DvcStatus) -> dict[str, Clips]:
    """Read the clips of each set from its waveform store, or divide the npz in memory if the stores will change."""
    if DEMO_STAGE in status.changes:
        raise InputError("the demo corpus has to be made first, so its clips are not known yet; run dvc repro split")
    if not (status.reasons("split") or status.changed_outs("split")):
        with suppress(InputError):
            stores = {name: WaveformStore.open(Path(f"data/split/{name}.zarr")) for name in names}
            return {
                name: Clips(
                    digest=store.attributes["digest"],
                    digests=store.digests,
                    labels=store.labels,
                    source_rows=store.source_rows,
                    split=store.attributes["split"],
                )
                for name, store in stores.items()
            }
    npz, spec = Path(read_section("data", DataSpec).npz), read_section("split", SplitSpec)
    with (
        scratch(Path("data/split/samples"), warn_waiting) as inflated,
        open_source(npz, inflated) as source,
        progress("examining", source.clips) as advance,
    ):
        division = divide_source(source, spec, advance)
    columns = {name: division.columns_of(name) for name in names}
    return {
        name: Clips(
            digest=division.fingerprint_of(name),
            digests=columns[name].digests,
            labels=columns[name].labels,
            source_rows=columns[name].source_rows,
            split=msgspec.to_builtins(spec),
        )
        for name in names
    }


def _explain(
    name: str,
    clips: Clips,
    spec: FeatureSpec,
    layout: StoreSpec,
    cache: ShardCache,
    status: DvcStatus,
    workers: int,
) -> dict[str, Any]:
    path, stage = Path(f"data/features/{name}.zarr"), f"featurize@{name}"
    try:
        features = FeatureStore.open(path)
    except InputError:
        features = None
    missing = missing_shards(clips, spec, layout, current_version(), cache)
    changed = changes(features, clips, spec, layout, current_version()) if features else []
    reasons = status.reasons(stage)
    if status.reasons("split") and not _holds(Path(f"data/split/{name}.zarr"), clips):
        reasons.append("split will write other clips")
    seconds, size = 0.0, 0
    if reasons:
        why = (changed or reasons) if features else [f"{path} is missing or damaged"]
        if missing:
            seconds, size = estimate(missing, spec, layout)
            if features and not changed:
                why.append(f"missing or damaged in the cache: {counted(len(missing), 'shard')}")
        seconds = START_S + seconds / workers
    else:
        force = f"DVC does not see this; to run anyway: dvc repro --force --single-item {stage}"
        why = [f"{change} ({force})" for change in changed]
        why += [
            f"{out} is {how}; {_restored(path, features, workers)}" for out, how in status.changed_outs(stage).items()
        ]
    shards = len(shard_ranges(len(clips.digests), layout.shard_clips))
    return {
        "runs": bool(reasons),
        "clips": len(clips.digests),
        "shards": shards,
        "computed": len(missing),
        "reused": shards - len(missing),
        "why": why,
        "seconds": round(seconds, 1),
        "bytes": size,
    }


def _holds(path: Path, clips: Clips) -> bool:
    """Whether a waveform store is the one that split would write for these clips."""
    try:
        attributes = WaveformStore.open(path).attributes
    except InputError:
        return False
    return bool(attributes["digest"] == clips.digest and attributes["split"] == clips.split)


def _restored(path: Path, features: FeatureStore | None, workers: int) -> str:
    """What DVC makes of changed features that it does not compute again."""
    for fault in verify(path, workers=workers).faults if features else []:
        # DVC's cache links the same file. DVC trusts a read-only file, so it would restore the damage.
        file = path / fault.name
        if file.is_file() and file.stat().st_nlink > 1:
            return f"{fault}, and so may be the copy in DVC's cache; {mending(path)}"
    return "DVC restores it from its own cache"


def _print(name: str, answer: dict[str, Any]) -> None:
    if answer["runs"]:
        say(
            f"{name}: {answer['computed']} of {counted(answer['shards'], 'shard')} to compute, {answer['reused']} to "
            f"reuse; about {answer['seconds']:.0f} s, up to {answer['bytes'] / 1e6:,.0f} MB to write"
        )
    else:
        say(f"{name}: nothing to run ({counted(answer['shards'], 'shard')})")
    for reason in answer["why"]:
        say(f"  {'because' if answer['runs'] else 'although'} {reason}")
