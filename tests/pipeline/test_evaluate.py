"""The stage evaluate: what it keeps and takes again."""

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import Project, columns, contents, copy_product, write_clips, write_waveforms
from test_closure import closure

from features.store.reader import WaveformStore
from models.predictions import read_predictions
from pipeline.evaluate import CODE

EVALUATE = (sys.executable, "-m", "pipeline.evaluate", "base")
BEFORE = "evaluate: base was evaluated before and is right on "


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network, trained and not evaluated yet."""
    project = copy_product(tmp_path_factory.mktemp("trained"))
    tiny = {"family": "ds_cnn", "channels": 4, "blocks": 1}  # takes half as long to build
    project.set(**{"features.n_fft": 128, "features.hop_length": 128, "models.base": tiny})
    (project.folder / "data/split").mkdir(parents=True)
    for name, clips in (("train", 96), ("validation", 40), ("test", 40)):
        write_waveforms(project.folder / f"data/split/{name}.zarr", clips)
        assert project.stage_here("featurize", name).code == 0
    assert project.stage_here("train", "base").code == 0
    return project.folder


@pytest.fixture
def project(trained: Path, tmp_path: Path) -> Project:
    shutil.copytree(trained, tmp_path / "project")
    return Project(tmp_path / "project")


def outcome(project: Project) -> tuple[bytes, bytes]:
    files = ("metrics/base.json", "artifacts/base/predictions.csv")
    return tuple((project.folder / file).read_bytes() for file in files)


def test_a_finished_evaluation_is_taken_again(project: Project) -> None:
    """To the byte, and without loading TensorFlow."""
    first = project.stage_here("evaluate", "base")
    assert first.code == 0, first.err
    before = outcome(project)
    evaluation = project.folder / "models/evaluation.py"
    evaluation.write_text(f"# A comment.\n{evaluation.read_text()}")
    (project.folder / "metrics/base.json").unlink()
    done = project.run(sys.executable, "-X", "importtime", *EVALUATE[1:])
    assert done.code == 0, done.err
    assert done.out == first.out.replace("base is right on", "base was evaluated before and is right on")
    assert outcome(project) == before
    loaded = {line.rsplit("|")[-1].strip().split(".")[0] for line in done.err.splitlines() if "import time:" in line}
    assert {"numpy", "msgspec", "typer"} <= loaded
    assert not loaded & {"tensorflow", "keras", "scipy", "sklearn"}


def test_another_network_or_test_set_is_evaluated(project: Project) -> None:
    assert project.stage_here("evaluate", "base").code == 0
    first = outcome(project)
    project.set(**{"train.seed": 1})
    assert project.stage_here("train", "base").code == 0
    assert BEFORE not in project.stage_here("evaluate", "base").out
    second = outcome(project)
    assert second != first
    shutil.rmtree(project.folder / "data/split/test.zarr")
    write_waveforms(project.folder / "data/split/test.zarr", 40, seed=1)
    assert project.stage_here("featurize", "test").code == 0
    assert BEFORE not in project.stage_here("evaluate", "base").out
    assert outcome(project) not in (first, second)


def test_predictions_name_the_recordings_of_now(project: Project) -> None:
    """A renamed file changes no feature and no network, but the table tells its new name."""
    assert project.stage_here("evaluate", "base").code == 0
    for folder in ("old/", "new/"):
        clips = columns(40)
        recordings = np.array([f"{folder}{row}.wav" for row in clips.source_rows])
        store = WaveformStore.open(project.folder / "data/split/test.zarr")
        waves = store.read(0, store.clips)
        shutil.rmtree(store.path)
        write_clips(store.path, waves, replace(clips, recordings=recordings), digest=store.attributes["digest"])
        done = project.stage_here("featurize", "test")
        assert ", 0 shards computed, " in done.out
        done = project.stage_here("evaluate", "base")
        assert BEFORE not in done.out
        table = read_predictions(project.folder / "artifacts/base/predictions.csv")
        assert table.recordings.tolist() == [f"{folder}{row}.wav" for row in table.source_rows]


def test_a_network_whose_end_is_missing_is_refused(project: Project) -> None:
    network = project.folder / "artifacts/base/model.keras"
    network.write_bytes(network.read_bytes()[:-1000])
    before = contents(project.folder / "artifacts")
    done = project.stage_here("evaluate", "base")
    assert done.code == 2
    assert "artifacts/base/model.keras cannot be loaded as a network (" in done.err
    assert contents(project.folder / "artifacts") == before


def test_no_module_that_decides_metrics_is_left_out_of_the_fingerprint() -> None:
    used = {file.removesuffix(".py").replace("/", ".") for file in closure("pipeline.evaluate")}
    deciding = {name for name in used if name.startswith(("models.", "features.stream.", "pipeline.evaluate"))}
    neutral = {"models.networks.transform", "models.quiet"}  # exports alone use the transform
    assert set(CODE) == {name for name in deciding if "__init__" not in name} - neutral
