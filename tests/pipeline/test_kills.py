"""Real kills of real processes: whatever happens, no finished shard is computed again and the bytes come out the same.

uv run pytest -m full_size tests/pipeline/test_kills.py     # twenty kills at 50,620 clips
"""

import random
import shutil
import sys
import time
from pathlib import Path

import pytest
from conftest import Project, contents, write_waveforms
from test_bad_input import in_own_mounts

from features.split.sets import SETS
from features.store.reader import FeatureStore
from features.store.verify import verify

WORKERS = 2
SLOW = {"features.hop_length": 8, "store.codec": "zstd", "store.chunk_clips": 4, "store.shard_clips": 4}


@pytest.fixture
def slow(project: Project) -> Project:
    """Waveforms of 240 clips, and settings that make featurizing them take long enough to be killed."""
    (project.folder / "data/split").mkdir(parents=True)
    write_waveforms(project.folder / "data/split/train.zarr", 240)
    project.set(**SLOW)
    return project


def shards(cache: Path) -> dict[Path, tuple[int, int]]:
    """What tells each finished shard from one that was computed again."""
    found = {}
    for path in cache.glob("[0-9a-f][0-9a-f]/*"):
        status = path.stat()
        found[path] = (status.st_ino, status.st_mtime_ns)
    return found


def kill_at(project: Project, name: str, finished: int) -> bool:
    """Run featurize and kill it once so many shards are finished; whether it was still running."""
    cache = project.folder / ".cache/features"
    command = [sys.executable, "-m", "pipeline.featurize", name]
    with project.start(*command, env={"WORKERS": str(WORKERS)}) as process:
        while process.poll() is None and len(shards(cache)) < finished:
            time.sleep(0.001)
        process.kill()
        return process.wait() != 0


def test_kills_lose_at_most_the_shards_in_hand(slow: Project) -> None:
    cache = slow.folder / ".cache/features"
    rng = random.Random(0)
    before: dict[Path, tuple[int, int]] = {}
    in_hand = killed = 0
    for target in sorted(rng.sample(range(60), 6)):
        killed += kill_at(slow, "train", target)
        after = shards(cache)
        assert before.items() <= after.items(), "a finished shard was lost or computed again"
        partial = len(list((cache / "partial").glob("*")))
        assert partial - in_hand <= WORKERS
        before, in_hand = after, partial
        assert not (slow.folder / "data/features/train.zarr").exists()
    assert killed == 6
    done = slow.stage("featurize", "train")
    assert done.code == 0, done.err
    assert f"{60 - len(before)} shards computed, {len(before)} reused" in done.out
    assert before.items() <= shards(cache).items()
    resumed = contents(slow.folder / "data/features/train.zarr")
    shutil.rmtree(cache)
    assert "60 shards computed" in slow.stage("featurize", "train").out
    assert contents(slow.folder / "data/features/train.zarr") == resumed


def test_a_kill_while_publishing_leaves_the_old_store_or_the_new(slow: Project) -> None:
    """The manifest is the last file before the store is moved into place, so that is when it is killed."""
    target = slow.folder / "data/features/train.zarr"
    assert slow.stage("featurize", "train").code == 0
    old = contents(target)
    slow.set(**{"features.window": "hamming"})
    assert slow.stage("featurize", "train").code == 0
    new = contents(target)
    manifest = slow.folder / "data/features/.partial-train.zarr/train.zarr/manifest.json"
    for window in ("hann", "hamming", "hann", "hamming"):
        slow.set(**{"features.window": window})
        with slow.start(sys.executable, "-m", "pipeline.featurize", "train") as process:
            while process.poll() is None and not manifest.exists():
                pass
            process.kill()
        if target.exists():
            assert contents(target) in (old, new)
        done = slow.stage("featurize", "train")
        assert "0 shards computed, 60 reused" in done.out
        assert contents(target) == (old if window == "hann" else new)
        assert [path.name for path in target.parent.iterdir()] == ["train.zarr"]


