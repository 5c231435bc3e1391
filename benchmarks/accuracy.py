"""How well networks learn on given features, and what each costs: several seeds each, one table.

    uv run python benchmarks/accuracy.py                                  # all networks of params.yaml, 3 seeds
    uv run python benchmarks/accuracy.py notebook/base notebook/skip res  # the notebook's recipe, and a network of ours
    uv run python benchmarks/accuracy.py --ablate res_small               # a network without each ingredient

Each network trains with its own settings in params.yaml, but for the seed. Accuracy is that of the epoch with the least
validation loss on the test set; ``+-`` is the standard deviation over seeds. Rates are of training steps, waiting for
data included. Every training is written to ``--results`` when it ends, and one that is there is not run again.
"""

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from features.store.reader import FeatureStore
from features.stream.batches import scoring_batches
from models.cost import cost_of
from models.evaluation import predict
from models.history import best_of
from models.predict import predictor_of
from models.settings import AugmentSpec, NetworkSpec, TrainSpec
from pipeline.shell.params import changed, read_section
from pipeline.shell.recipe import read_network
from pipeline.train import train_on

NOTEBOOK = {
    "batch_size": 32,
    "epochs": 10,
    "learning_rate": 1e-4,
    "schedule": "constant",
    "compression": "none",
    "weight_decay": 0.0,
    "label_smoothing": 0.0,
    "ema": 0.0,
    "augment": None,
}
Job = tuple[str, NetworkSpec, TrainSpec]


def main() -> None:
    """Read the options, train what is not there yet, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", help="of params.yaml; all by default")
    parser.add_argument("--features", type=Path, default=Path("data/features"), help="folder of the feature stores")
    parser.add_argument("--results", type=Path, default=Path("accuracy.jsonl"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, help="other than in params.yaml; the notebook's recipe keeps its ten")
    parser.add_argument("--ablate", metavar="NETWORK", help="train it as it is, and without each ingredient")
    options = parser.parse_args()
    if options.ablate:
        jobs = list(ablations(options.ablate))
    else:
        jobs = [job(name) for name in options.networks or read_section_names()]
    print(
        f"{'':22} {'parameters':>10} {'mult-adds':>9} {'accuracy':>14} {'min':>5} {'clips/s':>8} {'wait':>6} {'ms':>5}"
    )
    for label, network, spec in jobs:
        if options.epochs and not label.startswith("notebook/"):
            spec = replace(spec, epochs=options.epochs)
        rows = [measure(options, network, replace(spec, seed=seed)) for seed in range(options.seeds)]
        print(line(label, rows), flush=True)


def read_section_names() -> list[str]:
    """Networks of params.yaml."""
    from ruamel.yaml import YAML

    return list(YAML(typ="safe").load(Path("params.yaml"))["models"])


def job(name: str) -> Job:
    """A network with its recipe, or with the notebook's."""
    recipe, _, model = name.rpartition("/")
    network, shared = read_network(model), read_section("train", TrainSpec)
    if recipe == "notebook":
        return name, network, changed(shared, NOTEBOOK, "notebook")
    return name, network, changed(shared, network.train, f"models.{model}.train")


def ablations(name: str) -> Any:
    """A network with its recipe, and without each ingredient of it."""
    label, network, spec = job(name)
    augment = spec.augment or AugmentSpec()
    yield label, network, spec
    yield "no augmentation", network, replace(spec, augment=None)
    yield "no masks", network, replace(spec, augment=replace(augment, time_masks=0, frequency_masks=0))
    yield "no shift", network, replace(spec, augment=replace(augment, shift_s=0.0))
    yield "no stretch, no warp", network, replace(spec, augment=replace(augment, stretch=0.0, warp=0.0))
    yield "no noise, no gain", network, replace(spec, augment=replace(augment, noise=0.0, gain_db=0.0))
    yield "no label smoothing", network, replace(spec, label_smoothing=0.0)
    yield "no weight decay", network, replace(spec, weight_decay=0.0)
    yield "no moving average", network, replace(spec, ema=0.0)
    yield "constant schedule", network, replace(spec, schedule="constant")
    yield "PCEN, not log mel", replace(network, front_end="pcen"), spec
    yield "all bins, not mel", replace(network, front_end="none"), spec


def measure(options: argparse.Namespace, network: NetworkSpec, spec: TrainSpec) -> dict[str, Any]:
    """One training, or what is known of it."""
    settings = json.loads(msgspec.json.encode([msgspec.to_builtins(replace(network, train={})), spec]))
    if options.results.exists():
        for known in map(json.loads, options.results.read_text().splitlines()):
            if known["settings"] == settings:
                return known
    times: list[tuple[float, float]] = []
    started = time.monotonic()
    trained = train_on(
        options.features,
        network,
        spec,
        on_epoch=lambda epoch, seconds, data_wait_s: times.append((seconds, data_wait_s)),
    )
    minutes = (time.monotonic() - started) / 60
    test = FeatureStore.open(options.features / "test.zarr")
    found = predict(trained.model, scoring_batches(test.path, 64)).argmax(axis=1)
    clips = FeatureStore.open(options.features / "train.zarr").clips // spec.batch_size * spec.batch_size
    result = {
        "settings": settings,
        "accuracy": float((found == test.labels).mean()),
        "val_accuracy": best_of(trained.history).val_accuracy,
        "minutes": minutes,
        "clips_per_s": clips / statistics.median(seconds for seconds, _ in times),
        "wait": sum(wait for _, wait in times) / sum(seconds for seconds, _ in times),
        **cost_of(trained.model, predictor_of(trained.model), (*test.shape, 1), test.attributes["clip_seconds"]),
    }
    with options.results.open("a") as file:
        file.write(json.dumps(result) + "\n")
    return result


def line(label: str, rows: list[dict[str, Any]]) -> str:
    """A line of the table."""
    mean = {name: statistics.mean(row[name] for row in rows) for name in rows[0] if name != "settings"}
    spread = statistics.stdev(row["accuracy"] for row in rows) if len(rows) > 1 else 0.0
    return (
        f"{label:22} {mean['parameters']:10,.0f} {mean['multiply_adds'] / 1e6:7.1f} M "
        f"{mean['accuracy']:7.1%} +- {spread:4.1%} {mean['minutes']:5.1f} {mean['clips_per_s']:8,.0f} "
        f"{mean['wait']:6.1%} {1000 * mean['real_time_factor']:5.1f}"
    )


if __name__ == "__main__":
    main()
