import os
import threading
from pathlib import Path

import pytest

from features.store.cache import ShardCache, Usage
from features.store.shard import Checksum, checksum_of


def add(cache: ShardCache, key: str, content: bytes, target: Path) -> Checksum:
    def write(file) -> Checksum:
        file.write(content)
        return checksum_of(content)

    return cache.add(key, target, write)


@pytest.fixture
def cache(tmp_path: Path) -> ShardCache:
    return ShardCache(tmp_path / "cache")


def test_what_was_added_is_taken(cache: ShardCache, tmp_path: Path) -> None:
    assert cache.take("ab01", tmp_path / "none") is None
    written = add(cache, "ab01", b"shard", tmp_path / "a")
    assert cache.take("ab01", tmp_path / "b") == written == checksum_of(b"shard")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() == b"shard"
    assert cache.take("ab0", tmp_path / "none") is None
    assert not (tmp_path / "none").exists()


def test_an_entry_that_vanishes_while_it_is_looked_up_is_not_there(cache: ShardCache) -> None:
    """As when another process prunes: the name was listed, the file is gone."""
    (cache.folder / "ab").mkdir(parents=True)
    (cache.folder / f"ab/ab01.{0:032}").symlink_to("nowhere")
    assert cache.find("ab01") is None
    assert cache.take("ab01", None) is None


def test_a_link_in_the_place_of_an_entry_is_none(cache: ShardCache, tmp_path: Path) -> None:
    """It would be linked into stores as it is, where it may lead nowhere."""
    add(cache, "ab01", b"shard", tmp_path / "0")
    (entry,) = cache.entries()
    entry.rename(tmp_path / "moved")
    entry.symlink_to(tmp_path / "moved")
    assert cache.take("ab01", tmp_path / "1") is None
    assert cache.entries() == []
    add(cache, "ab01", b"shard", tmp_path / "2")
    assert cache.take("ab01", tmp_path / "3")


def test_a_failing_write_leaves_nothing(cache: ShardCache, tmp_path: Path) -> None:
    def write(file) -> Checksum:
        file.write(b"half")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        cache.add("ab01", tmp_path / "0", write)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("damage", [b"shar", b"sharD", b"", b"shard!"])
def test_a_damaged_entry_is_not_taken_and_is_replaced_by_the_next(
    cache: ShardCache, tmp_path: Path, damage: bytes
) -> None:
    add(cache, "ab01", b"shard", tmp_path / "0")
    (entry,) = cache.entries()
    entry.unlink()
    entry.write_bytes(damage)
    assert cache.take("ab01", tmp_path / "1") is None
    assert not (tmp_path / "1").exists()
    add(cache, "ab01", b"shard", tmp_path / "2")
    assert cache.entries() == [entry]
    assert cache.take("ab01", tmp_path / "3")
    assert (tmp_path / "3").read_bytes() == b"shard"


def test_an_intact_entry_is_taken_beside_a_damaged_one_of_the_same_key(cache: ShardCache, tmp_path: Path) -> None:
    """As where a computation gives other bytes each time, such as a training."""
    contents = {b"first", b"second"}
    for content in contents:
        add(cache, "ab01", content, tmp_path / "0")
    for damaged in cache.entries():
        before = damaged.read_bytes()
        damaged.chmod(0o644)
        damaged.write_bytes(b"")
        assert cache.take("ab01", tmp_path / "1")
        assert {(tmp_path / "1").read_bytes()} == contents - {before}
        damaged.write_bytes(before)


def test_the_least_recently_used_go_first(cache: ShardCache, tmp_path: Path) -> None:
    for number in range(5):
        add(cache, f"a{number}", bytes(100), tmp_path / str(number))
        (entry,) = cache.folder.glob(f"a{number}/*")
        os.utime(entry, ns=(number * 10**9, entry.stat().st_mtime_ns))
    modified = {path: path.stat().st_mtime_ns for path in cache.entries()}
    assert cache.take("a1", tmp_path / "again")
    assert cache.prune(250) == Usage(3, 300)
    assert sorted(path.name[:2] for path in cache.entries()) == ["a1", "a4"]
    assert all(path.stat().st_mtime_ns == modified[path] for path in cache.entries())
    assert cache.prune(250) == Usage(0, 0)
    assert all((tmp_path / str(number)).exists() for number in range(5))  # stores keep what they have


def test_prune_removes_what_killed_runs_left_and_nothing_else(cache: ShardCache, tmp_path: Path) -> None:
    add(cache, "ab", b"shard", tmp_path / "0")
    partials = cache.folder / "partial"
    killed, mine = partials / ("0" * 32), partials / "mine.txt"
    killed.write_bytes(b"1")
    mine.write_text("no partial file")

    def write(file) -> Checksum:
        cache.prune(10**6)
        assert len(list(partials.iterdir())) == 3, "nothing is removed while this is being written"
        return checksum_of(b"")

    cache.add("cd", tmp_path / "1", write)
    cache.prune(10**6)
    assert list(partials.iterdir()) == [mine]


def test_pruning_to_nothing_removes_all_and_only_the_cache(cache: ShardCache, tmp_path: Path) -> None:
    for number in range(3):
        add(cache, f"a{number}", bytes(10), tmp_path / str(number))
    mine = cache.folder / "aa/mine.txt"
    mine.parent.mkdir()
    mine.write_text("not a shard")
    assert cache.prune(0) == Usage(3, 30)
    assert mine.exists()
    assert cache.usage() == Usage(0, 0)
    assert (tmp_path / "0").exists()


def test_a_file_system_without_links_gets_copies(cache: ShardCache, tmp_path: Path) -> None:
    """/dev/shm is another file system than the temporary folder, so no hard link can reach it."""
    shared = Path("/dev/shm")
    if not shared.is_dir() or shared.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("needs a second file system")
    target = shared / f"cache-test-{os.getpid()}"
    try:
        add(cache, "ab", b"shard", target)
        assert target.read_bytes() == b"shard"
        assert target.stat().st_nlink == 1
        assert target.stat().st_mode & 0o222 == 0
    finally:
        target.unlink(missing_ok=True)


def test_many_may_add_and_take_the_same_at_once(cache: ShardCache, tmp_path: Path) -> None:
    content = os.urandom(1 << 20)
    failed: list[BaseException] = []

    def use(worker: int) -> None:
        try:
            for round_ in range(20):
                target = tmp_path / f"{worker}-{round_}"
                if cache.take("ab", target) is None:
                    add(cache, "ab", content, target)
                assert target.read_bytes() == content
                if worker == 0:
                    cache.prune(0)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=use, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
