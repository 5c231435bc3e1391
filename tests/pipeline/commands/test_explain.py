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
from ruamel.yaml import YAML

from features.split.marks import Mark, save_mark
from features.split.sets import SETS
from features.store.reader import WaveformStore

CLIPS = 600
TRAIN_CLIPS = 480
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
    found = re.findall(r"clips of (\w+), each .*?, (\d+) shards? computed, (\d+) reused", done.out)
    return {name: (int(computed), int(reused)) for name, computed, reused in found}


def explain(project: Project, *arguments: str, env: dict[str, str] | None = None) -> dict[str, Any]:
    done = project.run("python", "-m", "pipeline.commands.features", "explain", "--json", *arguments, env=env)
    assert done.code == 0, done.err
    return json.loads(done.out)


def agrees(said: dict[str, Any], did: dict[str, tuple[int, int]]) -> None:
    """What was said of each set is what happened to it."""
    assert {name for name, answer in said.items() if answer["runs"]} == set(did)
    for name, (computed, reused) in did.items():
        assert (said[name]["computed"], said[name]["reused"]) == (computed, reused), name


def edit_code(project: Project, old: str, new: str) -> None:
    path = project.folder / "features/spectrogram.py"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def add_code(project: Project, module: str) -> None:
    path = project.folder / module
    path.write_text(path.read_text() + "\n_UNUSED = 1\n")


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


def mark_clips(project: Project) -> None:
    """Mark two clips of the train set."""
    store = WaveformStore.open(project.folder / "data/split/train.zarr")
    for clip in (3, 4):
        word = store.attributes["words"][store.labels[clip]]
        mark = Mark(store.digests[clip].tobytes().hex(), word, int(store.source_rows[clip]), "bad audio")
        save_mark(project.folder / "marks.tsv", mark)


