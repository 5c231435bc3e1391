import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from features.publish import publish, scratch


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
    old = tmp_path / "b.zarr"
    old.mkdir()
    (old / "c").write_text("old")

    def fail() -> None:
        with publish(old, tmp_path / "a") as (aside, other):
            aside.mkdir()
            other.write_text("new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["b.zarr", "c"]
    assert (old / "c").read_text() == "old"


def test_what_a_killed_run_left_is_replaced(tmp_path: Path) -> None:
    target = tmp_path / "b.zarr"
    with publish(target) as (aside,):
        place = aside
        aside.mkdir()
    place.mkdir(parents=True)
    (place / "half").write_text("written")
    with publish(target) as (aside,):
        assert not aside.exists()
        aside.mkdir()
    assert list(target.iterdir()) == []


def test_scratch_is_gone_afterwards(tmp_path: Path) -> None:
    with scratch(tmp_path / "new" / "large") as path:
        path.write_text("much")
    assert not path.exists()


HOLD = """
import sys, time
from pathlib import Path
from features.publish import publish
target = Path(sys.argv[1])
with publish(target, waiting=lambda target: print("waiting", flush=True)) as (aside,):
    aside.mkdir()
    print("inside", flush=True)
    time.sleep(float(sys.argv[3]))
    (aside / "who").write_text(sys.argv[2])
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
            assert (tmp_path / "a/who").read_text() == "first"
            assert (first.wait(), second.wait()) == (0, 0)
    assert (tmp_path / "a/who").read_text() == "second"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_nobody_waits_for_a_run_that_was_killed(tmp_path: Path) -> None:
    with hold(tmp_path / "a", "first", 60) as first:
        assert line(first) == "inside"
        with hold(tmp_path / "a", "second", 0) as second:
            assert line(second) == "waiting"
            first.kill()
            assert line(second) == "inside"
            assert second.wait() == 0
    assert (tmp_path / "a/who").read_text() == "second"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
