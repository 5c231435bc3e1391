"""What ``features explain`` says before a run is what the run then does, in a real git and DVC repository."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Project, make_arrays

from features.sets import SETS

CLIPS = 600
SHARDS = {"train": 15, "validation": 2, "test": 2}


@pytest.fixture(scope="module")
def project(make_repository: Callable[[], Project]) -> Project:
    """A repository whose features are made, with an npz of its own."""
    project = make_repository()
    project.save_npz(make_arrays(CLIPS // 12))
    repro(project)
    return project


def repro(project: Project, env: dict[str, str] | None = None, *options: str) -> dict[str, tuple[int, int]]:
    """Run featurize; shards computed and reused of each set that ran."""
    stages = [f"featurize@{name}" for name in SETS]
    done = project.run("dvc", "repro", "--no-run-cache", *options, *stages, env=env)
    assert done.code == 0, done.out + done.err
    found = re.findall(r"clips of (\w+), each .*?, (\d+) shards computed, (\d+) reused", done.out)
    return {name: (int(computed), int(reused)) for name, computed, reused in found}


def explain(project: Project, *arguments: str, env: dict[str, str] | None = None) -> dict[str, Any]:
    done = project.run("python", "-m", "pipeline.features_command", "explain", "--json", *arguments, env=env)
    assert done.code == 0, done.err
    return json.loads(done.out)


def agrees(said: dict[str, Any], did: dict[str, tuple[int, int]]) -> None:
    """What was said of each set is what happened to it."""
    assert {name for name, answer in said.items() if answer["runs"]} == set(did)
    for name, (computed, reused) in did.items():
        assert (said[name]["computed"], said[name]["reused"]) == (computed, reused), name


def edit_code(project: Project, old: str, new: str) -> None:
    path = project.folder / "features/transform.py"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def edit_clip(project: Project) -> None:
    with np.load(project.folder / "input.npz") as npz:
        arrays = dict(npz)
    arrays["wav_vals"][77, 4000:] = 0
    project.save_npz(arrays)


def relabel(project: Project) -> None:
    with np.load(project.folder / "input.npz") as npz:
        arrays = dict(npz)
    rows = np.flatnonzero(arrays["label_vals"][:, 0] == "yes")[:2]
    arrays["label_vals"][rows] = "no"
    project.save_npz(arrays)


# what changes                                                 | shards computed | what is said to be the reason
CHANGES: list[tuple[Callable[[Project], object], int | None, str]] = [
    (lambda p: None, 0, ""),
    (lambda p: p.set(**{"features.n_fft": 128}), 19, "features.n_fft: 258 -> 128"),
    (lambda p: p.set(**{"features.n_fft": 258}), 0, "features.n_fft: 128 -> 258"),
    (lambda p: p.set(**{"store.dtype": "float16"}), 19, "store.dtype: float32 -> float16"),
    (lambda p: p.set(**{"store.dtype": "float32"}), 0, "store.dtype: float16 -> float32"),
    (lambda p: None, 0, ""),
    (edit_clip, 1, "1 clip has other samples (rows 77)"),
    (lambda p: p.set(**{"split.seed": 5}), None, "split.seed: 0 -> 5"),
    (lambda p: edit_code(p, "# one longer", "# by one longer"), 0, "features/transform.py is modified"),
    (lambda p: edit_code(p, "[:-1].astype", "[0:-1].astype"), 19, "the code that computes features"),
]


@pytest.mark.parametrize("number", range(len(CHANGES)))
def test_what_is_said_is_what_happens(project: Project, number: int) -> None:
    change, computed, reason = CHANGES[number]
    change(project)
    said = explain(project)
    assert {name: answer["shards"] for name, answer in said.items()} == SHARDS
    if computed is not None:
        assert sum(answer["computed"] for answer in said.values()) == computed
    assert reason in "\n".join(line for answer in said.values() for line in answer["why"])
    agrees(said, repro(project))


def test_an_upgraded_library(project: Project, tmp_path: Path) -> None:
    """Metadata of another numpy comes first on the path; its numbers are the same, but nobody can know."""
    info = tmp_path / "numpy-9.9.9.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 9.9.9\n")
    said = explain(project, "test", env={"PYTHONPATH": str(tmp_path)})
    assert list(said) == ["test"]
    assert said["test"]["computed"] == SHARDS["test"]
    assert said["test"]["why"] == [
        "library numpy: 1.26.4 -> 9.9.9 "
        "(DVC does not look at that; to compute it anew: dvc repro --force featurize@test)"
    ]
    env = {"PYTHONPATH": str(tmp_path)}
    assert not said["test"]["runs"]
    assert repro(project, env) == {}
    assert repro(project, env, "--force", "--single-item") == {name: (count, 0) for name, count in SHARDS.items()}
    assert repro(project, None, "--force", "--single-item") == {name: (0, count) for name, count in SHARDS.items()}


def test_a_damaged_output_is_left_to_dvc(project: Project) -> None:
    (project.folder / "data/features/test.zarr/label/c/0").unlink()
    said = explain(project, "test")
    assert "data/features/test.zarr is modified; DVC restores it from its own cache" in said["test"]["why"]
    assert not said["test"]["runs"]
    agrees(said, repro(project))


def test_an_emptied_cache_is_said(project: Project) -> None:
    cleared = project.run("python", "-m", "pipeline.features_command", "cache", "clear")
    assert re.match(r"cache: removed \d+ shards, \d+ MB", cleared.out)
    said = explain(project)
    assert not any(answer["runs"] for answer in said.values())
    agrees(said, repro(project))
    edit_code(project, "# by one longer", "# longer by one")
    said = explain(project)
    assert (said["test"]["computed"], said["test"]["reused"]) == (SHARDS["test"], 0)
    assert "2 shards are not in the cache any more" in said["test"]["why"]
    assert said["train"]["bytes"] > 10**6
    agrees(said, repro(project))


def test_a_deleted_store_is_left_to_dvc(project: Project) -> None:
    shutil.rmtree(project.folder / "data/features/test.zarr")
    said = explain(project, "test")
    assert said["test"]["why"] == ["data/features/test.zarr is deleted; DVC restores it from its own cache"]
    agrees(said, repro(project))
    assert (project.folder / "data/features/test.zarr").exists()


def test_a_dvc_that_cannot_answer_is_not_taken_for_none(project: Project) -> None:
    path = project.folder / "dvc.yaml"
    good = path.read_text()
    path.write_text(good + "nonsense")
    done = project.run("python", "-m", "pipeline.features_command", "explain")
    path.write_text(good)
    assert done.code == 2
    assert done.err.startswith("error: DVC cannot tell what has changed (")


def test_people_are_told_in_a_line_and_its_reasons(project: Project) -> None:
    project.set(**{"features.hop_length": 32})
    done = project.run("python", "-m", "pipeline.features_command", "explain", "validation")
    assert done.code == 0, done.err
    assert re.search(
        r"^validation: 2 of 2 shards to compute, 0 to reuse; about \d+ s, \d+ MB to write$", done.out, re.MULTILINE
    )
    assert "  because features.hop_length: 64 -> 32" in done.out
    project.set(**{"features.hop_length": 64})


def test_without_any_data(make_repository: Callable[[], Project]) -> None:
    project = make_repository()
    done = project.run("python", "-m", "pipeline.features_command", "explain")
    assert done.code == 2
    assert done.err.startswith("error: the corpus is to be made anew")
    project.save_npz(make_arrays(10))
    said = explain(project)
    assert said["train"]["why"] == ["there are no features of this set yet"]
    agrees(said, repro(project))
    done = project.run("python", "-m", "pipeline.features_command", "explain", "trian")
    assert (done.code, done.err) == (2, "error: there is no set 'trian'; expected one of train, validation, test\n")
