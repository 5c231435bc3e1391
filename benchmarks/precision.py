"""Training in the precision that `auto` chooses against training in float32: how fast, and how well it learns.

    uv run python benchmarks/precision.py                    # features of data/features, both networks, 3 seeds
    uv run python benchmarks/precision.py --epochs 2 --seeds 1 --models base

The settings are those of params.yaml, but for the seed, the precision and the epochs. Each seed trains once in each
precision, one after the other. The rate is that of the training steps; scores are in float32 either way.
"""

import argparse
import statistics
from pathlib import Path

import msgspec

from features.store.reader import FeatureStore
from models.history import best_of
from models.settings import TrainSpec
from models.training.devices import choose_precision
from pipeline.shell.params import read_section
from pipeline.shell.recipe import read_network
from pipeline.train import train_on


def main() -> None:
    """Read the options, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", type=Path, default=Path("data/features"), help="folder of the feature stores")
    parser.add_argument("--models", nargs="+", default=["base", "skip"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=4)
    options = parser.parse_args()
    chosen = choose_precision("auto")
    if chosen == "float32":
        print("auto is float32 on this device: there is nothing to compare")
        return
    clips = FeatureStore.open(options.features / "train.zarr").clips
    print(f"{clips:,} clips to train on, {options.epochs} epochs; best validation accuracy of each seed")
    print(f"{'':6} {'':9} {'clips/s':>8} {'ratio':>6}   accuracy")
    for model in options.models:
        rates: dict[str, list[float]] = {"float32": [], chosen: []}
        accuracies: dict[str, list[float]] = {"float32": [], chosen: []}
        for seed in range(options.seeds):
            for precision in rates:
                rate, accuracy = measure(options.features, model, precision, seed, options.epochs)
                rates[precision].append(rate)
                accuracies[precision].append(accuracy)
        slow = statistics.median(rates["float32"])
        for precision, each in rates.items():
            rate = statistics.median(each)
            shown = ", ".join(f"{accuracy:.1%}" for accuracy in accuracies[precision])
            mean = statistics.mean(accuracies[precision])
            print(f"{model:6} {precision:9} {rate:8.1f} {rate / slow:6.2f}   {shown}; mean {mean:.1%}", flush=True)


def measure(folder: Path, model: str, precision: str, seed: int, epochs: int) -> tuple[float, float]:
    """Clips a second of the training steps, and the accuracy of the best epoch on the validation set."""
    settings = msgspec.to_builtins(read_section("train", TrainSpec))
    spec = msgspec.convert(settings | {"precision": precision, "seed": seed, "epochs": epochs}, TrainSpec)
    store = FeatureStore.open(folder / "train.zarr")
    epoch_s: list[float] = []
    trained = train_on(
        folder, read_network(model), spec, on_epoch=lambda epoch, seconds, data_wait_s: epoch_s.append(seconds)
    )
    clips = store.clips // spec.batch_size * spec.batch_size * len(epoch_s)
    return clips / sum(epoch_s), best_of(trained.history).val_accuracy


if __name__ == "__main__":
    main()
