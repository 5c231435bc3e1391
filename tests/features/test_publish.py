from pathlib import Path

import pytest

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
        pass_on = aside
        aside.mkdir()
    pass_on.mkdir()
    (pass_on / "half").write_text("written")
    with publish(target) as (aside,):
        assert not aside.exists()
        aside.mkdir()
    assert list(target.iterdir()) == []


def test_scratch_is_gone_afterwards(tmp_path: Path) -> None:
    with scratch(tmp_path / "new" / "large") as path:
        path.write_text("much")
    assert not path.exists()
