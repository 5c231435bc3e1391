import os
import threading
import time
from pathlib import Path
from socket import gethostname

import numpy as np
import pytest

from features.store.cache import ShardCache, Usage
from features.store.layout import StoreSpec
from features.store.shard import Checksum, checksum_of, write_shard

LAYOUT = StoreSpec(dtype="float32", chunk_clips=8, shard_clips=32, codec="lz4")


def add(cache: ShardCache, key: str, content: bytes, target: Path) -> Checksum:
    def write(file) -> Checksum:
        file.write(content)
        return checksum_of(content)

    return cache.add(key, target, write)


@pytest.fixture
def cache(tmp_path: Path) -> ShardCache:
    return ShardCache(tmp_path / "cache")


def test_what_was_added_is_taken(cache: ShardCache, tmp_path: Path) -> None:
    assert cache.take("ab01", tmp_path / "none", LAYOUT) is None
    written = add(cache, "ab01", b"shard", tmp_path / "a")
    assert cache.take("ab01", tmp_path / "b", LAYOUT) == written == checksum_of(b"shard")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() == b"shard"
    assert cache.take("ab0", tmp_path / "none", LAYOUT) is None
    assert not (tmp_path / "none").exists()


def test_an_entry_that_vanishes_while_it_is_looked_up_is_not_there(cache: ShardCache) -> None:
    """As when another process prunes: the name was listed, the file is gone."""
    (cache.folder / "ab").mkdir(parents=True)
    (cache.folder / f"ab/ab01.{0:032}").symlink_to("nowhere")
    assert cache.find("ab01") is None
    assert cache.take("ab01", None, LAYOUT) is None


def test_a_link_in_the_place_of_an_entry_is_none(cache: ShardCache, tmp_path: Path) -> None:
    """It would be linked into stores as it is, where it may lead nowhere."""
    add(cache, "ab01", b"shard", tmp_path / "0")
    (entry,) = cache.entries()
    entry.rename(tmp_path / "moved")
    entry.symlink_to(tmp_path / "moved")
    assert not cache.holds("ab01", LAYOUT)
    assert cache.take("ab01", tmp_path / "1", LAYOUT) is None
    assert cache.entries() == []
    add(cache, "ab01", b"shard", tmp_path / "2")
    assert cache.take("ab01", tmp_path / "3", LAYOUT)


def test_holding_is_what_taking_would_find_and_changes_nothing(cache: ShardCache, tmp_path: Path) -> None:
    assert not cache.holds("ab01", LAYOUT)
    add(cache, "ab01", b"shard", tmp_path / "0")
    assert cache.holds("ab01", LAYOUT)
    (entry,) = cache.entries()
    entry.chmod(0o644)
    entry.write_bytes(b"sharD")
    assert not cache.holds("ab01", LAYOUT)
    assert cache.entries() == [entry], "it is for a run to throw it away"


def test_a_failing_write_leaves_nothing(cache: ShardCache, tmp_path: Path) -> None:
    def write(file) -> Checksum:
        file.write(b"half")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        cache.add("ab01", tmp_path / "0", write)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("damage", [b"shar", b"sharD", b"", b"shard!"])
def test_a_damaged_entry_is_thrown_away(cache: ShardCache, tmp_path: Path, damage: bytes) -> None:
    add(cache, "ab01", b"shard", tmp_path / "0")
    (entry,) = cache.entries()
    entry.unlink()
    entry.write_bytes(damage)
    assert cache.take("ab01", tmp_path / "1", LAYOUT) is None
    assert cache.entries() == []
    assert not (tmp_path / "1").exists()


def chunked(cache: ShardCache, key: str, target: Path) -> Checksum:
    values = np.random.default_rng(0).standard_normal((20, 5)).astype(np.float32)
    return cache.add(key, target, lambda file: write_shard(file, [values[:8], values[8:16], values[16:]], LAYOUT))


def rot(path: Path) -> None:
    """Change a byte as a disk does that goes bad: no clock tells."""
    content = bytearray(path.read_bytes())
    content[3] ^= 1
    write_in_place(path, bytes(content), path.stat().st_mtime_ns)


def write_in_place(path: Path, content: bytes, modified_ns: int) -> None:
    path.chmod(0o644)
    path.write_bytes(content)
    os.utime(path, ns=(modified_ns, modified_ns))