# what changes                                                 | shards computed | what is said to be the reason
CHANGES: list[tuple[Callable[[Project], object], int | None, str]] = [
    (lambda p: None, 0, ""),
    (
        lambda p: p.set(**{"features.n_fft": 128, "store.dtype": "float16"}),
        19,
        "features.n_fft: 258 -> 128\nstore.dtype: float32 -> float16",
    ),
    (
        lambda p: p.set(**{"features.n_fft": 258, "store.dtype": "float32"}),
        0,
        "features.n_fft: 128 -> 258\nstore.dtype: float16 -> float32",
    ),
    (edit_clip, 1, "clips with other samples: 1 (rows 77)"),
    (relabel, None, "clips from other rows of the npz: "),
    (mark_clips, 15, f"the set has {TRAIN_CLIPS - 2} clips; it had {TRAIN_CLIPS}"),
    (lambda p: p.set(**{"split.leave_out": []}), 0, "split.leave_out: ['wrong label', 'bad audio'] -> []"),
    (lambda p: p.set(**{"split.seed": 5}), None, "split.seed: 0 -> 5"),
    (
        lambda p: edit_code(p, "# one longer", "# by one longer"),
        0,
        "features/spectrogram.py is modified",
    ),
    (
        lambda p: [add_code(p, f"features/{name}.py") for name in ("fingerprint", "store/cache")],
        0,
        "features/fingerprint.py is modified\nfeatures/store is modified",
    ),
    (lambda p: edit_code(p, "[:-1].astype", "[0:-1].astype"), 19, "the code that computes features changed"),
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
    assert said["test"]["bytes"] == 0, "nothing runs"
    assert said["test"]["why"] == [
        "library numpy: 1.26.4 -> 9.9.9 "
        "(DVC does not see this; to run anyway: dvc repro --force --single-item featurize@test)"
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


def test_an_emptied_cache(project: Project) -> None:
    cleared = project.run("python", "-m", "pipeline.commands.features", "cache", "clear")
    assert re.match(r"cache: removed \d+ shards, \d+ MB", cleared.out)
    said = explain(project)
    assert not any(answer["runs"] for answer in said.values())
    agrees(said, repro(project))
    edit_code(project, "# by one longer", "# longer by one")
    said = explain(project)
    assert (said["test"]["computed"], said["test"]["reused"]) == (SHARDS["test"], 0)
    assert "missing or damaged in the cache: 2 shards" in said["test"]["why"]
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
    done = project.run("python", "-m", "pipeline.commands.features", "explain")
    path.write_text(good)
    assert done.code == 2
    assert done.err.startswith("error: dvc status failed (")
    assert "dvc.yaml" in done.err, "the error, not the last line, which tells where to get help"


def test_what_dvc_has_lost_is_computed_again(project: Project) -> None:
    """The store is there, whole, but DVC could not restore it, and runs the stage."""
    shutil.rmtree(project.folder / ".dvc/cache/files/md5")
    said = explain(project)
    for name, answer in said.items():
        assert (answer["runs"], answer["computed"]) == (True, 0)
        assert answer["why"] == [f"data/features/{name}.zarr is missing from DVC's cache"]
    agrees(said, repro(project))


def test_what_dvc_would_restore_damaged(project: Project) -> None:
    """DVC takes a file that may not be written to for what it was, and links the very same one again."""
    shard = project.folder / "data/features/test.zarr/features/c.0.0.0"
    good = shard.read_bytes()
    shard.chmod(0o644)
    with shard.open("r+b") as file:
        file.write(b"ZZZZ")
    shard.chmod(0o444)
    (reason,) = explain(project, "test")["test"]["why"]
    assert reason.startswith("data/features/test.zarr is modified; shard 0")
    assert reason.endswith(
        "has other bytes than were written, and so may be the copy in DVC's cache; "
        "run: features verify --repair data/features/test.zarr"
    )
    repaired = project.run(
        "python", "-m", "pipeline.commands.features", "verify", "--repair", "data/features/test.zarr"
    )
    assert repaired.code == 0, repaired.err
    assert shard.read_bytes() == good
    said = explain(project, "test")
    assert not said["test"]["runs"]


def test_a_shard_that_was_written_to_is_computed_again(project: Project) -> None:
    """It is one file with that of the shard cache and that of DVC's."""
    shard = project.folder / "data/features/train.zarr/features/c.1.0.0"
    content = bytearray(shard.read_bytes())
    content[100] ^= 1
    shard.chmod(0o644)
    with shard.open("r+b") as file:
        file.write(content)
    said = explain(project)
    assert (said["train"]["computed"], said["train"]["reused"]) == (1, SHARDS["train"] - 1)
    agrees(said, repro(project))


def test_waveforms_that_dvc_restores_run_nothing(project: Project) -> None:
    shutil.rmtree(project.folder / "data/split/train.zarr")
    said = explain(project)
    assert not any(answer["runs"] or answer["why"] for answer in said.values())
    agrees(said, repro(project))
    assert (project.folder / "data/split/train.zarr").exists()


def test_features_that_were_made_by_hand(project: Project) -> None:
    project.set(**{"features.n_fft": 126})
    assert project.stage("featurize", "train").code == 0
    said = explain(project)
    assert said["train"]["why"] == ["features in params.yaml is modified"]
    agrees(said, repro(project))
    project.set(**{"features.n_fft": 258})
    agrees(explain(project), repro(project))


def test_what_dvc_knows_nothing_of(project: Project) -> None:
    lock = project.folder / "dvc.lock"
    known = YAML(typ="safe").load(lock)
    del known["stages"]["featurize@test"]
    YAML(typ="safe").dump(known, lock)
    said = explain(project)
    assert said["test"]["why"] == ["dvc.lock has no record of featurize@test"]
    agrees(said, repro(project))


def test_a_deflated_npz_leaves_no_samples_behind(project: Project) -> None:
    with np.load(project.folder / "input.npz") as npz:
        arrays = dict(npz)
    project.save_npz(arrays, compressed=True)
    before = set(project.folder.rglob("data/**/*"))
    said = explain(project)
    assert set(project.folder.rglob("data/**/*")) == before
    assert not any(answer["runs"] for answer in said.values()), "the same clips"
    agrees(said, repro(project))


def test_the_size_is_that_of_the_files(project: Project) -> None:
    project.set(**{"store.codec": "none", "store.chunk_clips": 48, "store.shard_clips": 96})
    said = explain(project)
    agrees(said, repro(project))
    for name, answer in said.items():
        shards = (project.folder / f"data/features/{name}.zarr/features").glob("c.*")
        assert answer["bytes"] == pytest.approx(sum(shard.stat().st_size for shard in shards), rel=0.01)


def test_people_are_told_in_a_line_and_its_reasons(project: Project) -> None:
    project.set(**{"features.hop_length": 32})
    done = project.run("python", "-m", "pipeline.commands.features", "explain", "validation")
    assert done.code == 0, done.err
    assert re.search(
        r"^validation: \d of \d shards? to compute, 0 to reuse; about \d+ s, up to \d+ MB to write$",
        done.out,
        re.MULTILINE,
    )
    assert "  because features.hop_length: 126 -> 32" in done.out
    project.set(**{"features.hop_length": 126})


def test_a_comment_makes_no_demo_corpus_anew(make_repository: Callable[[], Project]) -> None:
    """The stage that would make it runs and leaves it as it is, so its clips are known."""
    project = make_repository()
    repro(project)
    module = project.folder / "pipeline/shell/stage.py"
    module.write_text(f"# A comment.\n{module.read_text()}")
    said = explain(project)
    assert all(answer["runs"] for answer in said.values())
    assert not any(answer["computed"] for answer in said.values())
    agrees(said, repro(project))
    project.set(**{"synthesize.clips": 130})
    done = project.run("python", "-m", "pipeline.commands.features", "explain")
    assert done.err.startswith("error: the demo corpus has to be made first")


def test_without_any_data(make_repository: Callable[[], Project]) -> None:
    project = make_repository()
    done = project.run("python", "-m", "pipeline.commands.features", "explain")
    assert done.code == 2
    assert done.err.startswith("error: the demo corpus has to be made first")
    project.save_npz(make_arrays(10))
    said = explain(project)
    assert said["train"]["why"] == ["data/features/train.zarr is missing or damaged"]
    agrees(said, repro(project))
    done = project.run("python", "-m", "pipeline.commands.features", "explain", "trian")
    assert (done.code, done.err) == (2, "error: there is no set 'trian'; expected one of train, validation, test\n")
