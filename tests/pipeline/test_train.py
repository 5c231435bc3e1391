"""The stage train as a process: killed, fed damaged features, told to stop, and told other run time settings."""

import csv
import shutil
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest
from conftest import Project, copy_product, write_waveforms
from test_closure import closure

from features.store.reader import FeatureStore
from pipeline.train import CODE

CHECKPOINT = ".cache/training/base.npz"


@pytest.fixture(scope="module")
def featurized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small features of 200 clips to train on and 40 to validate with."""
    project = copy_product(tmp_path_factory.mktemp("featurized"))
    project.set(**{"features.n_fft": 128, "features.hop_length": 128})
    (project.folder / "data/split").mkdir(parents=True)
    for name, clips in (("train", 200), ("validation", 40)):
        write_waveforms(project.folder / f"data/split/{name}.zarr", clips)
        assert project.stage("featurize", name).code == 0
    return project.folder


@pytest.fixture
def project(featurized: Path, tmp_path: Path) -> Project:
    shutil.copytree(featurized, tmp_path / "project")
    return Project(tmp_path / "project")


def outcome(project: Project) -> tuple[str, list[np.ndarray]]:
    model = keras.models.load_model(project.folder / "artifacts/base/model.keras", compile=False)
    return (project.folder / "artifacts/base/history.csv").read_text(), model.get_weights()


def test_a_killed_stage_goes_on_where_it_was(project: Project, tmp_path: Path) -> None:
    project.set(**{"train.epochs": 2, "train.batch_size": 8})
    other = Project(tmp_path / "other")
    shutil.copytree(project.folder, other.folder)
    whole = other.stage("train", "base")
    assert whole.code == 0, whole.err
    assert not (other.folder / CHECKPOINT).exists()

    command = [sys.executable, "-m", "pipeline.train", "base"]
    with project.start(*command, env={"CHECKPOINT_EVERY": "0"}) as process:
        seen = 0
        while process.poll() is None and seen < 4:  # in mid-epoch: an epoch is 25 batches
            before = (project.folder / CHECKPOINT).stat().st_mtime_ns if (project.folder / CHECKPOINT).exists() else 0
            time.sleep(0.002)
            now = (project.folder / CHECKPOINT).stat().st_mtime_ns if (project.folder / CHECKPOINT).exists() else 0
            seen += now != before
        process.kill()
        assert process.wait() != 0
    assert not (project.folder / "artifacts/base/model.keras").exists()
    resumed = project.stage("train", "base")
    assert resumed.code == 0, resumed.err
    assert "train: base goes on from a checkpoint after 0 epochs and " in resumed.out
    assert not (project.folder / CHECKPOINT).exists()
    (history, weights), (expected, expected_weights) = outcome(project), outcome(other)
    assert history == expected
    for one, same in zip(weights, expected_weights, strict=True):
        np.testing.assert_array_equal(one, same)

    with open(project.folder / "artifacts/base/history.csv", newline="") as file:
        epochs = list(csv.DictReader(file))
    live = project.folder / "artifacts/base/live/plots/metrics"
    for name, column in (("train/loss", "loss"), ("val/accuracy", "val_accuracy")):
        lines = (live / f"{name}.tsv").read_text().split()
        assert lines[:2] == ["step", name.split("/")[1]]
        assert [float(value) for value in lines[3::2]] == pytest.approx([float(epoch[column]) for epoch in epochs])
        assert lines[2::2] == ["1", "2"]


def test_a_checkpoint_of_other_settings_is_not_gone_on_from(project: Project) -> None:
    project.set(**{"train.epochs": 50})
    with project.start(sys.executable, "-m", "pipeline.train", "base", env={"CHECKPOINT_EVERY": "0"}) as process:
        while process.poll() is None and not (project.folder / CHECKPOINT).exists():
            time.sleep(0.002)
        process.kill()
    project.set(**{"train.epochs": 1})
    done = project.stage("train", "base")
    assert done.code == 0, done.err
    assert "goes on" not in done.out
    assert "best epoch 1 ->" in done.out


def test_no_module_that_decides_weights_is_left_out_of_the_fingerprint() -> None:
    models = {file.removesuffix(".py").replace("/", ".") for file in closure("pipeline.train") if "models/" in file}
    assert set(CODE) == models - {"models.__init__", "models.checkpoint", "models.memory"} | {
        "features.stream.order",
        "features.stream.batches",
    }


def test_damage_that_training_meets_is_one_sentence(project: Project) -> None:
    shard = sorted((project.folder / "data/features/train.zarr/features").glob("c.*"))[3]
    content = bytearray(shard.read_bytes())
    content[5000] ^= 1
    shard.chmod(0o644)
    shard.write_bytes(content)
    done = project.stage("train", "base")
    assert done.code == 2
    assert done.err.strip().splitlines()[-1].startswith("error: shard 3 of data/features/train.zarr (clips 96 to 127)")
    assert "features verify --repair data/features/train.zarr" in done.err
    assert "Traceback" not in done.err
    assert not (project.folder / "artifacts/base/model.keras").exists()


@pytest.mark.parametrize(("rate", "said"), [(1e30, "nan"), (1e10, "")])
def test_a_training_that_diverges_leaves_no_network(project: Project, rate: float, said: str) -> None:
    project.set(**{"train.schedule": "constant", "train.learning_rate": rate})
    done = project.stage("train", "base")
    assert done.code == 2
    assert f"error: base cannot be trained: its validation loss diverged to {said}" in done.err
    assert "choose a train.learning_rate smaller than " in done.err
    assert not (project.folder / "artifacts/base/model.keras").exists()
    assert not (project.folder / CHECKPOINT).exists()


def test_a_batch_larger_than_the_training_set_is_refused(project: Project) -> None:
    clips = FeatureStore.open(project.folder / "data/features/train.zarr").clips
    project.set(**{"train.batch_size": clips + 1})
    done = project.stage("train", "base")
    assert done.code == 2
    assert done.err == (
        f"error: base cannot be trained: train.batch_size is {clips + 1}; expected at most the training set's {clips} "
        "clips, so lower it\n"
    )
    assert not (project.folder / "artifacts/base/model.keras").exists()


def test_an_error_that_nobody_foresaw_does_not_hang(project: Project) -> None:
    """With batches still being read, and slowly, when the interpreter ends."""
    script = """
import time
from features.store.reader import FeatureStore
from models.learner import Learner
from pipeline import train

read = FeatureStore.read_chunk
FeatureStore.read_chunk = lambda *arguments: (time.sleep(0.05), read(*arguments))
Learner.step = lambda *arguments: 1 / 0
train.main("base", 30.0)
"""
    with project.start(sys.executable, "-c", script) as process:
        assert process.wait(timeout=100) == 1


def test_training_ends_early_and_says_so(project: Project) -> None:
    project.set(
        **{"train.epochs": 30, "train.early_stopping": 1, "train.schedule": "constant", "train.learning_rate": 0.05}
    )
    done = project.stage("train", "base")
    assert done.code == 0, done.err
    assert ", stopped early -> artifacts/base/model.keras" in done.out
    with open(project.folder / "artifacts/base/history.csv", newline="") as file:
        epochs = list(csv.DictReader(file))
    losses = [float(epoch["val_loss"]) for epoch in epochs]
    assert len(losses) == losses.index(min(losses)) + 2 < 30
