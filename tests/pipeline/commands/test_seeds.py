"""``models seeds`` in a real DVC repository."""

import json
import statistics
import sys
from collections.abc import Callable

import pytest
from conftest import ROOT, Project, in_this_process
from ruamel.yaml import YAML

from pipeline.commands.models.__main__ import main

SMALL = {"family": "ds_cnn", "front_end": "mel", "n_mels": 20, "channels": 4, "blocks": 1}
SEEDS = (sys.executable, "-m", "pipeline.commands.models", "seeds")


@pytest.fixture(scope="module")
def project(make_repository: Callable[[], Project]) -> Project:
    project = make_repository()
    project.set(**{"models": {"small": SMALL, "fixed": {**SMALL, "train": {"seed": 3}}}, "train.seed": 5})
    return project


def test_every_seed_is_an_experiment_and_the_projects_own_stays(project: Project) -> None:
    params = (project.folder / "params.yaml").read_text()
    done = project.run(*SEEDS, "small", "--seeds", "2", "--json")
    assert done.code == 0, done.err
    (result,) = json.loads(done.out[done.out.rindex("\n[") :])
    assert len(result["accuracies"]) == 2
    assert result["accuracy"]["mean"] == pytest.approx(statistics.mean(result["accuracies"]))
    assert result["accuracy"]["deviation"] == pytest.approx(statistics.stdev(result["accuracies"]))
    assert [each["word"] for each in result["words"]] == YAML(typ="safe").load(params)["corpus"]["words"]
    assert (project.folder / "params.yaml").read_text() == params
    shown = json.loads(project.run("dvc", "exp", "show", "--json").out)
    tried = {
        state["data"]["params"]["params.yaml"]["data"]["train"]["seed"]
        for commit in shown
        for experiment in commit["experiments"] or []
        for state in experiment["revs"]
    }
    assert tried == {5, 6}
    # What is in the project is what its own seed gave, and nothing is trained twice.
    stays = json.loads((project.folder / "metrics/small.json").read_text())["accuracy"]
    again = project.run(*SEEDS, "small", "--seeds", "2")
    assert again.code == 0, again.err
    assert "small 1/1  loss" in done.out
    assert "small 1/1  loss" not in again.out
    assert json.loads((project.folder / "metrics/small.json").read_text())["accuracy"] == stays
    table = [line for line in again.out.splitlines() if line.startswith("small ")]
    assert f"{result['accuracy']['mean']:.1%} ± {result['accuracy']['deviation']:4.1%}" in table[0]
    assert f"{result['parameters']:,}" in table[0]
    assert all(len(line) <= 80 for line in again.out[again.out.rindex("seeds: mean") :].splitlines())


def test_what_cannot_be_tried_is_one_sentence(project: Project) -> None:
    for name, said in (
        ("nope", "error: params.yaml has no network nope; expected one of fixed, small\n"),
        ("fixed", "error: models.fixed.train.seed in params.yaml fixes its seed; remove it to try several\n"),
    ):
        done = in_this_process(project.folder, main, "models", "seeds", name)
        assert (done.code, done.out, done.err) == (2, "", said)


def test_the_benchmark_of_accuracy_runs_and_trains_nothing_twice(project: Project) -> None:
    """After the test above, which made the features."""
    benchmark = (sys.executable, str(ROOT / "benchmarks/accuracy.py"), "small", "--seeds", "1", "--results", "r.jsonl")
    first = project.run(*benchmark, env={"PYTHONPATH": str(project.folder)})
    assert first.code == 0, first.err
    assert first.out.splitlines()[-1].startswith("small ")
    kept = (project.folder / "r.jsonl").read_text()
    assert project.run(*benchmark, env={"PYTHONPATH": str(project.folder)}).out == first.out
    assert (project.folder / "r.jsonl").read_text() == kept
