"""Filling a store: take finished shards from the cache, make what is missing, in parallel. The only user of dask.

A task is given numbers and paths, never arrays, and makes its shard a chunk at a time. So memory is the same however
many clips there are.
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from features.errors import InputError
from features.store.cache import ShardCache
from features.store.layout import StoreSpec
from features.store.shard import Checksum, write_shard
from features.store.writer import StoreWriter

CONNECT_S = 10
"""How long to wait for a scheduler to answer."""

Make = Callable[[int, int], Iterable[NDArray[Any]]]
"""Gives the values of clips from the first number up to the second, a chunk at a time; is pickled for a cluster."""


@dataclass(frozen=True)
class Outcome:
    """What became of a shard."""

    number: int
    clips: int
    checksum: Checksum
    reused: bool


@dataclass(frozen=True)
class Task:
    """All that makes a shard, wherever it runs."""

    number: int
    start: int
    stop: int
    key: str
    target: Path | None
    """Where to put it; None to leave it in the cache."""
    cache: ShardCache
    layout: StoreSpec
    make: Make

    def reuse(self) -> Outcome | None:
        """Take the shard from the cache, if it is there."""
        checksum = self.cache.take(self.key, self.target)
        return Outcome(self.number, self.stop - self.start, checksum, reused=True) if checksum else None

    def run(self) -> Outcome:
        """Take the shard from the cache, where another run may have put it by now, or make it."""
        return self.reuse() or self._make()

    def _make(self) -> Outcome:
        def write(file: Any) -> Checksum:
            return write_shard(file, self.make(self.start, self.stop), self.layout)

        checksum = self.cache.add(self.key, self.target, write)
        return Outcome(self.number, self.stop - self.start, checksum, reused=False)


def tasks_of(store: StoreWriter, keys: Sequence[str], cache: ShardCache, make: Make) -> list[Task]:
    """One task for each shard of a store; ``keys`` name the shards in the cache."""
    everywhere = replace(cache, folder=cache.folder.absolute())
    return [
        Task(number, start, stop, key, store.shard_path(number).absolute(), everywhere, store.layout, make)
        for number, ((start, stop), key) in enumerate(zip(store.shards, keys, strict=True))
    ]


def fill(
    store: StoreWriter,
    tasks: list[Task],
    *,
    workers: int,
    scheduler: str | None = None,
    advance: Callable[[int], None] = lambda clips: None,
) -> list[Outcome]:
    """Run the tasks that a store still lacks, and finalize it.

    Parameters
    ----------
    store, tasks
        ``tasks`` may leave out shards that were added already.
    workers : int
        Threads; the result does not depend on it.
    scheduler : str, optional
        Address of a dask.distributed scheduler, whose workers take the place of threads. They must see the same files.
    advance : callable
        Told the number of clips of each shard when it is there.

    Returns
    -------
    list of Outcome
        One for each task, in order of shards.

    Raises
    ------
    InputError
        If there is no such scheduler, or it is lost.
    """
    with ThreadPoolExecutor(workers) as pool:
        found = list(pool.map(Task.reuse, tasks))
    outcomes = [outcome for outcome in found if outcome]
    advance(sum(outcome.clips for outcome in outcomes))
    missing = [task for task, outcome in zip(tasks, found, strict=True) if not outcome]
    if missing:
        outcomes += _on_cluster(missing, scheduler, advance) if scheduler else _in_threads(missing, workers, advance)
    outcomes.sort(key=lambda outcome: outcome.number)
    for outcome in outcomes:
        store.add_shard(outcome.number, outcome.checksum)
    store.finalize()
    return outcomes


def _in_threads(tasks: list[Task], workers: int, advance: Callable[[int], None]) -> list[Outcome]:
    """Run tasks on threads; when one fails the others end first, so that none writes later."""
    from dask.base import compute
    from dask.delayed import delayed
    from dask.threaded import get  # by its name, "threads", dask would import distributed first

    failures: list[BaseException] = []

    def guarded(task: Task) -> Outcome | None:
        if failures:
            return None
        try:
            outcome = task.run()
            advance(outcome.clips)
            return outcome
        except BaseException as error:
            failures.append(error)
            return None

    outcomes = compute(*[delayed(guarded, pure=False)(task) for task in tasks], scheduler=get, num_workers=workers)
    if failures:
        raise failures[0]
    return list(outcomes)


def _on_cluster(tasks: list[Task], scheduler: str, advance: Callable[[int], None]) -> list[Outcome]:
    """Run tasks on the workers of a dask.distributed scheduler; those of a worker that dies run again elsewhere.

    Workers only fill the cache, because they finish what they have begun even when the run that asked for it is dead.
    """
    from distributed import Client, KilledWorker, as_completed
    from distributed.client import FutureCancelledError
    from distributed.comm.core import CommClosedError

    by_number = {task.number: task for task in tasks}
    remote = [replace(task, target=None) for task in tasks]
    outcomes = []
    try:
        with ExitStack() as stack:
            try:
                client = stack.enter_context(Client(scheduler, timeout=CONNECT_S))
                client.wait_for_workers(1, timeout=CONNECT_S)
            except (TimeoutError, OSError, ValueError) as error:
                raise InputError(
                    f"there is no dask scheduler with workers at {scheduler!r} ({error}); expected the address of a "
                    "running one, such as tcp://127.0.0.1:8786"
                ) from None
            for future in as_completed(client.map(Task.run, remote, pure=False)):
                outcome = future.result()
                placed = by_number[outcome.number].run()  # from the cache, unless it was pruned in between
                outcomes.append(replace(placed, reused=outcome.reused))
                advance(outcome.clips)
    except (CommClosedError, FutureCancelledError, KilledWorker) as error:
        raise InputError(
            f"the dask cluster at {scheduler} was lost ({type(error).__name__}); finished shards are kept, so start it "
            "and run this again"
        ) from None
    return outcomes