def test_an_entry_that_nobody_wrote_to_is_taken_unread(cache: ShardCache, tmp_path: Path) -> None:
    written = chunked(cache, "ab", tmp_path / "0")
    (entry,) = cache.entries()
    rot(entry)
    for again in ("1", "2"):  # a link more and another time of use are no writing
        taken = cache.take("ab", tmp_path / again, LAYOUT)
        assert taken == written
        assert taken.chunks == written.chunks
    (record,) = (cache.folder / "records").iterdir()
    content = record.read_bytes()
    wary = cache.distrust()
    assert not record.exists()
    record.write_bytes(content)  # as if it were somebody else's, and could not be removed
    assert cache.take("ab", None, LAYOUT) == written
    assert wary.take("ab", None, LAYOUT) is None
    assert cache.entries() == []


def test_an_entry_that_was_written_to_is_read(cache: ShardCache, tmp_path: Path) -> None:
    written = chunked(cache, "ab", tmp_path / "0")
    (entry,) = cache.entries()
    right = entry.read_bytes()
    write_in_place(entry, right, 10**18)
    taken = cache.take("ab", None, LAYOUT)
    assert taken == written
    assert taken.chunks == written.chunks
    rot(entry)
    assert cache.take("ab", None, LAYOUT) == written  # it was read when its time was this
    write_in_place(entry, entry.read_bytes(), 10**18 + 1)
    assert cache.take("ab", None, LAYOUT) is None
    assert list((cache.folder / "records").iterdir()) == []


def test_what_was_just_written_to_is_read_again(cache: ShardCache, tmp_path: Path) -> None:
    """Another change within a tick of the file system's clock would not show."""
    chunked(cache, "ab", tmp_path / "0")
    (entry,) = cache.entries()
    write_in_place(entry, entry.read_bytes(), time.time_ns())
    assert cache.take("ab", None, LAYOUT)
    rot(entry)
    assert cache.take("ab", None, LAYOUT) is None


def test_a_write_that_fails_at_the_end_leaves_no_record(cache: ShardCache, tmp_path: Path) -> None:
    """As on network disks, which tell of a full disk when a file is closed."""

    def write(file) -> Checksum:
        written = write_shard(file, [np.zeros((8, 5), np.float32)], LAYOUT)
        file.flush()
        os.close(file.fileno())  # so that closing it fails
        return written

    with pytest.raises(OSError, match="Bad file descriptor"):
        cache.add("ab", tmp_path / "0", write)
    assert not (cache.folder / "records").exists()


