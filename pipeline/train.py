"""Stage ``train@<model>``: fit one network on the train set, choosing its epoch by the validation set."""

import csv
from dataclasses import asdict, fields
from pathlib import Path
from typing import Annotated

import typer

from features.errors import InputError
from features.publish import publish
from features.store import FeatureStore
from features.streaming import scoring_batches, training_batches
from models.networks import SMALLEST_SIDE, NetworkSpec
from models.training import Epoch, TrainSpec, train
from pipeline.params import read_section
from pipeline.progress import progress
from pipeline.stage import run, say

TRAIN = Path("data/features/train.zarr")
VALIDATION = Path("data/features/validation.zarr")


def main(model: Annotated[str, typer.Argument(help="A name under models in params.yaml.")]) -> None:
    """Write artifacts/<model>/model.keras and history.csv with the settings of train and models.<model>."""
    spec = read_section("train", TrainSpec)
    network = read_section(f"models.{model}", NetworkSpec)
    store = FeatureStore.open(TRAIN)
    if min(store.shape) < SMALLEST_SIDE:
        raise InputError(
            f"the features of {TRAIN} are {store.shape[0]} x {store.shape[1]}; expected at least {SMALLEST_SIDE} each "
            "way for the networks' poolings, so choose a larger features.n_fft or a smaller features.hop_length"
        )
    folder = Path("artifacts", model)
    epochs = spec.epochs
    with (
        publish(folder / "model.keras", folder / "history.csv") as (model_aside, history_aside),
        progress(f"training {model}", epochs * (store.clips // spec.batch_size) * spec.batch_size) as advance,
    ):

        def tell(epoch: Epoch) -> None:
            say(
                f"train: {model} {epoch.epoch}/{epochs}  loss {epoch.loss:.3f} acc {epoch.accuracy:.3f}  "
                f"val_loss {epoch.val_loss:.3f} val_acc {epoch.val_accuracy:.3f}  {epoch.seconds:.0f} s"
            )

        trained = train(
            network,
            spec,
            training_batches(TRAIN, spec.batch_size, spec.seed),
            scoring_batches(VALIDATION, spec.batch_size),
            clips=store.clips,
            words=len(store.attributes["words"]),
            on_batch=lambda batch, loss: advance(spec.batch_size),
            on_epoch=tell,
        )
        trained.model.save(model_aside)
        with open(history_aside, "w", newline="") as file:
            table = csv.DictWriter(file, [field.name for field in fields(Epoch) if field.name != "seconds"])
            table.writeheader()
            table.writerows({k: v for k, v in asdict(epoch).items() if k != "seconds"} for epoch in trained.history)
    say(f"train: {model}, best epoch {trained.best.epoch} -> {folder / 'model.keras'}")


if __name__ == "__main__":
    run(main)
