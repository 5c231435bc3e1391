"""Command ``features explain``: what ``dvc repro`` would compute of the features, what it would reuse, and why."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from features.corpus import Corpus
from features.errors import InputError
from features.plan import Clips, changes, estimate, made_of, missing_shards
from features.sources.npz import open_source
from features.spectrogram import FeatureSpec
from features.split.division import divide_source
from features.split.marks import read_marks
from features.split.sets import SETS, SplitSpec
from features.store.cache import ShardCache
from features.store.layout import StoreSpec, shard_ranges
from features.store.manifest import repair_hint
from features.store.publish import scratch
from features.store.reader import FeatureStore, WaveformStore
from features.store.verify import verify
from pipeline.commands.dvc_status import DvcStatus
from pipeline.shell.options import Folder, shard_cache
from pipeline.shell.params import MARKS_FILE, DataSpec, read_section
from pipeline.shell.progress import progress
from pipeline.shell.source import DEMO, find_npz
from pipeline.shell.stage import counted, default_workers, say, warn_waiting
from pipeline.synthesize import is_demo_made

START_S = 1.0
"""Time that a featurize stage takes even if every shard is cached."""


def command(
    name: Annotated[
        str | None, typer.Argument(metavar="[SET]", help="train, validation or test; all by default.")
    ] = None,
    cache_folder: Folder = None,
    workers: Annotated[
        int, typer.Option(envvar="WORKERS", min=1, help="Threads that would compute.")
    ] = default_workers(),
    as_json: Annotated[bool, typer.Option("--json", help="Print it for programs.")] = False,
) -> None:
    """Before running: what `dvc repro` would compute of the features and what it would reuse, in shards, and why."""
    if name is not None and name not in SETS:
        raise InputError(f"there is no set {name!r}; expected one of {', '.join(SETS)}")
    names = [name] if name else list(SETS)
    spec, layout = read_section("features", FeatureSpec), read_section("store", StoreSpec)
    cache = shard_cache(cache_folder)
    status = DvcStatus.read(f"featurize@{name}" for name in names)
    clips = clips_after_split(names, status)
    answers = {name: _explain(name, clips[name], spec, layout, cache, status, workers) for name in names}
    if as_json:
        say(json.dumps(answers, indent=2))
        return
    for name, answer in answers.items():
        _print(name, answer)


def clips_after_split(names: list[str], status: DvcStatus) -> dict[str, Clips]:
    """Read the clips of each set from its waveform store, or divide the npz in memory if the stores will change.

    Raises
    ------
    InputError
        If the clips are not known yet, or the npz cannot be read.
    """
    npz, spec = find_npz(read_section("data", DataSpec)), read_section("split", SplitSpec)
    if npz == DEMO and status.reasons("synthesize") and not is_demo_made():
        raise InputError("the demo corpus has to be made first, so its clips are not known yet; run dvc repro split")
    if not (status.reasons("synthesize") or status.reasons("split") or status.changed_outs("split")):
        with suppress(InputError):
            return {name: _clips_in(WaveformStore.open(Path(f"data/split/{name}.zarr"))) for name in names}
    corpus = read_section("corpus", Corpus)
    with (
        scratch(Path("data/split/samples"), warn_waiting) as inflated,
        open_source(npz, inflated, corpus) as source,
        progress("examining", source.clips) as advance,
    ):
        division = divide_source(source, spec, read_marks(MARKS_FILE), advance)
    columns = {name: division.columns_of(name) for name in names}
    return {
        name: Clips(
            digest=division.fingerprint_of(name),
            digests=columns[name].digests,
            labels=columns[name].labels,
            source_rows=columns[name].source_rows,
            split=msgspec.json.decode(msgspec.json.encode(spec)),  # as stores record it, with lists
            samples=corpus.clip_samples,
            sample_rate_hz=corpus.sample_rate_hz,
        )
        for name in names
    }


def _clips_in(store: WaveformStore) -> Clips:
    recorded = store.attributes
    samples, rate_hz = store.shape[0], recorded["sample_rate_hz"]
    columns = (store.digests, store.labels, store.source_rows)
    return Clips(recorded["digest"], *columns, recorded["split"], samples, rate_hz)


def _explain(
    name: str, clips: Clips, spec: FeatureSpec, layout: StoreSpec, cache: ShardCache, status: DvcStatus, workers: int
) -> dict[str, Any]:
    path, stage = Path(f"data/features/{name}.zarr"), f"featurize@{name}"
    try:
        features = FeatureStore.open(path)
    except InputError:
        features = None
    missing = missing_shards(clips, spec, layout, cache)
    changed = changes(features, clips, spec, layout) if features else []
    reasons = status.reasons(stage)
    splits = status.reasons("synthesize") or status.reasons("split")
    if splits and not (features and made_of(features, clips)):
        reasons.append("split will write other clips")
    if reasons:
        seconds, size = estimate(missing, spec, layout, clips)
        seconds = START_S + seconds / workers
        why = (changed or reasons) if features else [f"{path} is missing or damaged"]
        if features and missing and not changed:
            why.append(f"missing or damaged in the cache: {counted(len(missing), 'shard')}")
    else:
        seconds, size = 0.0, 0
        force = f"DVC does not see this; to run anyway: dvc repro --force --single-item {stage}"
        why = [f"{change} ({force})" for change in changed]
        why += [f"{out} is {how}; {_restored(out, workers)}" for out, how in status.changed_outs(stage).items()]
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


def _restored(path: str, workers: int) -> str:
    """How DVC restores a changed store: it trusts a read-only file, so a damaged one in its cache comes back."""
    with suppress(InputError):
        for fault in verify(Path(path), workers=workers).faults:
            file = Path(path, fault.name)
            if file.is_file() and file.stat().st_nlink > 1:
                return f"{fault}, and so may be the copy in DVC's cache; {repair_hint(Path(path))}"
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