def test_a_damaged_record_is_none(cache: ShardCache, tmp_path: Path) -> None:
    written = chunked(cache, "ab", tmp_path / "0")
    (entry,) = cache.entries()
    os.utime(entry, ns=(10**18, 10**18))
    assert cache.take("ab", None, LAYOUT)
    (record,) = (cache.folder / "records").iterdir()
    right = record.read_bytes()
    assert all(chunk.encode() in right for chunk in written.chunks)
    damages = [b"", right[:-1], right[: len(right) // 2], b"\xff" + right, b" ", b"0 0 0 "]
    damages += [right[:at] + bytes([right[at] ^ 1]) + right[at + 1 :] for at in range(len(right))]
    for damage in damages:
        record.write_bytes(damage)
        taken = cache.take("ab", None, LAYOUT)
        assert taken == written
        assert taken.chunks == written.chunks
        assert record.read_bytes() == right
    rot(entry)
    record.unlink()
    assert cache.take("ab", None, LAYOUT) is None


def test_records_go_with_their_entries(cache: ShardCache, tmp_path: Path) -> None:
    for number in range(3):
        add(cache, f"a{number}", bytes([number]), tmp_path / str(number))
    records = cache.folder / "records"
    mine = records / "mine.txt"
    mine.write_text("not a record")
    os.utime(next(cache.folder.glob("a0/*")), ns=(0, 0))
    assert cache.prune(2) == Usage(1, 1)
    assert {path.name for path in records.iterdir()} == {path.name for path in cache.entries()} | {mine.name}
    next(cache.folder.glob("a1/*")).unlink()
    assert cache.prune(2) == Usage(0, 0)
    assert {path.name for path in records.iterdir()} == {path.name for path in cache.entries()} | {mine.name}
    assert cache.clear() == Usage(1, 1)
    assert [path.name for path in records.iterdir()] == [mine.name]


def test_a_record_that_cannot_be_kept_is_none(cache: ShardCache, tmp_path: Path) -> None:
    cache.folder.mkdir()
    (cache.folder / "records").write_text("in the way")
    written = chunked(cache, "ab", tmp_path / "0")
    taken = cache.take("ab", tmp_path / "1", LAYOUT)
    assert taken == written
    assert taken.chunks == written.chunks
    cache.clear()
    assert (cache.folder / "records").read_text() == "in the way"


def test_the_least_recently_used_go_first(cache: ShardCache, tmp_path: Path) -> None:
    for number in range(5):
        add(cache, f"a{number}", bytes(100), tmp_path / str(number))
        (entry,) = cache.folder.glob(f"a{number}/*")
        os.utime(entry, ns=(number * 10**9, entry.stat().st_mtime_ns))
    modified = {path: path.stat().st_mtime_ns for path in cache.entries()}
    assert cache.take("a1", tmp_path / "again", LAYOUT)
    assert cache.prune(250) == Usage(3, 300)
    assert sorted(path.name[:2] for path in cache.entries()) == ["a1", "a4"]
    assert all(path.stat().st_mtime_ns == modified[path] for path in cache.entries())
    assert cache.prune(250) == Usage(0, 0)
    assert all((tmp_path / str(number)).exists() for number in range(5))  # stores keep what they have


def test_keys_with_the_same_bytes_share_a_file(cache: ShardCache, tmp_path: Path) -> None:
    """As when code changes and its numbers do not: then DVC knows the file, and the disk holds it once."""
    add(cache, "ab", bytes(100), tmp_path / "0")
    other = ShardCache(cache.folder)
    add(other, "cd", bytes(100), tmp_path / "1")
    add(other, "ef", bytes(99), tmp_path / "2")
    (first,), (second,) = cache.folder.glob("ab/*"), cache.folder.glob("cd/*")
    assert first.samefile(second)
    assert first.samefile(tmp_path / "1")
    assert cache.usage() == Usage(3, 199)
    assert list((cache.folder / "partial").iterdir()) == []
    assert {path.name for path in (cache.folder / "records").iterdir()} == {path.name for path in cache.entries()}
    second.unlink()
    second.write_bytes(bytes(99) + b"1")  # damaged
    first.unlink()
    add(ShardCache(cache.folder), "01", bytes(100), tmp_path / "3")
    assert (tmp_path / "3").read_bytes() == bytes(100)


def test_a_shared_file_counts_as_just_used(cache: ShardCache, tmp_path: Path) -> None:
    add(cache, "ab", bytes(100), tmp_path / "0")
    (entry,) = cache.entries()
    os.utime(entry, (time.time() + 3600, entry.stat().st_mtime))  # a time to come, which reading alone does not change
    add(ShardCache(cache.folder), "cd", bytes(100), tmp_path / "1")
    assert entry.samefile(tmp_path / "1")
    assert abs(entry.stat().st_atime - time.time()) < 60


def test_room_is_made_by_files_not_by_names(cache: ShardCache, tmp_path: Path) -> None:
    add(cache, "ab", bytes(100), tmp_path / "0")
    add(ShardCache(cache.folder), "cd", bytes(100), tmp_path / "1")
    add(cache, "ef", bytes(50), tmp_path / "2")
    for path, second in ((next(cache.folder.glob("ab/*")), 1), (next(cache.folder.glob("ef/*")), 2)):
        os.utime(path, ns=(second * 10**9, path.stat().st_mtime_ns))
    assert cache.prune(150) == Usage(0, 0)
    assert cache.prune(149) == Usage(2, 100)
    assert [path.parent.name for path in cache.entries()] == ["ef"]


def test_partial_files_of_killed_runs_go_in_time(cache: ShardCache, tmp_path: Path) -> None:
    add(cache, "ab", b"shard", tmp_path / "0")
    here = cache.folder / f"partial/{gethostname()}.killed"
    old, new = cache.folder / "partial/elsewhere.old", cache.folder / "partial/elsewhere.new"
    for path in (here, old, new):
        path.write_bytes(b"1")
    os.utime(old, (0, time.time() - 2 * 24 * 3600))

    def write(file) -> Checksum:
        cache.prune(10**6)
        (live,) = (path for path in here.parent.glob(f"{gethostname()}.*") if path != here)
        assert live.exists()
        assert not here.exists()
        return checksum_of(b"")

    cache.add("cd", tmp_path / "1", write)
    assert [path.name for path in here.parent.iterdir()] == [new.name]


def test_clearing_removes_all_and_only_the_cache(cache: ShardCache, tmp_path: Path) -> None:
    for number in range(3):
        add(cache, f"a{number}", bytes(10), tmp_path / str(number))
    mine = cache.folder / "aa/mine.txt"
    mine.parent.mkdir()
    mine.write_text("not a shard")
    assert cache.clear() == Usage(3, 30)
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
                if cache.take("ab", target, LAYOUT) is None:
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
