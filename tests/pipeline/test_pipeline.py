"""The pipeline as a whole, in a real git and DVC repository: what runs when something changes."""

import csv
import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import Finished, Project, contents
from ruamel.yaml import YAML

from features.spectrogram import FeatureSpec, transform
from features.split.sets import SETS
from features.store.reader import FeatureStore, WaveformStore
from models.predictions import read_predictions

ALL = {
    "synthesize", "split", "featurize@train", "featurize@validation", "featurize@test", "train@base", "train@skip",
    "evaluate@base", "evaluate@skip", "report",
}  # fmt: skip
FEATURIZE = {stage for stage in ALL if stage.startswith("featurize")}
BASE = {"train@base", "evaluate@base", "report"}
SKIP = {"train@skip", "evaluate@skip", "report"}


def ran(done: Finished) -> set[str]:
    assert done.code == 0, done.out + done.err
    return set(re.findall(r"Running stage '([^']+)'", done.out))


NETWORKS = {
    "base": {"family": "ds_cnn", "channels": 4, "blocks": 1},
    "skip": {"family": "ds_cnn", "channels": 4, "blocks": 2},
}
"""In the place of those of params.yaml, which take twice as long to build."""


@pytest.fixture(scope="module")
def reproduced(make_repository: Callable[..., Project]) -> tuple[Project, Finished]:
    """A repository in which everything ran once."""
    project = make_repository(models=NETWORKS)
    return project, project.run("dvc", "repro")


def test_everything_runs_once(reproduced: tuple[Project, Finished]) -> None:
    project, done = reproduced
    assert ran(done) == ALL
    for model in ("base", "skip"):
        metrics = json.loads((project.folder / f"metrics/{model}.json").read_text())
        assert metrics["test_clips"] == FeatureStore.open(project.folder / "data/features/test.zarr").clips
        assert metrics["accuracy_ci95"][0] <= metrics["accuracy"] <= metrics["accuracy_ci95"][1]
        low, high = metrics["accuracy_ci95"]
        assert metrics["interval"] == f"{low:.1%} to {high:.1%}"
        assert metrics["npz"] == "data/demo/speech_wav_8000.npz"
        shown = ["accuracy", "interval", "loss", "test_clips", "npz", "speakers_known"]
        assert [name for name, value in metrics.items() if not isinstance(value, list)] == shown
        assert set(metrics) == {*shown, "accuracy_ci95", "cost", "words"}


def test_features_lead_back_to_the_npz(reproduced: tuple[Project, Finished]) -> None:
    project, _ = reproduced
    spec = FeatureSpec(kind="magnitude", n_fft=258, hop_length=126, window="hann")
    with np.load(project.folder / "data/demo/speech_wav_8000.npz") as npz:
        waves, labels, speakers = npz["wav_vals"], npz["label_vals"][:, 0], npz["group_vals"][:, 0]
    held = {}
    for name in SETS:
        store = FeatureStore.open(project.folder / f"data/features/{name}.zarr")
        source = WaveformStore.open(project.folder / f"data/split/{name}.zarr")
        np.testing.assert_array_equal(store.source_rows, source.source_rows)
        np.testing.assert_array_equal(store.read(0, store.clips), transform(waves[store.source_rows], spec))
        assert labels[store.source_rows].tolist() == [store.attributes["words"][label] for label in store.labels]
        held[name] = set(speakers[store.source_rows])
    assert not held["train"] & held["test"] | held["train"] & held["validation"] | held["validation"] & held["test"]


