"""An npz of the user's own, under whatever path they give: the run, experiments in copies, git, and what is refused."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import Project, make_arrays


@pytest.fixture(scope="module")
def repository(make_repository: Callable[[], Project]) -> Project:
    """A repository with own.npz in its folder, and the same beside it in a folder that serves as a home."""
    project = make_repository()
    home = project.folder.parent / f"home of {project.folder.name}"
    home.mkdir()
    arrays = make_arrays(10, speakers=20)
    for path in (project.folder / "own.npz", home / "home.npz"):
        np.savez(path, **arrays)
    return project


def home_of(project: Project) -> Path:
    return project.folder.parent / f"home of {project.folder.name}"


@pytest.mark.parametrize("where", ["inside", "outside", "relative", "home", "tracked"])
def test_it_is_split_and_an_experiment_in_a_copy_finds_it(repository: Project, where: str) -> None:
    path = {
        "inside": "own.npz",
        "outside": str(home_of(repository) / "home.npz"),
        "relative": os.path.relpath(home_of(repository) / "home.npz", repository.folder),
        "home": "~/home.npz",
        "tracked": "tracked.npz",
    }[where]
    if where == "tracked":
        shutil.copy(repository.folder / "own.npz", repository.folder / path)
        assert repository.run("dvc", "add", path).code == 0
    repository.set(**{"data.npz": path})
    env = {"HOME": str(home_of(repository)), "GIT_CONFIG_GLOBAL": os.devnull}
    done = repository.run("dvc", "repro", "split", env=env)
    assert done.code == 0, done.err
    assert "split: 120 clips" in done.out
    for command in (["git", "add", "--all"], ["git", "commit", "--quiet", "--message", where]):
        assert repository.run(*command).code == 0
    kept = repository.run("git", "ls-files").out.split()
    assert not [name for name in kept if name.endswith(".npz")]
    done = repository.run("dvc", "exp", "run", "--temp", "-S", "split.seed=1", "split", env=env)
    assert done.code == 0, done.err
    assert "split: 120 clips" in done.out


def test_a_change_of_it_is_seen(repository: Project) -> None:
    repository.set(**{"data.npz": "own.npz"})
    assert repository.run("dvc", "repro", "split").code == 0
    assert "Running stage" not in repository.run("dvc", "repro", "split").out
    np.savez(repository.folder / "own.npz", **make_arrays(11, speakers=20))
    done = repository.run("dvc", "repro", "split")
    assert "split: 132 clips" in done.out
    assert repository.run("dvc", "status", "split").out.strip() == "Data and pipelines are up to date."


def test_it_is_never_written_to(repository: Project) -> None:
    path = repository.folder / "own.npz"
    path.chmod(0o640)
    before = path.read_bytes(), path.stat().st_ino, path.stat().st_mode
    repository.set(**{"data.npz": "own.npz"})
    for command in ("repro --force split", "checkout --force split", "repro split", "exp run -S split.seed=2 split"):
        assert repository.run("dvc", *command.split()).code == 0
    assert (path.read_bytes(), path.stat().st_ino, path.stat().st_mode) == before


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("", "error: data.npz in params.yaml is empty; expected the path of an npz, such as data/demo/"),
        (
            "nothing.npz",
            "error: nothing.npz does not exist; expected an npz as numpy.savez writes it, so check data.npz",
        ),
        ("tests", "error: tests does not exist"),
        ("features", "error: features is a folder; expected an npz"),
        ("dvc.yaml", "error: dvc.yaml is not a zip file; expected an npz"),
    ],
)
def test_what_is_not_there_is_one_sentence(repository: Project, setting: str, sentence: str) -> None:
    repository.set(**{"data.npz": setting})
    done = repository.run("dvc", "repro", "split")
    assert done.code != 0
    assert sentence in done.err
    assert "Traceback" not in done.err
    assert "Errno" not in done.err
