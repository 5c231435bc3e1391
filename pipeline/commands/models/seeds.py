"""``models seeds``: the same networks from several seeds, as DVC experiments, and how far their scores differ."""

import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from ruamel.yaml import YAML

from features.errors import InputError
from models.settings import TrainSpec
from pipeline.shell.params import PARAMS, read_section
from pipeline.shell.stage import counted, say

MOST_SEEDS = 100


def command(
    networks: Annotated[
        list[str] | None, typer.Argument(help="Networks of params.yaml; by default all.", show_default=False)
    ] = None,
    seeds: Annotated[int, typer.Option(min=2, max=MOST_SEEDS, help="How many seeds, counted from train.seed.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Train networks from several seeds, and print the mean and the spread of their scores.

    Each seed is an experiment of DVC: see dvc exp show. Finished trainings are kept, so a second call trains nothing.
    """
    before = PARAMS.read_text(encoding="utf-8") if PARAMS.is_file() else ""
    first = read_section("train", TrainSpec).seed
    known = YAML(typ="safe").load(before)["models"]
    names = networks or list(known)
    for name in names:
        if name not in known:
            raise InputError(f"{PARAMS} has no network {name}; expected one of {', '.join(known)}")
        if "seed" in (known[name].get("train") or {}):
            raise InputError(f"models.{name}.train.seed in {PARAMS} fixes its seed; remove it to try several")
    runs: list[dict[str, Any]] = []
    try:
        for seed in reversed(range(first, first + seeds)):  # the project's own comes last, so it is what stays
            say(f"seeds: seed {seed}, {len(runs) + 1} of {seeds}")
            _run_experiment(seed, names)
            runs.append({name: json.loads(Path(f"metrics/{name}.json").read_text("utf-8")) for name in names})
    finally:
        if PARAMS.read_text(encoding="utf-8") != before:
            PARAMS.write_text(before, encoding="utf-8")
    results = [_summary(name, [run[name] for run in runs]) for name in names]
    if as_json:
        say(json.dumps(results, indent=2, ensure_ascii=False))
    else:
        _print(results)


def _run_experiment(seed: int, names: Sequence[str]) -> None:
    stages = [f"evaluate@{name}" for name in names]
    command = [sys.executable, "-m", "dvc", "exp", "run", "--quiet", "--set-param", f"train.seed={seed}", *stages]
    done = subprocess.run(command, check=False)  # noqa: S603  (our own arguments, no shell)
    if done.returncode:
        raise InputError(
            f"the experiment with seed {seed} failed, see above; what was trained is kept, so run this again when it "
            "is mended"
        )


def _summary(name: str, metrics: Sequence[dict[str, Any]]) -> dict[str, Any]:
    accuracies = [each["accuracy"] for each in metrics]
    words = [
        {"word": of_word[0]["word"], "f1": _mean_and_spread([each["f1"] for each in of_word])}
        for of_word in zip(*(each["words"] for each in metrics), strict=True)
    ]
    (cost,) = metrics[0]["cost"]
    return {
        "model": name,
        "accuracies": accuracies,
        "accuracy": _mean_and_spread(accuracies),
        "test_clips": metrics[0]["test_clips"],
        "parameters": cost["parameters"],
        "multiply_adds": cost["multiply_adds"],
        "real_time_factor": cost["real_time_factor"],
        "words": words,
    }


def _mean_and_spread(values: Sequence[float]) -> dict[str, float]:
    return {"mean": statistics.mean(values), "deviation": statistics.stdev(values)}


def _print(results: Sequence[dict[str, Any]]) -> None:
    seeds = len(results[0]["accuracies"])
    say(f"seeds: mean and standard deviation of {counted(seeds, 'seed')}, on {results[0]['test_clips']:,} test clips")
    width = max(7, *(len(result["model"]) for result in results))
    say(f"{'network':{width}}  accuracy       parameters  multiply-adds  share of a core")
    for result in results:
        say(
            f"{result['model']:{width}}  {_shown(result['accuracy'])}  {result['parameters']:10,}  "
            f"{result['multiply_adds'] / 1e6:11.1f} M  {result['real_time_factor']:15.2%}"
        )
    say("")
    wide = max(len("F1 of"), *(len(each["word"]) for each in results[0]["words"]))
    columns = [max(6, len(result["model"])) for result in results]
    heads = [f"{result['model']:>{column}}" for result, column in zip(results, columns, strict=True)]
    say("  ".join([f"{'F1 of':{wide}}", *heads]))
    for of_word in zip(*(result["words"] for result in results), strict=True):
        shares = [f"{each['f1']['mean']:{column}.1%}" for each, column in zip(of_word, columns, strict=True)]
        say("  ".join([f"{of_word[0]['word']:{wide}}", *shares]))


def _shown(value: dict[str, float]) -> str:
    return f"{value['mean']:5.1%} ± {value['deviation']:4.1%}"
