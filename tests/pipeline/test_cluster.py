"""The same tasks on the workers of a dask.distributed cluster: two real processes on loopback, one of them killed."""

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from conftest import Project, contents, write_waveforms
from test_kills import SLOW, shards

from features.featurize import featurize
from features.spectrogram import FeatureSpec
from features.store.cache import ShardCache
from features.store.layout import StoreSpec
from features.store.verify import verify

SPEC = FeatureSpec(kind="magnitude", n_fft=258, hop_length=64, window="hann")
LAYOUT = StoreSpec(dtype="float32", chunk_clips=8, shard_clips=32, codec="none")


@pytest.fixture
def waveforms(project: Project) -> Project:
    (project.folder / "data/split").mkdir(parents=True)
    write_waveforms(project.folder / "data/split/train.zarr", 240)
    project.set(**SLOW)
    return project


@pytest.fixture
def workers(waveforms: Project, tmp_path: Path) -> Iterator[tuple[str, list["subprocess.Popen[str]"]]]:
    """The address of a scheduler and its two workers."""
    address = tmp_path / "scheduler.json"
    known = ["--scheduler-file", str(address)]
    scheduler = ["scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", *known]
    worker = ["worker", "--host", "127.0.0.1", "--nthreads", "1", "--no-nanny", "--no-dashboard", *known]
    with ExitStack() as started:
        processes = []
        for arguments in (scheduler, worker, worker):
            process = subprocess.Popen(
                [sys.executable, "-m", "dask", *arguments],
                cwd=waveforms.folder,
                env={"PYTHONPATH": str(waveforms.folder)},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            started.enter_context(process)
            started.callback(process.kill)
            processes.append(process)
        from distributed import Client

        while not address.exists():
            time.sleep(0.05)
        with Client(scheduler_file=str(address)) as client:
            client.wait_for_workers(2, timeout=60)
            url = client.scheduler.address
        yield url, processes[1:]


def test_a_cluster_that_loses_a_worker_writes_the_same_bytes(
    waveforms: Project, workers: tuple[str, list["subprocess.Popen[str]"]]
) -> None:
    url, processes = workers
    cache, target = waveforms.folder / ".cache/features", waveforms.folder / "data/features/train.zarr"
    with waveforms.start(sys.executable, "-m", "pipeline.featurize", "train", "--scheduler", url) as run:
        while run.poll() is None and len(shards(cache)) < 10:
            time.sleep(0.001)
        running = run.poll() is None
        processes[0].kill()
        out, err = run.communicate()
    assert run.returncode == 0, err
    assert running
    computed, reused = (int(word) for word in re.findall(r"(\d+) shards? computed, (\d+) reused", out)[0])
    assert computed + reused == 60
    assert reused <= 1, "more than the shard that the killed worker had just finished"
    on_cluster = contents(target)
    for path in cache.rglob("*"):
        if path.is_file():
            path.unlink()
    done = waveforms.stage("featurize", "train")
    assert "60 shards computed, 0 reused" in done.out, done.err
    assert contents(target) == on_cluster


def test_what_is_recorded_is_what_was_linked(
    waveforms: Project, workers: tuple[str, list["subprocess.Popen[str]"]]
) -> None:
    """Under a shard's name another may lie by then, as a worker with another processor would leave it."""
    source, target = waveforms.folder / "data/split/train.zarr", waveforms.folder / "made.zarr"
    cache = ShardCache(waveforms.folder / ".cache/features")

    def placed() -> list[Path]:
        return list((target / "features").glob("c.*.0.0"))

    def swap_the_rest(clips: int) -> None:
        """When the first is linked and all are finished, put one in the place of every other."""
        if not clips or len(placed()) != 1:
            return
        while len(cache.entries()) < 8:
            time.sleep(0.01)
        one, *others = cache.entries()
        for other in others:
            other.unlink()
            other.with_suffix(one.suffix).write_bytes(one.read_bytes())

    outcomes = featurize(source, target, SPEC, LAYOUT, cache, workers=1, scheduler=workers[0], advance=swap_the_rest)
    assert len({path.read_bytes() for path in placed()}) <= 2, "they were swapped"
    assert not any(outcome.reused for outcome in outcomes)
    assert not verify(target, workers=1).faults


def test_no_scheduler_there(waveforms: Project) -> None:
    command = [sys.executable, "-m", "pipeline.featurize", "train"]
    for url, said in (
        ("tcp://127.0.0.1:1", "there is no dask scheduler with workers at"),
        ("nonsense", "there is no dask scheduler with workers at"),
    ):
        done = waveforms.run(*command, env={"SCHEDULER": url})
        assert done.code == 2, done.err
        assert said in done.err
        assert not (waveforms.folder / "data/features/train.zarr").exists()
