"""The stage train: killed, fed damaged features, told to stop, and told other run time settings."""

import csv
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
from conftest import Finished, Project, contents, copy_product, write_waveforms
from test_bad_input import in_own_mounts
from test_closure import closure

from features.store.reader import FeatureStore
from models.networks.registry import FAMILIES
from pipeline.shell.recipe import CODE

CHECKPOINT = ".cache/training/base.*.npz"
TINY = {"family": "ds_cnn", "channels": 4, "blocks": 1}
"""In the place of base, which takes twice as long to build."""


@pytest.fixture(scope="module")
def featurized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small features of 200 clips to train on and 40 to validate with."""
    project = copy_product(tmp_path_factory.mktemp("featurized"))
    project.set(**{"features.n_fft": 128, "features.hop_length": 128, "models.base": TINY})
    (project.folder / "data/split").mkdir(parents=True)
    for name, clips in (("train", 200), ("validation", 40)):
        write_waveforms(project.folder / f"data/split/{name}.zarr", clips)
        assert project.stage_here("featurize", name).code == 0
    return project.folder


@pytest.fixture
def project(featurized: Path, tmp_path: Path) -> Project:
    shutil.copytree(featurized, tmp_path / "project")
    return Project(tmp_path / "project")


@pytest.fixture(scope="module")
def trained_once(featurized: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "project"
    shutil.copytree(featurized, folder)
    done = Project(folder).stage_here("train", "base")
    assert done.code == 0, done.err
    return folder


@pytest.fixture
def trained(trained_once: Path, tmp_path: Path) -> Project:
    """A project in which base has been trained."""
    shutil.copytree(trained_once, tmp_path / "trained")
    return Project(tmp_path / "trained")


BEFORE = "was trained with these settings before"
RESUMED = "goes on from a checkpoint"
TRAIN = (sys.executable, "-m", "pipeline.train", "base")


def checkpoints(project: Project) -> list[Path]:
    return sorted(project.folder.glob(CHECKPOINT))


def saved_at(project: Project) -> list[int]:
    """When each checkpoint was saved."""
    return [path.stat().st_mtime_ns for path in checkpoints(project)]


def outcome(project: Project) -> tuple[str, list[np.ndarray]]:
    model = keras.models.load_model(project.folder / "artifacts/base/model.keras", compile=False)
    return (project.folder / "artifacts/base/history.csv").read_text(), model.get_weights()


def test_a_mistake_in_another_network_is_told_before_this_one_trains(project: Project) -> None:
    project.set(**{"models.skip.dropout": 7})
    done = project.stage_here("train", "base")
    assert (done.code, len(done.err.splitlines())) == (2, 1)
    assert "models.skip" in done.err


def test_a_killed_stage_goes_on_where_it_was(project: Project, tmp_path: Path) -> None:
    augment = {"shift_s": 0.1, "stretch": 0.1, "warp": 0.1, "gain_db": 6.0, "noise": 0.5, "time_masks": 2}
    project.set(**{"train.epochs": 2, "train.batch_size": 8, "train.ema": 0.9, "train.augment": augment})
    other = Project(tmp_path / "other")
    shutil.copytree(project.folder, other.folder)
    whole = other.stage_here("train", "base")
    assert whole.code == 0, whole.err
    assert not checkpoints(other)

    with project.start(*TRAIN, env={"CHECKPOINT_EVERY": "0"}) as process:
        seen = 0
        while process.poll() is None and seen < 4:  # in mid-epoch: an epoch is 25 batches
            before = saved_at(project)
            time.sleep(0.002)
            seen += saved_at(project) != before
        process.kill()
        assert process.wait() != 0
    assert not (project.folder / "artifacts/base/model.keras").exists()
    resumed = project.stage("train", "base")
    assert resumed.code == 0, resumed.err
    assert "train: base goes on from a checkpoint after 0 epochs and " in resumed.out
    assert not checkpoints(project)
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
    with project.start(*TRAIN, env={"CHECKPOINT_EVERY": "0"}) as process:
        while process.poll() is None and not checkpoints(project):
            time.sleep(0.002)
        process.kill()
    project.set(**{"train.epochs": 1})
    done = project.stage_here("train", "base")
    assert done.code == 0, done.err
    assert "goes on" not in done.out
    assert "best epoch 1 ->" in done.out


def test_no_module_that_decides_weights_is_left_out_of_the_fingerprint() -> None:
    models = {file.removesuffix(".py").replace("/", ".") for file in closure("pipeline.train") if "models/" in file}
    neutral = {"models.__init__", "models.training.checkpoint", "models.training.memory", "models.networks.__init__"}
    neutral |= {"models.training.__init__"}
    neutral |= {"models.networks.registry"}  # its entry for a family is in the fingerprint: settings and modules
    code = {module for family in FAMILIES.values() for module in family.code}
    others = {"features.stream.order", "features.stream.batches", "pipeline.shell.recipe", "pipeline.train"}
    assert {*CODE, *code} == models - neutral | others


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_lists_the_modules_it_is_built_from(name: str) -> None:
    family = FAMILIES[name]
    used = {file.removesuffix(".py").replace("/", ".") for file in closure(family.code[0])}
    assert {module for module in used if "__init__" not in module} <= {*family.code, *CODE}


def test_damage_that_training_meets_is_one_sentence(project: Project) -> None:
    shard = sorted((project.folder / "data/features/train.zarr/features").glob("c.*"))[3]
    content = bytearray(shard.read_bytes())
    content[5000] ^= 1
    shard.chmod(0o644)
    shard.write_bytes(content)
    done = project.stage_here("train", "base")
    assert done.code == 2
    assert done.err.strip().splitlines()[-1].startswith("error: shard 3 of data/features/train.zarr (clips 96 to 127)")
    assert "features verify --repair data/features/train.zarr" in done.err
    assert "Traceback" not in done.err
    assert not (project.folder / "artifacts/base/model.keras").exists()


@pytest.mark.parametrize(("rate", "said"), [(1e30, "nan"), (1e10, "")])
def test_a_training_that_diverges_leaves_no_network(project: Project, rate: float, said: str) -> None:
    project.set(**{"train.schedule": "constant", "train.learning_rate": rate})
    done = project.stage_here("train", "base")
    assert done.code == 2
    assert f"error: base cannot be trained: its validation loss diverged to {said}" in done.err
    assert "choose a train.learning_rate smaller than " in done.err
    assert not (project.folder / "artifacts/base/model.keras").exists()
    assert not checkpoints(project)


RESIDUAL = {"family": "residual", "front_end": "mel", "n_mels": 20, "channels": [4, 6, 8, 10]}


def test_a_network_changes_what_its_own_recipe_names(project: Project) -> None:
    """And the others keep the shared one. Nothing but params.yaml is edited for a new network."""
    recipe = {"epochs": 3, "learning_rate": 0.01, "label_smoothing": 0.1, "augment": {"gain_db": 3.0}}
    project.set(**{"models.small": {**RESIDUAL, "train": recipe}, "train.augment": {"noise": 0.5}})
    done = project.stage_here("train", "small")
    assert done.code == 0, done.err
    assert "small 3/3" in done.out
    assert "train: small in float32, best epoch " in done.out
    project.set(**{"models.small.train": {}, "train.epochs": 3, "train.learning_rate": 0.01})
    project.set(**{"train.label_smoothing": 0.1, "train.augment": {"noise": 0.5, "gain_db": 3.0}})
    assert "train: small was trained with these settings before" in project.stage_here("train", "small").out
    project.set(**{"train.augment.noise": 0.4})
    assert "small 3/3" in project.stage_here("train", "small").out


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"models.base.train": {"epochs": 0}}, "models.base.train.epochs is 0; expected `int` >= 1"),
        (
            {"models.base.train": {"epoch": 1}},
            "unknown setting models.base.train.epoch; did you mean models.base.train",
        ),
        ({"models.base.train": 3}, "models.base.train is 3; expected `object`, got `int`"),
        ({"train.augment": {"noise": 2}}, "train.augment.noise is 2; expected `float` <= 1"),
        ({"train.augment": {"nois": 0.2}}, "unknown setting train.augment.nois; did you mean train.augment.noise?"),
        ({"train.augment": "much"}, "train.augment is 'much'; expected `object | null`, got `str`"),
        (
            {"train.augment": {"noise_snr_db": [20, 5]}},
            "noise_snr_db is 20 to 5; expected -100 to 100, the smaller one",
        ),
        ({"models.base.train": {"augment": {"warp": "x"}}}, "models.base.train.augment.warp is 'x'; expected `float`"),
        ({"models.base.front_end": "log"}, "models.base.front_end is 'log'; expected one of 'none', 'mel', 'pcen'"),
    ],
)
def test_a_wrong_setting_is_named(project: Project, settings: dict[str, object], said: str) -> None:
    project.set(**settings)
    done = project.stage_here("train", "base")
    assert done.code == 2
    assert said in done.err
    assert done.err.count("\n") == 1


def test_what_augmentation_cannot_do_is_said(project: Project) -> None:
    """Where no clip is silent, and where bands hold nothing."""
    project.set(**{"models.small": {**RESIDUAL, "n_mels": 80}, "train.augment": {"noise": 0.5}})
    done = project.stage_here("train", "small")
    assert done.code == 0, done.err
    assert "of 80 mel bands of small are too narrow to hold a bin of the spectrum and tell nothing" in done.err


def test_a_batch_larger_than_the_training_set_is_refused(project: Project) -> None:
    clips = FeatureStore.open(project.folder / "data/features/train.zarr").clips
    for settings, name in (
        ({"train.batch_size": clips + 1}, "train.batch_size"),
        ({"models.base.train": {"batch_size": clips + 1}}, "models.base.train.batch_size"),
    ):
        project.set(**settings)
        done = project.stage_here("train", "base")
        assert done.code == 2
        assert done.err.splitlines()[-1] == (
            f"error: base cannot be trained: {name} is {clips + 1}; expected at most the training set's {clips} "
            "clips, so lower it"
        )
    assert not (project.folder / "artifacts/base/model.keras").exists()


def test_an_error_that_nobody_foresaw_does_not_hang(project: Project) -> None:
    """With batches still being read, and slowly, when the interpreter ends."""
    script = """
