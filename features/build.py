"""Featurizing: every shard of a feature store is one task. The only module that knows dask.

A task is given numbers and paths, never arrays: it looks its shard up in the cache, or else reads its clips, transforms
them and writes the shard, a chunk at a time. So memory is a shard of waveforms a worker, however many clips there are.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec

from features.compute import feature_chunks
from features.errors import InputError
from features.fingerprint import Version, current_version, loaded_version, settings_hash, shard_key
from features.heap import steady_heap
from features.spectrogram import FeatureSpec
from features.store.cache import ShardCache
from features.store.layout import StoreSpec
from features.store.reader import WaveformStore
from features.store.shard import Checksum, write_shard
from features.store.writer import ClipColumns, Draft, FeatureAxes, draft_features

if TYPE_CHECKING:
    from distributed import Client

CONNECT_S = 10
"""How long to wait for a scheduler to answer."""


@dataclass(frozen=True)
class Outcome:
    """What became of a shard."""

    number: int
    clips: int
    checksum: Checksum
    reused: bool


@dataclass(frozen=True)
class Task:
    """All that computes a shard, wherever it runs."""

    number: int
    start: int
    stop: int
    key: str
    target: Path | None
    """Where to put it; None to leave it in the cache."""
    waveforms: Path
    waveforms_digest: str
    cache: ShardCache
    spec: FeatureSpec
    layout: StoreSpec
    made_by: Version

    def reuse(self) -> Outcome | None:
        """Take the shard from the cache, if it is there."""
        checksum = self.cache.take(self.key, self.target, self.layout)
        return Outcome(self.number, self.stop - self.start, checksum, reused=True) if checksum else None

    def run(self) -> Outcome:
        """Take the shard from the cache, where another run may have put it by now, or compute it.

        Raises
        ------
        InputError
            If its waveforms are damaged, what is installed here would compute something else, or was edited meanwhile.
        """
        reused = self.reuse()
        if reused:
            return reused
        installed = loaded_version()
        if self.made_by != installed:
            raise InputError(
                f"these features are to be computed by {self.made_by}, but what is installed here is "
                f"{installed}; expected the same code and libraries, so install this project's environment on "
                "every worker, or run dvc repro to compute the whole set anew"
            )
        written = self.cache.add(self.key, self.target, self._write)
        return Outcome(self.number, self.stop - self.start, written, reused=False)

    def _write(self, file: BinaryIO) -> Checksum:
        steady_heap()
        source = open_waveforms(self.waveforms, self.waveforms_digest)
        return write_shard(file, feature_chunks(source, self.start, self.stop, self.spec, self.layout), self.layout)


@lru_cache(maxsize=1)
def open_waveforms(path: Path, digest: str) -> WaveformStore:
    """Open a waveform store once for all tasks of a process.

    Raises
    ------
    InputError
        If it holds other clips than those that the digest was taken of.
    """
    store = WaveformStore.open(path)
    if store.attributes["digest"] != digest:
        raise InputError(f"{path} was made anew while its features were being computed; run this again")
    return store


def attributes_of(source: WaveformStore, spec: FeatureSpec, layout: StoreSpec, made_by: Version) -> dict[str, Any]:
    """What a feature store says of itself."""
    return {
        "features": msgspec.to_builtins(spec),
        "store": msgspec.to_builtins(layout),
        "made_by": msgspec.to_builtins(made_by),
        "spec_hash": settings_hash(spec, layout, made_by),
        "source_digest": source.attributes["digest"],
        "split": source.attributes["split"],
        "words": source.attributes["words"],
        "sample_rate_hz": source.attributes["sample_rate_hz"],
    }


def begin(
    source: WaveformStore, target: Path, attributes: dict[str, Any], cache: ShardCache
) -> tuple[Draft, list[Task]]:
    """Begin the feature store that its attributes describe; the tasks are what it still lacks, one for each shard."""
    spec = msgspec.convert(attributes["features"], FeatureSpec)
    layout = msgspec.convert(attributes["store"], StoreSpec)
    made_by = msgspec.convert(attributes["made_by"], Version)
    assert attributes["spec_hash"] == settings_hash(spec, layout, made_by)
    columns = ClipColumns(source.labels, source.source_rows, source.digests)
    axes = FeatureAxes(spec.frequency_hz, spec.time_s)
    store = draft_features(target, axes, layout, columns, attributes)
    shards = replace(cache, folder=cache.folder.absolute())
    tasks = [
        Task(
            number=number,
            start=start,
            stop=stop,
            key=shard_key(attributes["spec_hash"], columns.digests[start:stop]),
            target=store.shard_path(number).absolute(),
            waveforms=source.path.absolute(),
            waveforms_digest=attributes["source_digest"],
            cache=shards,
            spec=spec,
            layout=layout,
            made_by=made_by,
        )
        for number, (start, stop) in enumerate(store.shards)
    ]
    return store, tasks


def _in_threads(tasks: list[Task], workers: int, advance: Callable[[int], None]) -> list[Outcome]:
    """Run tasks on threads of this process; when one fails the others end first, so that none writes later."""
    from dask.base import compute
    from dask.callbacks import Callback
    from dask.delayed import delayed
    from dask.threaded import get  # by its name, "threads", dask would import distributed first

    failures: list[BaseException] = []

    def guarded(task: Task) -> Outcome | None:
        if failures:
            return None
        try:
            return task.run()
        except BaseException as error:
            failures.append(error)
            return None

    with Callback(posttask=lambda key, outcome, *_: advance(outcome.clips if outcome else 0)):
        lazy = [delayed(guarded, pure=False)(task) for task in tasks]
        outcomes = compute(*lazy, scheduler=get, num_workers=workers)
    if failures:
        raise failures[0]
    return list(outcomes)


@contextmanager
def _cluster(scheduler: str) -> "Iterator[Client]":
    from distributed import Client

    with ExitStack() as stack:
        try:
            client = stack.enter_context(Client(scheduler, timeout=CONNECT_S))
            client.wait_for_workers(1, timeout=CONNECT_S)
        except (TimeoutError, OSError, ValueError) as error:
            raise InputError(
                f"there is no dask scheduler with workers at {scheduler!r} ({error}); expected the address of a "
                "running one, such as tcp://127.0.0.1:8786"
            ) from None
        yield client


def _on_cluster(tasks: list[Task], scheduler: str, advance: Callable[[int], None]) -> list[Outcome]:
    """Run tasks on the workers of a dask.distributed scheduler; those of a worker that dies run again elsewhere.

    Workers only fill the cache, because they finish what they have begun even when the run that asked for it is dead.
    """
    from distributed import KilledWorker, as_completed
    from distributed.client import FutureCancelledError
    from distributed.comm.core import CommClosedError

    outcomes = []
    try:
        with _cluster(scheduler) as client:
            by_number = {task.number: task for task in tasks}
            remote = [replace(task, target=None) for task in tasks]
            for future in as_completed(client.map(Task.run, remote, pure=False)):
                outcome = future.result()
                task = by_number[outcome.number]
                placed = task.run()  # takes it from the cache, unless somebody has pruned it in between
                outcomes.append(replace(placed, reused=outcome.reused))
                advance(outcome.clips)
    except (CommClosedError, FutureCancelledError, KilledWorker) as error:
        raise InputError(
            f"the dask cluster at {scheduler} was lost ({type(error).__name__}); finished shards are kept, so start it "
            "and run this again"
        ) from None
    return outcomes


def featurize(
    waveforms: Path,
    target: Path,
    spec: FeatureSpec,
    layout: StoreSpec,
    cache: ShardCache,
    *,
    workers: int,
    scheduler: str | None = None,
    advance: Callable[[int], None] = lambda clips: None,
) -> list[Outcome]:
    """Compute the features of a whole set.

    Parameters
    ----------
    waveforms : Path
        A :class:`~features.store.reader.WaveformStore`.
    target : Path
        Where a :class:`~features.store.reader.FeatureStore` is made; nothing may stand there.
    spec : FeatureSpec
    layout : StoreSpec
    cache : ShardCache
        Where finished shards are found and kept.
    workers : int
        Threads; the result does not depend on it. Reading, transforming and compressing release Python's lock.
    scheduler : str, optional
        Address of a dask.distributed scheduler, whose workers take the place of threads. They must see the same files.
    advance : callable
        Told the number of clips of each shard when it is written.

    Returns
    -------
    list of Outcome
        One for each shard, in order.

    Raises
    ------
    InputError
        If ``waveforms`` is not a waveform store or a shard of it is damaged, or a worker has other code or libraries.
    """
    source = WaveformStore.open(waveforms)
    attributes = attributes_of(source, spec, layout, current_version())
    store, tasks = begin(source, target, attributes, cache)
    # One after the other: taking what nobody has written to is all Python's, and threads would wait for one another.
    found = [task.reuse() for task in tasks]
    outcomes = [outcome for outcome in found if outcome]
    advance(sum(outcome.clips for outcome in outcomes))
    missing = [task for task, outcome in zip(tasks, found, strict=True) if not outcome]
    # Dask takes longer to import than a cached set to link, so it is imported when there is something to compute.
    if missing:
        outcomes += _on_cluster(missing, scheduler, advance) if scheduler else _in_threads(missing, workers, advance)
    for outcome in outcomes:
        store.record(outcome.number, outcome.checksum)
    store.seal()
    return sorted(outcomes, key=lambda outcome: outcome.number)
