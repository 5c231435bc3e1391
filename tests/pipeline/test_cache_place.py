from pathlib import Path

import pytest

from features.errors import InputError
from pipeline.shell.options import parse_size, shard_cache


@pytest.mark.parametrize("place", [".", ".dvc/tmp/exps/tmpabc", ".dvc/tmp/exps/standalone/tmpabc"])
def test_queued_experiments_share_the_projects_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    (tmp_path / place).mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(tmp_path / place)
    assert shard_cache(None).folder == tmp_path / ".cache/features"
    assert shard_cache(Path("/elsewhere")).folder == Path("/elsewhere")


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("20GB", 20 * 10**9), ("1.5 M", 1_500_000), ("3kB", 3000), ("2TB", 2 * 10**12)],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GB", "-1", "1e9", "20 GiB", "lots"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(InputError, match="expected a number and a unit, such as 20GB"):
        parse_size(text)


def test_a_store_has_the_cache_of_its_own_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project, here = tmp_path / "project", tmp_path / "here"
    store = project / "data/features/test.zarr"
    for folder in (store, here):
        folder.mkdir(parents=True)
    (project / "dvc.yaml").touch()
    (here / "link.zarr").symlink_to(store)
    monkeypatch.chdir(here)
    for path in (store, Path("link.zarr")):
        assert shard_cache(None, path).folder == project / ".cache/features"
    assert shard_cache(None, here).folder == here / ".cache/features"


def test_no_folder_of_other_things_is_a_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    for folder, sentence in (
        (Path(), "is the current folder"),
        (tmp_path, "is the current folder"),
        (Path("file"), "is a file"),
    ):
        with pytest.raises(InputError, match=sentence):
            shard_cache(folder)