import time
from features.store.reader import FeatureStore
from models.training.trainer import Trainer
from pipeline import train

read = FeatureStore.read_chunk
FeatureStore.read_chunk = lambda *arguments: (time.sleep(0.05), read(*arguments))
Trainer.step = lambda *arguments: 1 / 0
train.main("base", 30.0)
"""
    with project.start(sys.executable, "-c", script) as process:
        assert process.wait(timeout=100) == 1


def test_training_ends_early_and_says_so(project: Project) -> None:
    project.set(
        **{"train.epochs": 30, "train.early_stopping": 1, "train.schedule": "constant", "train.learning_rate": 0.2}
    )
    done = project.stage_here("train", "base")
    assert done.code == 0, done.err
    assert ", stopped early -> artifacts/base/model.keras" in done.out
    with open(project.folder / "artifacts/base/history.csv", newline="") as file:
        epochs = list(csv.DictReader(file))
    losses = [float(epoch["val_loss"]) for epoch in epochs]
    assert len(losses) == losses.index(min(losses)) + 2 < 30


def results(project: Project) -> list[Path]:
    return sorted((project.folder / ".cache/results").glob("??/*"))


def test_a_finished_training_is_taken_again(trained: Project) -> None:
    """To the byte, with the files of DVCLive, and without loading TensorFlow."""
    before = contents(trained.folder / "artifacts")
    assert {"base/model.keras", "base/history.csv", "base/live/plots/metrics/val/accuracy.tsv"} <= set(before)
    (kept,) = results(trained)
    network = trained.folder / "models/networks/ds_cnn.py"
    network.write_text(f"# A comment.\n{network.read_text()}")
    shutil.rmtree(trained.folder / "artifacts")
    done = trained.run(sys.executable, "-X", "importtime", *TRAIN[1:])
    assert done.code == 0, done.err
    assert done.out == f"train: base {BEFORE}, best epoch 1 -> artifacts/base/model.keras\n"
    assert contents(trained.folder / "artifacts") == before
    loaded = {line.rsplit("|")[-1].strip().split(".")[0] for line in done.err.splitlines() if "import time:" in line}
    assert {"numpy", "msgspec", "typer"} <= loaded
    assert not loaded & {"tensorflow", "keras", "dvclive", "scipy", "sklearn"}
    # The live folder of another training does not shine through, and one left by a killed run is no obstacle.
    (trained.folder / "artifacts/base/live/plots/metrics/val/other.tsv").write_text("x")
    assert trained.stage_here("train", "base").code == 0
    assert contents(trained.folder / "artifacts") == before
    assert results(trained) == [kept]


@pytest.mark.parametrize(
    "change",
    [
        lambda project: project.set(**{"train.seed": 1}),
        lambda project: damage(results(project)[0]),
        lambda project: results(project)[0].rename(results(project)[0].with_suffix(".old")),
    ],
    ids=["setting", "damage", "name"],
)
def test_another_training_is_trained(trained: Project, change: Callable[[Project], object]) -> None:
    change(trained)
    is_trained(trained.stage_here("train", "base"))
    assert BEFORE in trained.stage_here("train", "base").out


def test_other_code_of_the_network_is_trained(trained: Project) -> None:
    path = trained.folder / "models/networks/ds_cnn.py"
    old = "Dropout(spec.dropout)"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, "Dropout(spec.dropout / 2)"))
    is_trained(trained.stage("train", "base"))
    assert BEFORE in trained.stage("train", "base").out


def is_trained(done: Finished) -> None:
    assert done.code == 0, done.err
    assert "base 1/1  loss" in done.out
    assert "before" not in done.out


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)


def test_a_queued_experiment_takes_the_projects_trainings(trained: Project) -> None:
    experiment = Project(trained.folder / ".dvc/tmp/exps/tmpabc")
    shutil.copytree(trained.folder, experiment.folder, ignore=shutil.ignore_patterns(".cache", ".dvc", "artifacts"))
    assert BEFORE in experiment.stage("train", "base").out
    assert not (experiment.folder / ".cache/results").exists()


def test_trainings_are_kept_up_to_a_size(trained: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    (first,) = results(trained)
    trained.set(**{"train.seed": 1})
    monkeypatch.setenv("TRAININGS_CACHE_SIZE", f"{1.5 * first.stat().st_size / 1e6:.3f}MB")
    assert trained.stage_here("train", "base").code == 0
    (second,) = results(trained)
    assert second != first
    trained.set(**{"train.seed": 2})
    monkeypatch.setenv("TRAININGS_CACHE_SIZE", "0")
    assert trained.stage_here("train", "base").code == 0
    assert results(trained) == []
    done = trained.stage_here("train", "base", "--cache-size", "much")
    assert (done.code, done.err) == (
        2,
        "error: the cache size is 'much'; expected a number and a unit, such as 20GB or 500MB\n",
    )


def test_a_training_that_cannot_be_kept_is_published(project: Project) -> None:
    (project.folder / ".cache").mkdir(exist_ok=True)
    (project.folder / ".cache/results").write_text("a file")
    done = project.stage_here("train", "base")
    assert done.code == 0, done.err
    assert "warning: this result could not be kept in " in done.err
    assert (project.folder / "artifacts/base/model.keras").exists()


def test_a_full_disk_does_not_lose_the_training(project: Project) -> None:
    """The network, of 2 MB, does not fit; its checkpoint, elsewhere, stays until it does."""
    project.set(**{"models.base": {**TINY, "channels": 600}})
    train = " ".join(TRAIN)
    script = (
        "mkdir artifacts && mount -t tmpfs -o size=1m tmpfs artifacts || exit 99; "
        f"{train}; echo code $?; ls {CHECKPOINT}; find artifacts -name 'model*'; "
        f"mount -o remount,size=100m artifacts && {train} && ls artifacts/base; ls {CHECKPOINT}"
    )
    done = in_own_mounts(project, script)
    first, _, rest = done.stdout.partition("code 2\n.cache/training/base.")
    assert "base 1/1" in first, done.stdout + done.stderr
    assert f".npz\ntrain: base {RESUMED} after 1 epoch" in rest
    assert rest.splitlines()[-3:] == ["history.csv", "live", "model.keras"]
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "free some space and run this again" in errors[0]
    assert "Traceback" not in done.stderr


def test_a_kill_while_the_network_is_saved_does_not_lose_the_training(project: Project) -> None:
    staged = project.folder / "artifacts/base/.partial-model.keras/model.keras"
    with project.start(*TRAIN) as process:
        while process.poll() is None and not staged.exists():
            time.sleep(0.0005)
        process.kill()
        assert process.wait() != 0
    assert not (project.folder / "artifacts/base/model.keras").exists()
    assert checkpoints(project)
    done = project.stage_here("train", "base")
    assert done.code == 0, done.err
    assert f"{RESUMED} after 1 epoch" in done.out or BEFORE in done.out
    assert not checkpoints(project)


def test_a_repository_without_a_commit_is_one_sentence(project: Project) -> None:
    assert project.run("git", "init", "--quiet").code == 0
    assert project.run("dvc", "init", "--quiet").code == 0
    done = project.stage("train", "base")
    assert done.code == 2
    (error,) = [line for line in done.err.splitlines() if not line.endswith(" ...")]  # a slow start is told too
    assert error.startswith("error: ")
    assert error.endswith("expected a repository with a commit, so run: git add . && git commit -m start")


ON = {"train.schedule": "constant", "train.augment": {"shift_s": 0.1}}


def test_more_epochs_are_trained_on_from_a_finished_training(project: Project, tmp_path: Path) -> None:
    """With the weights of a training in one go, and the shorter one is there when the longer one is killed."""
    project.set(**ON)
    other = Project(tmp_path / "other")
    shutil.copytree(project.folder, other.folder)
    assert project.stage_here("train", "base").code == 0
    (kept,) = checkpoints(project)
    project.set(**{"train.epochs": 50})
    with project.start(*TRAIN) as process:
        while process.poll() is None and len(checkpoints(project)) < 2:
            time.sleep(0.002)
        process.kill()
    project.set(**{"train.epochs": 1})
    assert BEFORE in project.stage_here("train", "base").out
    assert kept.exists()
    assert len(checkpoints(project)) == 2
    project.set(**{"train.epochs": 4})
    other.set(**{"train.epochs": 4})
    done = project.stage_here("train", "base")
    assert done.code == 0, done.err
    assert f"train: base {RESUMED} after " in done.out
    assert f"{RESUMED} after 0" not in done.out
    assert "base 1/" not in done.out, "an epoch was trained again"
    assert other.stage_here("train", "base").code == 0
    (history, weights), (expected, expected_weights) = outcome(project), outcome(other)
    assert history == expected
    for one, same in zip(weights, expected_weights, strict=True):
        np.testing.assert_array_equal(one, same)
    assert contents(project.folder / "artifacts/base/live") == contents(other.folder / "artifacts/base/live")


def test_a_cosine_schedule_says_why_more_epochs_start_anew(project: Project) -> None:
    assert "starts anew" not in project.stage_here("train", "base").out
    assert not checkpoints(project), "of no use any more"
    project.set(**{"models.base": {**TINY, "train": {"epochs": 2}}})
    done = project.stage_here("train", "base")
    why = "its cosine schedule depends on models.base.train.epochs; schedule: constant could be trained on"
    assert done.out.splitlines()[0] == f"train: base starts anew: {why}"
    project.set(**{"train.seed": 1, "models.base": {**TINY, "train": {"epochs": 3}}})
    assert "starts anew" not in project.stage_here("train", "base").out, "the seed changed, too"


def test_checkpoints_are_kept_up_to_a_size(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.set(**ON)
    old = project.folder / ".cache/training/other.aa.npz"
    old.parent.mkdir(parents=True)
    old.write_bytes(bytes(10**6))
    os.utime(old, (1, 1))
    monkeypatch.setenv("TRAININGS_CACHE_SIZE", "1MB")
    assert project.stage_here("train", "base").code == 0
    assert not old.exists()
    assert len(checkpoints(project)) == 1


def test_ctrl_c_says_that_progress_is_kept(project: Project) -> None:
    """And ``stop_after`` ends the training there at once, with the best network so far."""
    project.set(**{"train.epochs": 200})
    process = project.start(*TRAIN)
    assert process.stdout
    assert process.stdout.readline().startswith("base 1/200")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    last = err.splitlines()[-1]  # lines about a slow start and a long training may come before
    told = re.fullmatch(
        r"error: base stopped by Ctrl-C in epoch (\d+) of 200; best so far epoch (\d+), (\d+\.\d)% right on "
        r"validation; the next dvc repro goes on from there, or ends there with models.base.train.stop_after: (\d+)",
        last,
    )
    assert told, last
    assert "Traceback" not in err
    assert checkpoints(project)
    finished = int(told[4])
    assert finished == int(told[1]) - 1
    project.set(**{"train.stop_after": finished})
    done = project.stage_here("train", "base")
    assert done.out.splitlines() == [
        f"train: base {RESUMED} after {finished} epoch{'s' if finished > 1 else ''} and 0 batches",
        f"train: base in float32, best epoch {told[2]} of {finished}, stopped early -> artifacts/base/model.keras",
    ]
    with open(project.folder / "artifacts/base/history.csv", newline="") as file:
        best = list(csv.DictReader(file))[int(told[2]) - 1]
    assert f"{float(best['val_accuracy']):.1%}" == f"{told[3]}%"
    project.set(**{"train.stop_after": finished + 1})
    assert f"base {finished + 1}/{finished + 1}  loss" in project.stage_here("train", "base").out