def test_two_runs_at_once_on_one_set(slow: Project) -> None:
    command = [sys.executable, "-m", "pipeline.featurize", "train"]
    with slow.start(*command) as first, slow.start(*command) as second:
        said = [process.communicate() for process in (first, second)]
        assert (first.returncode, second.returncode) == (0, 0), said
    together = "".join(out for out, _ in said)
    assert "60 shards computed, 0 reused" in together
    assert "0 shards computed, 60 reused" in together
    assert "another run is writing data/features/train.zarr; waiting" in "".join(err for _, err in said)
    assert verify(slow.folder / "data/features/train.zarr", workers=2).faults == []


def test_a_full_disk_costs_no_finished_shard(slow: Project) -> None:
    featurize = f"{sys.executable} -m pipeline.featurize train"
    script = (
        "mkdir .cache && mount -t tmpfs -o size=40m tmpfs .cache || exit 99; "
        f"{featurize}; echo code $?; find .cache/features/partial -type f; "
        f"mount -o remount,size=400m .cache && {featurize}"
    )
    done = in_own_mounts(slow, script)
    assert done.returncode == 0, done.stderr
    code, summary = done.stdout.strip().splitlines()
    assert code == "code 2"
    assert done.stderr.startswith("error: there is no room to write")
    assert len(done.stderr.strip().splitlines()) == 1
    computed, reused = [int(word) for word in summary.split() if word.isdigit()][-2:]
    assert computed + reused == 60
    assert reused > 5
    assert verify(slow.folder / "data/features/train.zarr", workers=2).faults == []


def test_a_small_cache_is_kept_small(slow: Project) -> None:
    done = slow.run(sys.executable, "-m", "pipeline.featurize", "train", env={"FEATURES_CACHE_SIZE": "20MB"})
    assert done.code == 0, done.err
    store = FeatureStore.open(slow.folder / "data/features/train.zarr")
    kept = list((slow.folder / ".cache/features").glob("??/*"))
    assert 0 < sum(path.stat().st_size for path in kept) <= 20e6
    assert len(kept) < len(store.shards)
    for wrong in ("20 gigs", "20", "-1"):
        done = slow.run(sys.executable, "-m", "pipeline.featurize", "train", env={"FEATURES_CACHE_SIZE": wrong})
        assert (done.code, done.err) == (
            2,
            f"error: the cache size is {wrong!r}; expected a number and a unit, such as 20GB or 500MB\n",
        )


@pytest.mark.full_size
def test_twenty_kills_at_full_size(project: Project) -> None:
    project.set(**{"synthesize.clips": 50_620})
    project.set(**{"store.shard_clips": 256, "store.chunk_clips": 32})
    for stage in ("synthesize", "split"):
        assert project.stage(stage).code == 0
    cache = project.folder / ".cache/features"
    rng = random.Random(0)
    before = shards(cache)  # of waveforms
    in_hand = kills = lost = 0
    for name, most, times in (("train", 159, 12), ("validation", 20, 4), ("test", 20, 4)):
        base = len(before)
        for target in sorted(rng.sample(range(most - WORKERS), times)):
            kills += kill_at(project, name, base + target)
            after = shards(cache)
            partial = len(list((cache / "partial").glob("*")))
            print(f"{name}: killed with {len(after) - base} of {most} shards finished, {partial - in_hand} in hand")
            assert before.items() <= after.items(), "a finished shard was lost or computed again"
            assert partial - in_hand <= WORKERS
            before, in_hand = after, partial
        done = project.stage("featurize", name)
        assert done.code == 0, done.err
        print(done.out.strip())
        lost += in_hand
        before, in_hand = shards(cache), 0
    assert kills == 20
    print(f"{kills} kills cost {lost} shards begun again")
    assert list((cache / "partial").glob("*")) == [], "what killed runs left half written is still there"
    resumed = {name: contents_digest(project.folder / f"data/features/{name}.zarr") for name in SETS}
    shutil.rmtree(cache)
    for name in SETS:
        assert ", 0 reused" in project.stage("featurize", name).out
        assert contents_digest(project.folder / f"data/features/{name}.zarr") == resumed[name]


def contents_digest(path: Path) -> dict[str, str]:
    from features.store.shard import checksum

    return {str(file.relative_to(path)): checksum(file).digest for file in path.rglob("*") if file.is_file()}
