import os
import socket
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import ROOT, contents, everything, write_waveforms

from features.errors import InputError
from features.store.publish import publish, refuse_existing, scratch


def test_files_and_folders_appear_together(tmp_path: Path) -> None:
    file, folder = tmp_path / "new" / "a.json", tmp_path / "b.zarr"
    with publish(file, folder) as (file_aside, folder_aside):
        file_aside.write_text("1")
        folder_aside.mkdir()
        (folder_aside / "c").write_text("2")
        assert not file.exists()
        assert file_aside.suffix == ".json"
    assert (file.read_text(), (folder / "c").read_text()) == ("1", "2")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.json", "b.zarr", "c", "new"]


def test_failing_leaves_what_was_there_and_nothing_else(tmp_path: Path) -> None:
    old = write_waveforms(tmp_path / "b.zarr", 3)
    before = contents(tmp_path)

    def fail() -> None:
        with publish(old, tmp_path / "a") as (staged, other):
            staged.mkdir()
            other.write_text("new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert contents(tmp_path) == before


def test_a_store_replaces_a_store(tmp_path: Path) -> None:
    target = write_waveforms(tmp_path / "b.zarr", 3, seed=0)
    with publish(target) as (staged,):
        write_waveforms(staged, 3, seed=1)
    assert contents(target) == contents(write_waveforms(tmp_path / "c.zarr", 3, seed=1))


def socket_at(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


FOREIGN: dict[str, tuple[Callable[[Path], object], str]] = {
    "folder": (lambda path: (path.mkdir(), (path / "thesis.txt").write_text("x")), "is a folder"),
    "empty folder": (lambda path: path.mkdir(), "is a folder"),
    "link to a folder": (lambda path: path.symlink_to(path.parent / "precious"), "is a link"),
    "link to a file": (lambda path: path.symlink_to(path.parent / "precious/file"), "is a link"),
    "link to nothing": (lambda path: path.symlink_to("nowhere"), "is a link"),
    "pipe": (os.mkfifo, "is a named pipe"),
    "socket": (socket_at, "is a socket"),
}


@pytest.mark.parametrize("name", ["out.npz", "out.zarr"])
@pytest.mark.parametrize("kind", FOREIGN)
def test_publish_leaves_what_is_not_ours(tmp_path: Path, kind: str, name: str) -> None:
    make, said = FOREIGN[kind]
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious/file").write_text("x")
    make(tmp_path / name)
    before = everything(tmp_path)
    with pytest.raises(InputError, match=f"{name} {said}"), publish(tmp_path / name):
        pytest.fail("the block was entered")
    assert everything(tmp_path) == before


def test_publish_leaves_what_appeared_meanwhile(tmp_path: Path) -> None:
    def make_both() -> None:
        with publish(tmp_path / "a", tmp_path / "b") as (one, other):
            one.write_text("new")
            other.write_text("new")
            (tmp_path / "b").mkdir()

    with pytest.raises(InputError, match="is a folder"):
        make_both()
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_publish_leaves_a_file_where_a_store_should_be_and_a_damaged_manifest(tmp_path: Path) -> None:
    (tmp_path / "out.zarr").write_bytes(b"precious")
    with pytest.raises(InputError, match="is a file; expected nothing or a store"), publish(tmp_path / "out.zarr"):
        pass
    store = write_waveforms(tmp_path / "w.zarr", 3)
    (store / "manifest.json").write_text("{}")
    with pytest.raises(InputError, match=r"w.zarr is a folder whose manifest .*move it away"), publish(store):
        pass
    assert (tmp_path / "out.zarr").read_bytes() == b"precious"
    assert (store / "manifest.json").read_text() == "{}"


def test_refuse_existing_asks_for_force_and_spares_what_is_read_only(tmp_path: Path) -> None:
    file = tmp_path / "a.npz"
    refuse_existing(file, force=False)
    file.write_text("x")
    with pytest.raises(InputError, match=r"a\.npz exists already.*--force"):
        refuse_existing(file, force=False)
    refuse_existing(file, force=True)
    file.chmod(0o444)
    with pytest.raises(InputError, match=r"a\.npz is read-only"):
        refuse_existing(file, force=True)


def test_what_a_killed_run_left_is_replaced(tmp_path: Path) -> None:
    target = tmp_path / "b"
    with publish(target) as (aside,):
        place = aside
        aside.write_text("1")
    place.mkdir(parents=True)
    (place / "half").write_text("written")
    with publish(target) as (aside,):
        assert not aside.exists()
        aside.write_text("2")
    assert target.read_text() == "2"
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_scratch_is_gone_afterwards(tmp_path: Path) -> None:
    with scratch(tmp_path / "new" / "large") as path:
        path.write_text("much")
    assert not path.exists()


HOLD = """
import sys, time
from pathlib import Path
from features.store.publish import publish
target = Path(sys.argv[1])
with publish(target, waiting=lambda target: print("waiting", flush=True)) as (aside,):
    print("inside", flush=True)
    time.sleep(float(sys.argv[3]))
    aside.write_text(sys.argv[2])
"""


def hold(target: Path, who: str, seconds: float) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", HOLD, str(target), who, str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)


def line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def test_a_second_run_waits_for_the_first(tmp_path: Path) -> None:
    with hold(tmp_path / "a", "first", 1.0) as first:
        assert line(first) == "inside"
        with hold(tmp_path / "a", "second", 1.0) as second:
            assert line(second) == "waiting"
            assert not (tmp_path / "a").exists()
            assert line(second) == "inside"
            assert (tmp_path / "a").read_text() == "first"
            assert (first.wait(), second.wait()) == (0, 0)
    assert (tmp_path / "a").read_text() == "second"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_many_runs_at_once_take_turns(tmp_path: Path) -> None:
    target = tmp_path / "a"
    target.write_text("0")

    def count(_: int) -> None:
        with publish(target) as (staged,):
            staged.write_text(str(int(target.read_text()) + 1))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(count, range(400)))
    assert target.read_text() == "400"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_nobody_waits_for_a_run_that_was_killed(tmp_path: Path) -> None:
    with hold(tmp_path / "a", "first", 60) as first:
        assert line(first) == "inside"
        with hold(tmp_path / "a", "second", 0) as second:
            assert line(second) == "waiting"
            first.kill()
            assert line(second) == "inside"
            assert second.wait() == 0
    assert (tmp_path / "a").read_text() == "second"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
