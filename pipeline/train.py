"""Stage ``train@<model>``: fit one network on the train set, choosing its epoch by the validation set."""

import csv
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
import tensorflow as tf
import typer
from dvclive.live import Live

from features.errors import InputError
from features.fingerprint import code_fingerprint, sources_of
from features.store.publish import publish, remove
from features.store.reader import FeatureStore
from features.stream.batches import damage_as_input_error, scoring_batches, training_batches
from models.devices import adds_up_in_order, choose_precision, choose_strategy
from models.learner import TrainSpec
from models.networks.cnn import SMALLEST_SIDE, NetworkSpec
from models.training import CHECKPOINT_S, Epoch, Timing, TrainingError, train
from pipeline.shell.params import read_section, refuse_edited_settings
from pipeline.shell.progress import progress
from pipeline.shell.stage import note, note_waiting, refuse_edited_code, run, say

TRAIN = Path("data/features/train.zarr")
VALIDATION = Path("data/features/validation.zarr")
CODE = (
    "features.stream.order",
    "features.stream.batches",
    "models.networks.convolution",
    "models.devices",
    "models.learner",
    "models.networks.cnn",
    "models.training",
)
"""Modules that decide which weights come out, beside the features."""
LIBRARIES = ("keras", "numpy", "tensorflow")
STARVED = 0.05
"""Share of an epoch spent waiting for data from which that is worth a word."""


def main(
    model: Annotated[str, typer.Argument(help="A name under models in params.yaml.")],
    checkpoint_s: Annotated[
        float,
        typer.Option("--checkpoint-every", envvar="CHECKPOINT_EVERY", min=0, help="Seconds between two checkpoints."),
    ] = CHECKPOINT_S,
) -> None:
    """Write artifacts/<model>/model.keras, history.csv and live/ with the settings of train and models.<model>."""
    spec = read_section("train", TrainSpec)
    network = read_section(f"models.{model}", NetworkSpec)
    strategy = choose_strategy()
    precision = choose_precision(spec.precision)
    if precision == "float16" and strategy.num_replicas_in_sync > 1:
        raise InputError(
            "train.precision is float16 and there are several GPUs, which it cannot be scaled on; expected one GPU or "
            "another precision, so set it to bfloat16 or float32"
        )
    if not adds_up_in_order():
        note("GPUs add up in any order, so two runs with equal settings differ in their last digits")
    folder = Path("artifacts", model)
    targets = folder / "model.keras", folder / "history.csv"
    checkpoint = Path(f".cache/training/{model}.npz")
    with publish(*targets, waiting=note_waiting) as (model_aside, history_aside), damage_as_input_error():
        store, validation = FeatureStore.open(TRAIN), FeatureStore.open(VALIDATION)
        if min(store.shape) < SMALLEST_SIDE:
            raise InputError(
                f"the features of {TRAIN} are {store.shape[0]} x {store.shape[1]}; expected at least {SMALLEST_SIDE} "
                "each way for the networks' poolings, so choose a larger features.n_fft or a smaller "
                "features.hop_length"
            )
        report = Report(model, spec.epochs, folder / "live")
        clips = spec.epochs * (store.clips // spec.batch_size) * spec.batch_size
        with progress(f"training {model}", clips) as advance, _training_error_as_input_error(model):
            trained = train(
                network,
                spec,
                lambda first: training_batches(TRAIN, spec.batch_size, spec.seed, first_batch=first),
                scoring_batches(VALIDATION, spec.batch_size),
                clips_of_words=np.bincount(store.labels, minlength=len(store.attributes["words"])),
                checkpoint=checkpoint,
                key=fingerprint(spec, network, precision, strategy.num_replicas_in_sync, store, validation),
                checkpoint_s=checkpoint_s,
                strategy=strategy,
                on_resume=report.resume,
                on_batch=advance,
                on_epoch=report.epoch,
            )
        report.end()
        refuse_edited_settings({"train": spec, f"models.{model}": network})
        refuse_edited_code()
        remove(checkpoint)
        trained.model.save(model_aside)
        with open(history_aside, "w", newline="") as file:
            table = csv.DictWriter(file, [field.name for field in fields(Epoch)])
            table.writeheader()
            table.writerows(asdict(epoch) for epoch in trained.history)
    early = f" of {len(trained.history)}, stopped early" if len(trained.history) < spec.epochs else ""
    say(f"train: {model} in {precision}, best epoch {trained.best.epoch}{early} -> {folder / 'model.keras'}")


@contextmanager
def _training_error_as_input_error(model: str) -> Iterator[None]:
    try:
        yield
    except TrainingError as error:
        raise InputError(f"{model} cannot be trained: {error}") from None
    except tf.errors.ResourceExhaustedError:
        raise InputError(
            f"{model} cannot be trained: the GPU's memory is full; choose a smaller train.batch_size"
        ) from None


class Report:
    """What a training tells while it goes on: lines for a person, DVCLive's files for plots."""

    def __init__(self, model: str, epochs: int, folder: Path) -> None:
        self._model = model
        self._epochs = epochs
        self._live = Live(str(folder), save_dvc_exp=False, dvcyaml=False)

    def resume(self, before: list[Epoch], batches: int) -> None:
        """Tell what a checkpoint holds."""
        say(f"train: {self._model} goes on from a checkpoint after {len(before)} epochs and {batches} batches")
        for epoch in before:
            self._log(epoch)

    def epoch(self, epoch: Epoch, timing: Timing) -> None:
        """Tell how an epoch went."""
        self._log(epoch)
        say(
            f"train: {self._model} {epoch.epoch}/{self._epochs}  loss {epoch.loss:.3f} val {epoch.val_loss:.3f}  "
            f"acc {epoch.accuracy:.3f} val {epoch.val_accuracy:.3f}  "
            f"{timing.seconds:.0f} s, {timing.waiting:.1%} waiting"
        )
        if timing.waiting > STARVED:
            note(
                f"{self._model} waited for data {timing.waiting:.0%} of that epoch; a nearer disk, more memory to keep "
                "the features in, store.dtype: float16 or store.codec: none would feed it faster"
            )

    def end(self) -> None:
        """Finish DVCLive's files."""
        self._live.end()

    def _log(self, epoch: Epoch) -> None:
        self._live.step = epoch.epoch
        for name, value in asdict(epoch).items():
            if name != "epoch":
                self._live.log_metric(f"val/{name[4:]}" if name.startswith("val_") else f"train/{name}", value)
        self._live.next_step()


def fingerprint(spec: TrainSpec, network: NetworkSpec, precision: str, replicas: int, *stores: FeatureStore) -> str:
    """What is being trained, so that a checkpoint of something else is not taken for it."""
    parts = [
        msgspec.to_builtins(spec),
        msgspec.to_builtins(network),
        [precision, replicas],
        [[store.attributes["spec_hash"], store.attributes["source_digest"]] for store in stores],
        code_fingerprint(sources_of(CODE)),
        {library: version(library) for library in LIBRARIES},
    ]
    return hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=16).hexdigest()


if __name__ == "__main__":
    run(main)
