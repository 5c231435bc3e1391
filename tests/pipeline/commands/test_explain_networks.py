"""What ``models explain`` says before a run is what the run then does, in a real git and DVC repository."""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from conftest import Project, everything, make_arrays

EXPLAIN = ("-m", "pipeline.commands.models", "explain")
TINY = {"family": "ds_cnn", "channels": 4, "blocks": 1}
CONSTANT = {"schedule": "constant"}
NONE = ("none", False)


@pytest.fixture(scope="module")
def project(make_repository: Callable[..., Project]) -> Project:
    """A repository in which two networks are trained and scored, with an npz of its own."""
    project = make_repository(models={"base": {**TINY, "train": {}}, "skip": {**TINY, "blocks": 2}})
    project.save_npz(make_arrays(10))
    repro(project)
    return project


def repro(project: Project) -> dict[str, tuple[str, bool]]:
    """Run DVC; what happened to each network: its training, and whether it was scored anew."""
    done = project.run("dvc", "repro", "--no-run-cache", "evaluate@base", "evaluate@skip")
    assert done.code == 0, done.out + done.err
    happened = {}
    for name in ("base", "skip"):
        training = "none"
        if f"train: {name} was trained with these settings before" in done.out:
            training = "kept"
        elif f"train: {name} goes on from a checkpoint" in done.out:
            training = "resumes"
        elif f"{name} 1/" in done.out:
            training = "trains"
        happened[name] = (training, f"evaluate: {name} is right on" in done.out)
    return happened


def explain(project: Project, *arguments: str) -> dict[str, Any]:
    done = project.run(sys.executable, *EXPLAIN, "--json", *arguments)
    assert done.code == 0, done.err
    return json.loads(done.out)


def lines(project: Project) -> list[str]:
    done = project.run(sys.executable, *EXPLAIN)
    assert done.code == 0, done.err
    found = done.out.splitlines()
    assert max(map(len, found)) <= 80
    return found


def edit(module: str, old: str, new: str) -> Callable[[Project], None]:
    def change(project: Project) -> None:
        path = project.folder / module
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new, 1))

    return change


def recipe(**changes: object) -> Callable[[Project], None]:
    return lambda project: project.set(**{"models.base.train": changes})


def kill(project: Project) -> None:
    """Raise the number of epochs, and kill the training of base as soon as it has saved a checkpoint."""
    recipe(**CONSTANT, epochs=4000)(project)
    before = set(project.folder.glob(".cache/training/base.*.npz"))
    with project.start(sys.executable, "-m", "pipeline.train", "base") as process:
        while process.poll() is None and set(project.folder.glob(".cache/training/base.*.npz")) == before:
            time.sleep(0.002)
        process.kill()
    recipe(**CONSTANT, epochs=9)(project)


# what changes                                                  | base            | skip | what is said to be the reason
CHANGES: list[tuple[Callable[[Project], object], tuple[str, bool], tuple[str, bool], str]] = [
    (lambda project: None, NONE, NONE, ""),
    (recipe(seed=1), ("trains", True), NONE, "models.base.train.seed: none -> 1"),
    (recipe(), ("kept", False), NONE, "models.base.train.seed: 1 -> none"),
    (recipe(**CONSTANT, epochs=2), ("trains", True), NONE, "models.base.train.epochs: none -> 2"),
    (recipe(**CONSTANT, epochs=3), ("resumes", True), NONE, "models.base.train.epochs: 2 -> 3"),
    (kill, ("resumes", True), NONE, "models.base.train.epochs: 3 -> 9"),
    (
        edit("models/networks/ds_cnn.py", '"""', '"""A comment. '),
        ("kept", False),
        ("kept", False),
        "the code changed: models/networks",
    ),
    (edit("models/evaluation.py", '"""', '"""A comment. '), NONE, NONE, "the code changed: models/evaluation.py"),
    (
        edit("models/evaluation.py", "\n\n\n", "\n\nUNUSED = 1\n\n\n"),
        ("none", True),
        ("none", True),
        "the code changed: models/evaluation.py",
    ),
    (edit("features/spectrogram.py", '"""', '"""A comment. '), NONE, NONE, ""),
]


@pytest.mark.parametrize("number", range(len(CHANGES)))
def test_what_is_said_is_what_happens(project: Project, number: int) -> None:
    change, base, skip, reason = CHANGES[number]
    change(project)
    said = explain(project)
    assert {name: (answer["training"], answer["evaluated"]) for name, answer in said.items()} == {
        "base": base,
        "skip": skip,
    }
    assert reason in "\n".join(line for answer in said.values() for line in answer["why"])
    assert repro(project) == {"base": base, "skip": skip}
    if base[0] == "resumes":
        assert said["base"]["finished_epochs"] >= 2


