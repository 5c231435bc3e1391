"""Command ``features explain``: what featurizing would compute and what it would reuse, and why."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from features.cache import ShardCache
from features.compute import read_waveforms
from features.division import Divided, divide_source
from features.errors import InputError
from features.fingerprint import current_version
from features.layout import StoreSpec
from features.npz import Source, open_source
from features.plan import Clips, Plan, cost_of, plan
from features.publish import scratch
from features.recall import AuditCache
from features.sets import SETS, SplitSpec
from features.store import FeatureStore, WaveformStore
from features.transform import FeatureSpec
from pipeline.cache import Folder, shard_cache
from pipeline.params import DataSpec, read_section
from pipeline.progress import progress
from pipeline.stage import default_workers, say

SAMPLE_CLIPS = 64
"""Clips by which time and size are estimated."""
OVERHEAD = 1.6
"""How much longer a clip takes with reading, writing and waiting than to transform and compress it."""
START_S = 1.0
"""What a featurize stage takes however little it computes."""

Status = dict[str, list[Any]]


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
    """Before running: what `dvc repro` would compute and what it would reuse, shard by shard in sum, and why."""
    if name is not None and name not in SETS:
        raise InputError(f"there is no set {name!r}; expected one of {', '.join(SETS)}")
    names = [name] if name else list(SETS)
    spec, layout = read_section("features", FeatureSpec), read_section("store", StoreSpec)
    cache = shard_cache(cache_folder)
    status = _dvc_status(names)
    with _sources(names, status, cache) as sources:
        answers = {
            name: _answer(name, source, sample, spec, layout, cache, status, workers)
            for name, (source, sample) in sources.items()
        }
    if as_json:
        say(json.dumps(answers, indent=2))
        return
    for name, answer in answers.items():
        _print(name, answer)


def _answer(
    name: str,
    clips: Clips,
    sample: NDArray[np.float32],
    spec: FeatureSpec,
    layout: StoreSpec,
    cache: ShardCache,
    status: Status | None,
    workers: int,
) -> dict[str, Any]:
    path = Path(f"data/features/{name}.zarr")
    before = None
    try:
        before = FeatureStore.open(path)
    except InputError as error:
        why = [str(error)] if path.exists() else []
    else:
        why = []
    made: Plan = plan(clips, spec, layout, current_version(), cache, before)
    changed, by_dvc, restored = _stage_changes(name, status)
    runs = by_dvc or ("split" in status and bool(made.why)) if status is not None else bool(made.why)
    if runs:
        why += made.why + changed
        if made.computed and not made.why:
            why.append(f"{len(made.computed)} shards are not in the cache any more")
    elif before:
        again = f"DVC does not look at that; to compute it anew: dvc repro --force featurize@{name}"
        why += [f"{reason} ({again})" for reason in made.why]
    why += restored
    cost = cost_of(sample, spec, layout) if made.computed else None
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


def _print(name: str, answer: dict[str, Any]) -> None:
    if not answer["runs"]:
        say(f"{name}: nothing to run ({answer['shards']} shards)")
    else:
        say(
            f"{name}: {answer['computed']} of {answer['shards']} shards to compute, {answer['reused']} to reuse; about "
            f"{answer['seconds']:.0f} s, {answer['bytes'] / 1e6:,.0f} MB to write"
        )
    for reason in answer["why"]:
        say(f"  {'because' if answer['runs'] else 'though'} {reason}")


def _dvc_status(names: list[str]) -> Status | None:
    """Ask DVC which of the stages up to featurize are out of date; None where there is no DVC repository."""
    stages = [f"featurize@{name}" for name in names]
    command = [sys.executable, "-m", "dvc", "status", "--json", "--with-deps", *stages]
    if not Path(".dvc").is_dir():
        return None
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        last = (done.stderr.strip() or "no message").splitlines()[-1]
        raise InputError(f"DVC cannot tell what has changed ({last}); mend that, or wait until another dvc has ended")
    return json.loads(done.stdout)


def _stage_changes(name: str, status: Status | None) -> tuple[list[str], bool, list[str]]:
    """What DVC says has changed beside settings and clips; whether it runs the stage; what it only restores."""
    changes = (status or {}).get(f"featurize@{name}", [])
    parts = [change for change in changes if isinstance(change, dict)]
    files = {path: how for part in parts for path, how in part.get("changed deps", {}).items()}
    outs = {path: how for part in parts for path, how in part.get("changed outs", {}).items()}
    changed = [f"{path} is {how}; only its code counts" for path, how in files.items() if path.endswith(".py")]
    changed += ["the stage's command changed"] if "changed command" in changes else []
    runs = any(not isinstance(change, dict) or set(change) != {"changed outs"} for change in changes)
    if not runs:
        return [], False, [f"{path} is {how}; DVC restores it from its own cache" for path, how in outs.items()]
    return changed if Path(f"data/features/{name}.zarr").exists() else [], True, []


@contextmanager
def _sources(
    names: list[str], status: Status | None, cache: ShardCache
) -> Iterator[dict[str, tuple[Clips, NDArray[np.float32]]]]:
    """The clips of each set as they will be, and a few to try: as split would deal them now, if it is out of date."""
    spec = read_section("split", SplitSpec)
    stale = set(status or {}) & {"synthesize", "split"}
    if "synthesize" in stale:
        raise InputError(
            "the corpus is to be made anew, so nobody knows its clips yet; run dvc repro split first, then this again"
        )
    stores = {name: Path(f"data/split/{name}.zarr") for name in names}
    missing = [path for path in stores.values() if not path.exists()]
    if not stale and not missing:
        opened = {name: WaveformStore.open(path) for name, path in stores.items()}
        if all(store.attributes["split"] == spec.model_dump(mode="json") for store in opened.values()):
            yield {name: _as_stored(store) for name, store in opened.items()}
            return
    npz = Path(read_section("data", DataSpec).npz)
    inflated = Path("data/split/samples")
    with scratch(inflated), open_source(npz, inflated) as source:
        with progress("examining", source.clips) as advance:
            divided = divide_source(npz, source, spec, advance, AuditCache.beside(cache))
        yield {name: _as_divided(name, source, divided, spec) for name in names}


def _as_stored(store: WaveformStore) -> tuple[Clips, NDArray[np.float32]]:
    clips = Clips(store.digests, store.labels, store.source_rows, store.attributes["split"])
    return clips, read_waveforms(store, 0, min(SAMPLE_CLIPS, store.clips))


def _as_divided(name: str, source: Source, divided: Divided, spec: SplitSpec) -> tuple[Clips, NDArray[np.float32]]:
    rows = divided.division.rows[name]
    clips = Clips(divided.digests_of(name), divided.labels_of(name), rows, spec.model_dump(mode="json"))
    return clips, source.read(rows[:SAMPLE_CLIPS])