def test_predictions_are_of_the_test_set_and_agree_with_the_metrics(reproduced: tuple[Project, Finished]) -> None:
    project, _ = reproduced
    store = FeatureStore.open(project.folder / "data/features/test.zarr")
    for model in ("base", "skip"):
        with open(project.folder / f"artifacts/{model}/predictions.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        assert [int(row["source_row"]) for row in rows] == store.source_rows.tolist()
        correct = sum(row["actual"] == row["predicted"] for row in rows)
        metrics = json.loads((project.folder / f"metrics/{model}.json").read_text())
        assert metrics["accuracy"] == correct / len(rows)


def test_dvc_shows_metrics_and_plots(reproduced: tuple[Project, Finished]) -> None:
    project, _ = reproduced
    shown = json.loads(project.run("dvc", "metrics", "show", "--json").out)
    assert "accuracy" in json.dumps(shown)
    done = project.run("dvc", "plots", "show", "--json")
    assert done.code == 0, done.err
    plots = json.loads(done.out)["data"]
    assert set(plots) == {
        f"artifacts/{model}/{file}.csv" for model in ("base", "skip") for file in ("history", "predictions")
    }


AFTER_SPLIT = {"split"} | FEATURIZE | BASE | SKIP
TRAINED = BASE | SKIP
# setting                  | another value | which stages DVC runs then
SETTINGS = [
    ("data.npz",                 "other.npz",  ALL),
    ("corpus.words",             ["no", "yes"], ALL),
    ("corpus.sample_rate_hz",    16000,        ALL),
    ("corpus.clip_seconds",      0.5,          ALL),
    ("synthesize.language",      "ko",         ALL),
    ("split.published",          "trust",      AFTER_SPLIT),
    ("split.leave_out",          ["bad audio"], AFTER_SPLIT),
    ("synthesize.clips",         130,          ALL),
    ("synthesize.seed",          1,            ALL),
    ("split.test_fraction",      0.2,          AFTER_SPLIT),
    ("split.validation_fraction", 0.2,         AFTER_SPLIT),
    ("split.seed",               1,            AFTER_SPLIT),
    ("features.kind",            "power",      FEATURIZE | TRAINED),
    ("features.n_fft",           128,          FEATURIZE | TRAINED),
    ("features.hop_length",      32,           FEATURIZE | TRAINED),
    ("features.window",          "hamming",    FEATURIZE | TRAINED),
    ("features.n_mels",          30,           FEATURIZE | TRAINED),
    ("features.fmin_hz",         50.0,         FEATURIZE | TRAINED),
    ("features.fmax_hz",         3000.0,       FEATURIZE | TRAINED),
    ("features.n_mfcc",          10,           FEATURIZE | TRAINED),
    ("features.deltas",          False,        FEATURIZE | TRAINED),
    ("store.dtype",              "float16",    FEATURIZE | TRAINED),
    ("store.chunk_clips",        16,           FEATURIZE | TRAINED),
    ("store.shard_clips",        64,           FEATURIZE | TRAINED),
    ("store.codec",              "zstd",       FEATURIZE | TRAINED),
    ("train.batch_size",         8,            TRAINED),
    ("train.epochs",             2,            TRAINED),
    ("train.learning_rate",      0.01,         TRAINED),
    ("train.schedule",           "constant",   TRAINED),
    ("train.early_stopping",     3,            TRAINED),
    ("train.class_weights",      "balanced",   TRAINED),
    ("train.compression",        "none",       TRAINED),
    ("train.precision",          "float32",    TRAINED),
    ("train.seed",               1,            TRAINED),
    ("models.base.family",       "cnn",        BASE),
    ("models.base.channels",     5,            BASE),
    ("models.base.blocks",       2,            BASE),
    ("models.skip.family",       "cnn",        SKIP),
    ("models.skip.channels",     5,            SKIP),
    ("models.skip.blocks",       1,            SKIP),
]  # fmt: skip
RUN_TIME = {
    "WORKERS": "1",
    "FEATURES_CACHE": "elsewhere",
    "FEATURES_CACHE_SIZE": "1GB",
    "SCHEDULER": "tcp://127.0.0.1:1",
    "CHECKPOINT_EVERY": "1",
}


ASK_DVC = """
import json, sys
from pathlib import Path
from dvc.repo import Repo

for params in json.load(sys.stdin):
    Path("params.yaml").write_text(params)
    with Repo() as repo:
        stages = repo.reproduce(dry=True, force_downstream=True)
    print("would run:", *(stage.name for stage in stages))
"""
"""Like ``dvc repro --dry --force-downstream`` once for each params.yaml, in a tenth of the time."""


@pytest.fixture(scope="module")
def would_run(reproduced: tuple[Project, Finished]) -> dict[str, set[str]]:
    """By setting, the stages that DVC would run if it were changed, or that wait for another that runs."""
    project, _ = reproduced
    params = project.folder / "params.yaml"
    before = params.read_text()
    shutil.copy(project.folder / "data/demo/speech_wav_8000.npz", project.folder / "other.npz")
    changed = []
    for setting, value, _ in SETTINGS:
        project.set(**{setting: value})
        changed.append(params.read_text())
        params.write_text(before)
    done = project.run(sys.executable, "-c", ASK_DVC, stdin=json.dumps(changed))
    params.write_text(before)
    assert done.code == 0, done.err
    answers = re.findall(r"^would run: (.*)$", done.out, re.MULTILINE)
    return {setting: set(answer.split()) for (setting, _, _), answer in zip(SETTINGS, answers, strict=True)}


@pytest.mark.parametrize(("setting", "expected"), [(setting, expected) for setting, _, expected in SETTINGS])
def test_a_setting_reruns_what_depends_on_it(would_run: dict[str, set[str]], setting: str, expected: set[str]) -> None:
    assert would_run[setting] == expected


def test_every_setting_is_in_that_table(reproduced: tuple[Project, Finished]) -> None:
    def leaves(value: object, path: str) -> list[str]:
        if not isinstance(value, dict):
            return [path]
        return [leaf for name, below in value.items() for leaf in leaves(below, f"{path}.{name}" if path else name)]

    project, _ = reproduced
    params = YAML(typ="safe").load(project.folder / "params.yaml")
    assert sorted(leaves(params, "")) == sorted(setting for setting, _, _ in SETTINGS)


def test_run_time_settings_rerun_nothing(reproduced: tuple[Project, Finished]) -> None:
    project, _ = reproduced
    assert ran(project.run("dvc", "repro", env=RUN_TIME)) == set()


@pytest.mark.parametrize("from_elsewhere", [False, True])
def test_damage_that_reaches_dvcs_cache_is_repaired_there_too(
    reproduced: tuple[Project, Finished], tmp_path: Path, from_elsewhere: bool
) -> None:
    """Store, shard cache and DVC's cache are links to one file, so a byte that flips in it flips in all.

    They are the project's own also where repair is run elsewhere, on a link to the store.
    """
    project, _ = reproduced
    store = project.folder / "data/features/train.zarr"
    shard = store / "features/c.0.0.0"
    good = contents(store)
    assert shard.stat().st_nlink == 3
    shard.chmod(0o644)
    with shard.open("r+b") as file:
        file.seek(1000)
        file.write(bytes([good["features/c.0.0.0"][1000] ^ 8]))
    at = store
    if from_elsewhere:
        at = tmp_path / "linked.zarr"
        at.symlink_to(store)
    command = (sys.executable, "-m", "pipeline.commands.features", "verify", str(at), "--repair")
    environment = {"PYTHONPATH": str(project.folder)}
    done = Project(tmp_path if from_elsewhere else project.folder).run(*command, env=environment)
    assert done.code == 0, done.err
    assert list(tmp_path.iterdir()) == ([at] if from_elsewhere else [])
    assert "repaired 1 file in DVC's cache, too" in done.out
    assert contents(store) == good
    shutil.rmtree(store)
    assert project.run("dvc", "checkout", "featurize@train").code == 0
    assert contents(store) == good
    assert ran(project.run("dvc", "repro")) == set()


def test_an_experiment_compares_itself_with_what_was_there(reproduced: tuple[Project, Finished]) -> None:
    project, first = reproduced
    (advice,) = re.findall(r"compares with it: (.*) 'describe it'$", first.out, re.MULTILINE)
    assert project.run("sh", "-c", f"{advice} trained").code == 0
    assert project.run("git", "status", "--porcelain").out == "", "the advice forgets something"
    done = project.run("dvc", "exp", "run", "--name", "wider", "-S", "models.skip.channels=6")
    assert ran(done) == SKIP

    shown = json.loads(project.run("dvc", "exp", "show", "--json").out)
    (experiment,) = shown[1]["experiments"]
    assert experiment["name"] == "wider"
    values = experiment["revs"][0]["data"]
    assert values["params"]["params.yaml"]["data"]["models"]["skip"]["channels"] == 6
    assert {"metrics/base.json", "metrics/skip.json"} <= set(values["metrics"])

    changed = json.loads(project.run("dvc", "metrics", "diff", "--json").out)
    assert set(changed) == {"metrics/skip.json"}
    assert "loss" in changed["metrics/skip.json"]

    page = (project.folder / "reports/index.html").read_text("utf-8")
    assert "trained. Compared on" in page, "the report does not name the commit it compares with"
    was = json.loads(project.run("git", "show", "HEAD:metrics/skip.json").out)["accuracy"]
    now = json.loads((project.folder / "metrics/skip.json").read_text())["accuracy"]
    (row,) = re.findall(r"<bdi>skip</bdi></th><td>\d+</td><td>([0-9.]+) %</td><td>([0-9.]+) %</td><td", page)
    assert row == (f"{100 * was:.1f}", f"{100 * now:.1f}")

    done = project.run("dvc", "plots", "diff", "--json")
    assert done.code == 0, done.err
    plots = json.loads(done.out)["data"]
    assert plots["artifacts/skip/predictions.csv"][0]["revisions"] == ["workspace", "HEAD"]
    for model in ("base", "skip"):
        (plot,) = plots[f"artifacts/{model}/history.csv"]
        points = plot["content"]["data"]["values"]
        assert {point["rev"] for point in points} == {"HEAD", "workspace"}
        assert {"epoch", "loss", "val_loss", "accuracy", "val_accuracy"} <= set(points[0])


def assert_metrics_are_of_the_predictions(project: Project, network: str) -> None:
    metrics = json.loads((project.folder / f"metrics/{network}.json").read_text())
    found = read_predictions(project.folder / f"artifacts/{network}/predictions.csv")
    assert metrics["accuracy"] == (found.predicted == found.labels).mean()
    of_actual = found.probabilities[np.arange(len(found.labels)), found.labels]
    assert metrics["loss"] == pytest.approx(-np.log(of_actual).mean(), abs=1e-4)


def test_metrics_and_networks_agree_after_git_put_other_metrics_there(reproduced: tuple[Project, Finished]) -> None:
    """The experiment before left its settings and results; what docs/troubleshooting.md says brings each run back."""
    project, _ = reproduced
    assert_metrics_are_of_the_predictions(project, "skip")
    new = json.loads((project.folder / "metrics/skip.json").read_text())
    assert project.run("git", "stash").code == 0
    with pytest.raises(AssertionError):
        assert_metrics_are_of_the_predictions(project, "skip")
    assert project.run("dvc", "checkout").code == 0
    assert_metrics_are_of_the_predictions(project, "skip")
    old = json.loads((project.folder / "metrics/skip.json").read_text())
    assert old != new
    assert project.run("git", "stash", "pop").code == 0
    assert project.run("dvc", "checkout").code == 0
    assert_metrics_are_of_the_predictions(project, "skip")

    assert "channels: 6" in (project.folder / "params.yaml").read_text()
    assert project.run("sh", "-c", "git restore . && dvc checkout").code == 0
    assert "channels: 6" not in (project.folder / "params.yaml").read_text()
    assert json.loads((project.folder / "metrics/skip.json").read_text()) == old
    assert_metrics_are_of_the_predictions(project, "skip")
    assert project.run("dvc", "exp", "apply", "wider").code == 0
    assert json.loads((project.folder / "metrics/skip.json").read_text()) == new
    assert_metrics_are_of_the_predictions(project, "skip")


def test_a_network_is_added_in_params_yaml_alone(reproduced: tuple[Project, Finished]) -> None:
    """Nothing else runs for it."""
    project, _ = reproduced
    project.set(**{"models.wide": {"family": "ds_cnn", "channels": 8, "blocks": 1}})
    assert ran(project.run("dvc", "repro")) == {"train@wide", "evaluate@wide", "report"}
    shown = json.loads(project.run("dvc", "metrics", "show", "--json").out)
    assert "metrics/wide.json" in shown[""]["data"]
    plots = json.loads(project.run("dvc", "plots", "show", "--json").out)["data"]
    assert {"artifacts/wide/history.csv", "artifacts/wide/predictions.csv"} <= set(plots)
    assert "Training of wide" in json.dumps(plots["artifacts/wide/history.csv"])


def test_only_what_changed_runs(reproduced: tuple[Project, Finished]) -> None:
    """That networks follow is in the table above; that one network can run alone, in the experiment."""
    project, _ = reproduced
    project.set(**{"features.n_fft": 128})
    assert ran(project.run("dvc", "repro", *FEATURIZE)) == FEATURIZE


def test_going_back_computes_nothing(reproduced: tuple[Project, Finished]) -> None:
    project, _ = reproduced
    first = project.run("git", "show", "HEAD:params.yaml").out
    (project.folder / "params.yaml").write_text(first)
    done = project.run("dvc", "repro")
    assert ran(done) == {"report"}  # which compares with the last commit, so no earlier page is restored
    for stage in FEATURIZE | {"train@skip", "evaluate@skip"}:
        assert f"Stage '{stage}' is cached" in done.out


def test_a_comment_trains_and_evaluates_nothing_again(reproduced: tuple[Project, Finished]) -> None:
    """DVC sees that modules changed and runs the stages; their results are kept, to the byte."""
    project, _ = reproduced
    before = {name: contents(project.folder / name) for name in ("artifacts", "metrics")}
    network = project.folder / "models/networks/ds_cnn.py"
    network.write_text(f"# A comment.\n{network.read_text()}")
    evaluation = project.folder / "models/evaluation.py"
    evaluation.write_text(f"# A comment.\n{evaluation.read_text()}")
    done = project.run("dvc", "repro")
    assert ran(done) == (BASE | SKIP) - {"report"}  # what it reads is the same
    for model in ("base", "skip"):
        assert f"train: {model} was trained with these settings before, best epoch 1 ->" in done.out
        assert f"evaluate: {model} was evaluated before and is right on " in done.out
    assert {name: contents(project.folder / name) for name in ("artifacts", "metrics")} == before


def test_the_notebooks_recipe_is_one_setting_away(reproduced: tuple[Project, Finished]) -> None:
    page = (Path(__file__).parents[2] / "docs/training.md").read_text()
    recipe = re.search(r"dvc exp run -S '(train=\{[^']*\})'", page)
    assert recipe, "docs/training.md gives no command for the notebook's recipe"
    project, _ = reproduced
    done = project.run("dvc", "exp", "run", "-S", recipe[1], "synthesize")
    assert done.code == 0, done.err
    set_to = YAML(typ="safe").load(project.folder / "params.yaml")["train"]
    assert set_to == {
        "batch_size": 32,
        "epochs": 10,
        "learning_rate": 1e-4,
        "schedule": "constant",
        "early_stopping": 0,
        "class_weights": "none",
        "compression": "none",
        "precision": "float32",
        "seed": 0,
    }