def test_a_training_is_as_fast_as_the_last_one(project: Project) -> None:
    """With a measured epoch of 100 s: more epochs take longer, and other sizes are not guessed at."""
    assert not any(answer["seconds"] for answer in explain(project).values())
    kept = project.folder / ".cache/times/base.json"
    pace = json.loads(kept.read_text())
    assert 0 < pace["epoch_s"] < 60
    assert 1 < pace["start_s"] < 200
    kept.write_text(json.dumps({**pace, "epoch_s": 100.0, "start_s": 10.0}))
    project.set(**{"models.base.train": {**CONSTANT, "seed": 5, "epochs": 4}, "models.skip.channels": 6})
    said = explain(project)
    assert said["base"]["seconds"] == 410.0
    assert said["skip"]["seconds"] is None
    assert lines(project) == [
        "base: trains 4 epochs and is evaluated; about 7 min",
        "  because models.base.train.epochs: 9 -> 4",
        "  because models.base.train.seed: none -> 5",
        "skip: trains 1 epoch and is evaluated; tells its time after 5 s",
        "  because models.skip.channels: 4 -> 6",
        "together: about 7 min, without skip",
    ]
    project.set(**{"features.hop_length": 64})
    assert explain(project, "base")["base"]["seconds"] is None, "its features have another shape"
    project.set(**{"features.hop_length": 126, "models.skip.channels": 4})


def test_a_checkpoint_that_is_far_enough_ends_the_training(project: Project) -> None:
    recipe(**CONSTANT, epochs=12, stop_after=9)(project)
    assert lines(project)[0] == "base: ends with epoch 9, which it has reached, and is evaluated; about 10 s"
    recipe(**CONSTANT, epochs=12)(project)
    assert lines(project)[0] == "base: goes on in epoch 10 of 12 and is evaluated; about 5 min"
    edit("features/spectrogram.py", '"""', '"""Another comment. ')(project)  # whose features come out the same
    assert lines(project)[0] == "base: goes on in epoch 10 of 12 and is evaluated; about 5 min"


def test_it_changes_nothing_and_starts_without_tensorflow(project: Project) -> None:
    recipe(**CONSTANT, epochs=12)(project)
    before = {name: what for name, what in everything(project.folder).items() if not name.startswith(".dvc/tmp")}
    done = project.run(sys.executable, "-X", "importtime", *EXPLAIN)
    loaded = {line.rsplit("|")[-1].strip().split(".")[0] for line in done.err.splitlines() if "import time:" in line}
    assert {"numpy", "msgspec"} <= loaded
    assert not loaded & {"tensorflow", "keras", "dvclive", "sklearn"}
    after = {name: what for name, what in everything(project.folder).items() if not name.startswith(".dvc/tmp")}
    assert after == before


def test_a_network_that_dvc_restores(project: Project) -> None:
    recipe(**CONSTANT, epochs=9)(project)
    (project.folder / "artifacts/base/model.keras").unlink()
    assert lines(project) == [
        "base: nothing to compute",
        "  although artifacts/base/model.keras is deleted; DVC restores it",
        "skip: nothing to run",
    ]


def test_a_wrong_network_or_setting_is_one_sentence(project: Project) -> None:
    done = project.run(sys.executable, *EXPLAIN, "bas")
    assert (done.code, done.err) == (
        2,
        "error: there is no network 'bas' in params.yaml; expected one of base, skip\n",
    )
    recipe(epoch=3)(project)
    done = project.run(sys.executable, *EXPLAIN)
    assert done.code == 2
    assert done.err.startswith("error: params.yaml has an unknown setting models.base.train.epoch; did you mean ")
    recipe(**CONSTANT, epochs=9)(project)


def test_other_features_train_all_networks(project: Project) -> None:
    """Their fingerprint is not known before they are there, so no kept training is looked for."""
    project.set(**{"features.window": "hamming", "models.base.train": {}})
    said = explain(project)
    for name in ("base", "skip"):
        assert (said[name]["training"], said[name]["evaluated"]) == ("trains", True)
        assert said[name]["why"][-1] == "its features change: features.window: hann -> hamming"
    assert repro(project) == {"base": ("trains", True), "skip": ("trains", True)}


def test_before_anything_ran(make_repository: Callable[..., Project]) -> None:
    project = make_repository(models={"base": TINY})
    assert lines(project) == [
        "base: trains 1 epoch and is evaluated; tells its time after 5 s",
        "  because dvc.lock has no record of train@base",
        "  because its features are not computed yet",
    ]
    for stage in ("synthesize", "split", "featurize@train", "featurize@validation", "featurize@test"):
        assert project.run("dvc", "repro", "--single-item", stage).code == 0
    project.set(**{"synthesize.clips": 130})
    assert lines(project)[2] == "  because its features change: synthesize.clips: 120 -> 130"
