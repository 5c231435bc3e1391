"""Command ``features explain``: what featurizing would compute and what it would reuse, and why."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
import typer
from numpy.typing import NDArray

from features import fingerprint
from features.errors import InputError
from features.featurize import read_waveforms
from features.fingerprint import current_version
from features.plan import Clips, cost_of, plan
from features.sources.npz import open_source
from features.spectrogram import FeatureSpec
from features.split.division import Divided, divide_source
from features.split.sets import SETS, SplitSpec
from features.store.cache import ShardCache
from features.store.layout import StoreSpec
from features.store.publish import scratch
from features.store.reader import FeatureStore, WaveformStore, mending
from features.store.verify import verify
from pipeline.commands.dvc_status import DEMO_STAGE, LOCK, LOST, DvcStatus
from pipeline.shell.options import DEFAULT_SIZE, Folder, Size, parse_size, shard_cache
from pipeline.shell.params import DataSpec, read_section
from pipeline.shell.progress import progress
from pipeline.shell.stage import PACKAGES, counted, default_workers, note, note_waiting, say

SAMPLE_CLIPS = 64
"""Clips by which time and size are estimated."""
OVERHEAD = 1.6
"""How much longer a clip takes with reading, writing and waiting than to transform and compress it."""
RESTORES = "DVC restores it from its own cache"
START_S = 1.0
"""What a featurize stage takes however little it computes."""


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
    npz, split = Path(read_section("data", DataSpec).npz), read_section("split", SplitSpec)
    cache = shard_cache(cache_folder)
    status = DvcStatus.read(f"featurize@{name}" for name in names)
    with _sets(names, npz, split, status, cache) as sets:
        answers = {name: _answer(name, sets, spec, layout, cache, status, workers) for name in names}
    added, held = sum(answer["bytes"] for answer in answers.values()), cache.usage().bytes
    if added and held + added > limit and any(answer["runs"] and answer["reused"] for answer in answers.values()):
        note(
            f"with {added / 1e6:,.0f} MB more the cache, which holds {held / 1e6:,.0f} MB, grows over its size of "
            f"{cache_size}, and a set may push out what the next one is to reuse; a larger --cache-size prevents that"
        )
    if as_json:
        say(json.dumps(answers, indent=2))
        return
    for name, answer in answers.items():
        _print(name, answer)


def _answer(
    name: str,
    sets: "_Sets",
    spec: FeatureSpec,
    layout: StoreSpec,
    cache: ShardCache,
    status: DvcStatus | None,
    workers: int,
) -> dict[str, Any]:
    path = Path(f"data/features/{name}.zarr")
    stage = f"featurize@{name}"
    before = None
    why = []
    try:
        before = FeatureStore.open(path)
    except InputError as error:
        why = [str(error)] if path.exists() else []
    made = plan(sets.clips[name], spec, layout, current_version(), cache, before)
    if status is None:
        runs = bool(made.why)
    else:
        runs = status.runs(stage) or (status.runs("split") and _other_waveforms(name, sets.clips[name], status))
    if runs:
        why += made.why + (_code_changes(stage, status) if before else [])
        if not why and status:
            why = _dvc_reasons(stage, status)
        if made.computed and not made.why:
            are = "is" if len(made.computed) == 1 else "are"
            why.append(f"{counted(len(made.computed), 'shard')} {are} not in the cache any more, or damaged there")
    else:
        if before:
            again = f"DVC does not look at that; to compute it anew: dvc repro --force --single-item {stage}"
            why += [f"{reason} ({again})" for reason in made.why]
        outs = status.changed_outs(stage) if status else {}
        restoring = _restoring(path, workers) if outs and before else RESTORES
        why += [f"{out} is {how}; {restoring}" for out, how in outs.items()]
    cost = cost_of(sets.sample(name), spec, layout, made.clips) if runs and made.computed else None
    seconds = START_S + (made.computed_clips * cost.seconds * OVERHEAD / workers if cost else 0)
    return {
        "runs": runs,
        "clips": made.clips,
        "shards": made.shards,
        "computed": len(made.computed),
        "reused": made.reused,
        "why": why,
        "seconds": round(seconds, 1) if runs else 0,
        "bytes": round(made.computed_clips * cost.bytes) if cost else 0,
    }


def _code_changes(stage: str, status: DvcStatus | None) -> list[str]:
    """Modules by which DVC runs a stage, whether they decide a shard or not."""
    if status is None or not status.known(stage):
        return []
    modules = {path: how for path, how in status.changed_deps(stage).items() if path.split("/")[0] in PACKAGES}
    return [f"{path} is {how}; {_meaning(path)}" for path, how in modules.items()]


def _meaning(path: str) -> str:
    """What an edit of a module means to shards."""
    module = path.removesuffix(".py").replace("/", ".")
    if module == fingerprint.__name__:
        return "it says what decides a shard"
    decides = any(code == module or code.startswith(f"{module}.") for code in fingerprint.CODE)
    return "only its code counts" if decides else "it decides no shard"


def _restoring(path: Path, workers: int) -> str:
    """What comes of a store that is not as DVC left it, and whose stage DVC will not run."""
    for fault in verify(path, workers=workers).faults:
        file = path / fault.name
        if file.is_file() and file.stat().st_nlink > 1:  # DVC never looks again at one that nobody may write to
            return f"{fault}, and DVC's own cache may hold the very same file; {mending(path)}"
    return RESTORES


def _dvc_reasons(stage: str, status: DvcStatus) -> list[str]:
    """Why DVC runs a stage whose features are there already."""
    if not status.known(stage):
        return [f"{LOCK} knows nothing of {stage}"]
    reasons = [
        f"DVC last ran it with other settings of {', '.join(how)}" if isinstance(how, dict) else f"{path} is {how}"
        for path, how in status.changed_deps(stage).items()
    ]
    reasons += [f"{path} is {how} of DVC" for path, how in status.changed_outs(stage).items() if how == LOST]
    return reasons or ["the stage's command changed"]


def _other_waveforms(name: str, clips: Clips, status: DvcStatus) -> bool:
    """Whether a split that is to run will come to another store than the one that features were made of last time."""
    path = f"data/split/{name}.zarr"
    if status.last_made("split", path) != status.last_read(f"featurize@{name}", path):
        return True
    try:
        before = WaveformStore.open(Path(path))
    except InputError:
        return True
    return not (
        before.attributes["split"] == clips.split
        and np.array_equal(before.digests, clips.digests)
        and np.array_equal(before.labels, clips.labels)
        and np.array_equal(before.source_rows, clips.source_rows)
    )


def _print(name: str, answer: dict[str, Any]) -> None:
    if not answer["runs"]:
        say(f"{name}: nothing to run ({counted(answer['shards'], 'shard')})")
    else:
        say(
            f"{name}: {answer['computed']} of {counted(answer['shards'], 'shard')} to compute, {answer['reused']} to "
            f"reuse; about {answer['seconds']:.0f} s, {answer['bytes'] / 1e6:,.0f} MB to write"
        )
    for reason in answer["why"]:
        say(f"  {'because' if answer['runs'] else 'though'} {reason}")


@dataclass(frozen=True)
class _Sets:
    """The clips of each set as they will be, and how to read a few of them."""

    clips: dict[str, Clips]
    sample: Callable[[str], NDArray[np.float32]]


@contextmanager
def _sets(names: list[str], npz: Path, spec: SplitSpec, status: DvcStatus | None, cache: ShardCache) -> Iterator[_Sets]:
    """As they lie there, or as split would deal them now, if it is to run or its stores are not there whole."""
    if status and status.changes.get(DEMO_STAGE):
        raise InputError(
            "the corpus is to be made anew, so its clips are not known yet; run dvc repro split first, then this again"
        )
    if status is None or not (status.runs("split") or status.changed_outs("split")):
        with suppress(InputError):
            stores = {name: WaveformStore.open(Path(f"data/split/{name}.zarr")) for name in names}
            if all(store.attributes["split"] == msgspec.to_builtins(spec) for store in stores.values()):
                yield _Sets(
                    {name: _stored(store) for name, store in stores.items()},
                    lambda name: read_waveforms(stores[name], 0, min(SAMPLE_CLIPS, stores[name].clips)),
                )
                return
    with scratch(Path("data/split/samples"), note_waiting) as inflated, open_source(npz, inflated) as source:
        with progress("examining", source.clips) as advance:
            divided = divide_source(npz, source, spec, advance)
        yield _Sets(
            {name: _divided(name, divided, spec) for name in names},
            lambda name: source.read(divided.division.rows[name][:SAMPLE_CLIPS]),
        )


def _stored(store: WaveformStore) -> Clips:
    return Clips(store.digests, store.labels, store.source_rows, store.attributes["split"])


def _divided(name: str, divided: Divided, spec: SplitSpec) -> Clips:
    rows = divided.division.rows[name]
    return Clips(divided.digests_of(name), divided.labels_of(name), rows, msgspec.to_builtins(spec))
