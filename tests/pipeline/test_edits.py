"""What is edited while a stage runs is not taken for what ran: DVC looks at settings and code when it has ended."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import Finished, Project, contents, make_arrays

from features.split.marks import Mark, save_mark
from features.store.reader import FeatureStore, WaveformStore


@pytest.fixture
def split_project(project: Project) -> Project:
    project.save_npz(make_arrays(10))
    assert project.stage_here("split").code == 0
    return project


@contextmanager
def held(target: Path) -> Iterator[None]:
    """Hold the place aside of a target, as another run does."""
    folder = target.with_name(f".partial-{target.name}")
    folder.mkdir(parents=True)
    handle = os.open(folder, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    yield
    os.close(handle)


def edited_while_waiting(project: Project, path: str, old: str, new: str) -> Finished:
    """Run featurize, edit a file while it waits for another run, and let it go on."""
    with held(project.folder / "data/features/test.zarr"):
        run = project.start("python", "-m", "pipeline.featurize", "test")
        assert run.stderr
        assert "waiting" in run.stderr.readline()
        file = project.folder / path
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))
    out, err = run.communicate(timeout=120)
    return Finished(run.returncode, out, err)


def test_an_edited_transform_is_not_named_as_what_computed(split_project: Project) -> None:
    """Else numbers of the code that was loaded would be kept under the name of the new code, and never be right."""
    path = split_project.folder / "features/spectrogram.py"
    good = path.read_text()
    done = edited_while_waiting(
        split_project, "features/spectrogram.py", "    return features\n", "    return 2 * features\n"
    )
    assert done.code == 2
    assert "features/spectrogram.py was edited while this ran" in done.err
    assert not (split_project.folder / "data/features/test.zarr").exists()
    path.write_text(good)
    done = split_project.stage("featurize", "test")
    assert "1 shard computed, 0 reused" in done.out, done.err


def test_edited_settings_are_named(split_project: Project) -> None:
    done = edited_while_waiting(split_project, "params.yaml", "n_fft: 258", "n_fft: 126")
    assert done.code == 2
    assert "params.yaml was edited while this ran (features.n_fft: 258 -> 126)" in done.err
    assert not (split_project.folder / "data/features/test.zarr").exists()
    assert split_project.stage("featurize", "test").code == 0
    assert FeatureStore.open(split_project.folder / "data/features/test.zarr").attributes["features"]["n_fft"] == 126


def test_edited_marks_are_named(split_project: Project) -> None:
    """Else the sets of the old marks would be kept as those of the new ones."""
    marks = split_project.folder / "marks.tsv"
    clip = WaveformStore.open(split_project.folder / "data/split/test.zarr")
    before = contents(split_project.folder / "data")
    with held(split_project.folder / "data/split/test.zarr"):
        run = split_project.start("python", "-m", "pipeline.split")
        assert run.stderr
        assert "waiting" in run.stderr.readline()
        word = clip.attributes["words"][clip.labels[0]]
        save_mark(marks, Mark(clip.digests[0].tobytes().hex(), word, int(clip.source_rows[0]), "bad audio"))
    _, err = run.communicate(timeout=120)
    assert run.returncode == 2
    assert "marks.tsv was edited while this ran" in err
    assert contents(split_project.folder / "data") == before
    done = split_project.stage("split")
    assert "left out 1 clip marked in marks.tsv: 1 bad audio" in done.out, done.err


def test_settings_of_others_may_be_edited(split_project: Project) -> None:
    done = edited_while_waiting(split_project, "params.yaml", "learning_rate: 0.001", "learning_rate: 0.002")
    assert done.code == 0, done.err


def test_edited_code_that_decides_no_shard_is_named_too(split_project: Project) -> None:
    done = edited_while_waiting(
        split_project, "features/store/reader.py", "import json\n", "import json  # for metadata\n"
    )
    assert done.code == 2
    assert "features/store/reader.py was edited while this ran" in done.err
    assert "1 shard computed, 0 reused" in split_project.stage("featurize", "test").out, "nothing had been kept"


def test_an_edit_during_training_does_not_lose_it(split_project: Project) -> None:
    split_project.set(
        **{"models.base": {"family": "ds_cnn", "channels": 4, "blocks": 1}}
    )  # takes half as long to build
    for name in ("train", "validation"):
        assert split_project.stage_here("featurize", name).code == 0
    run = split_project.start("python", "-m", "pipeline.train", "base")
    live = split_project.folder / "artifacts/base/live"
    while not live.exists() and run.poll() is None:
        time.sleep(0.05)
    split_project.set(**{"train.learning_rate": 0.5})
    _, err = run.communicate(timeout=300)
    assert run.returncode == 2, err
    assert "params.yaml was edited while this ran (train.learning_rate: 0.001 -> 0.5)" in err
    assert not (split_project.folder / "artifacts/base/model.keras").exists()
    split_project.set(**{"train.learning_rate": 0.001})
    done = split_project.stage_here("train", "base")
    assert done.code == 0, done.err
    assert "goes on from a checkpoint after 1 epoch" in done.out
