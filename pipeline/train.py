"""Stage ``train@<network>``: fit one network on the train set and keep its best epoch by the validation set.

A finished training is kept under everything that decided it. A run whose training is kept publishes it again, without
loading TensorFlow.
"""

import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from features.errors import InputError
from features.store.publish import publish, remove
from features.store.reader import FeatureStore
from models.history import best_of, read_history, write_history
from models.networks.front_end import FrontEnd
from models.networks.registry import family_of
from models.saved import add_description
from models.settings import CHECKPOINT_S, NetworkSpec, TrainSpec
from models.training.checkpoint import Checkpoint
from models.training.course import has_more
from models.training.devices import list_gpus
from pipeline.shell.options import parse_size
from pipeline.shell.params import refuse_edited_settings
from pipeline.shell.progress import progress, working
from pipeline.shell.recipe import Recipe, describe, front_end_of
from pipeline.shell.results import DEFAULT_SIZE, Checkpoints, Results, Size
from pipeline.shell.stage import interrupted_between_steps, refuse_edited_code, run, say, warn, warn_waiting
from pipeline.shell.times import Pace, keep_pace, read_pace
from pipeline.shell.training import Report

if TYPE_CHECKING:
    from models.training.loop import Trained

FEATURES = Path("data/features")
TRAIN, VALIDATION = FEATURES / "train.zarr", FEATURES / "validation.zarr"
NOISE = "silence"
"""The word whose clips augmentation adds to others."""
NOISE_CLIPS = 256
"""Most clips of noise that are held in memory."""


def main(
    model: Annotated[str, typer.Argument(help="A name under models in params.yaml.")],
    checkpoint_s: Annotated[
        float,
        typer.Option("--checkpoint-every", envvar="CHECKPOINT_EVERY", min=0, help="Seconds between two checkpoints."),
    ] = CHECKPOINT_S,
    cache_size: Size = DEFAULT_SIZE,
) -> None:
    """Write artifacts/<model>/model.keras, history.csv and live/ with the settings of train and models.<model>."""
    max_bytes = parse_size(cache_size)
    recipe = Recipe.read(model)
    recipe.refuse_bad_others()
    network, spec = recipe.network, recipe.spec
    folder = Path("artifacts", model)
    live = folder / "live"
    results, checkpoints = Results.of_project(), Checkpoints.of_project()
    if live.is_symlink() or (live.exists() and not live.is_dir()):
        raise InputError(f"{live} is not a folder; expected nothing or the folder of curves, so move it away")
    with publish(folder / "model.keras", folder / "history.csv", waiting=warn_waiting) as staged:
        store, validation = FeatureStore.open(TRAIN), FeatureStore.open(VALIDATION)
        front_end = front_end_of(store, network, spec)
        _refuse_small_features(store, front_end, family_of(network).smallest_side)
        prints = recipe.fingerprints(store, validation)
        checkpoint = Checkpoint(
            checkpoints.path(model, prints.result), prints.course, checkpoint_s, checkpoints.of_network(model)
        )
        files = {"model.keras": staged[0], "history.csv": staged[1], "live": staged[0].with_name("live")}
        known = results.take(prints.result, files)
        if known:
            remove(live)
            files["live"].replace(live)
        else:
            _fit(recipe, prints.endless, front_end, store, checkpoint, live, *staged)
            add_description(staged[0], describe(store))
        refuse_edited_settings({"train": recipe.shared, f"models.{model}": network})
        refuse_edited_code()
        if not known and max_bytes:
            # Before others may publish in the same place: it must not keep theirs under our key.
            results.keep(prints.result, files | {"live": live})
    history = read_history(folder / "history.csv")
    if not has_more(history, spec):
        remove(checkpoint.path)  # only now: until here, a kill or a full disk must not cost the training
    results.prune(max_bytes)
    checkpoints.prune(max_bytes)
    how = "was trained with these settings before," if known else f"in {recipe.precision},"
    early = f" of {len(history)}, stopped early" if len(history) < spec.epochs else ""
    say(f"train: {model} {how} best epoch {best_of(history).epoch}{early} -> {folder / 'model.keras'}")


def _refuse_small_features(store: FeatureStore, front_end: FrontEnd, smallest_side: int) -> None:
    frequencies, frames = front_end.frequencies(store.shape[0]), store.shape[1]
    if min(frequencies, frames) < smallest_side:
        raise InputError(
            f"the features of {TRAIN} are {frequencies} x {frames}; expected at least {smallest_side} "
            "each way for the network's poolings, so choose a larger features.n_fft or a smaller features.hop_length"
        )


def train_on(folder: Path, network: NetworkSpec, spec: TrainSpec, **options: Any) -> "Trained":
    """Train a network on train.zarr in a folder of feature stores, and choose its best epoch by validation.zarr.

    ``options`` are further arguments of :func:`models.training.loop.train`.
    """
    from features.stream.batches import scoring_batches, training_batches
    from models.training.loop import train

    path = folder / TRAIN.name
    store = FeatureStore.open(path)
    return train(
        network,
        spec,
        lambda first: training_batches(path, spec.batch_size, spec.seed, first_batch=first),
        scoring_batches(folder / VALIDATION.name, spec.batch_size),
        clips_of_words=np.bincount(store.labels, minlength=len(store.attributes["words"])),
        front_end=front_end_of(store, network, spec),
        noise=_noise(store) if spec.augment and spec.augment.noise else None,
        **options,
    )


def _noise(store: FeatureStore) -> NDArray[Any]:
    """Features of clips of noise; none if there are none."""
    from features.stream.batches import read_clips

    words = store.attributes["words"]
    clips = np.flatnonzero(store.labels == words.index(NOISE)) if NOISE in words else np.zeros(0, np.int64)
    if not len(clips):
        say(f"train: {store.path} has no clips of the word {NOISE}, so train.augment.noise adds none")
    return read_clips(store, clips[:NOISE_CLIPS])


def _is_new_schedule(recipe: Recipe, endless: str) -> bool:
    """Whether the network last trained with the same settings, but for the number of epochs that a cosine spans."""
    last = read_pace(recipe.model)
    is_same = last is not None and last.endless == endless and last.epochs != recipe.spec.epochs
    return is_same and recipe.spec.schedule == "cosine"


def _fit(
    recipe: Recipe,
    endless: str,
    front_end: FrontEnd,
    store: FeatureStore,
    checkpoint: Checkpoint,
    live: Path,
    trained_file: Path,
    history_file: Path,
) -> None:
    """Train a network; write it, its history, and its curves while it trains."""
    model, network, spec = recipe.model, recipe.network, recipe.spec
    started = time.monotonic()
    if _is_new_schedule(recipe, endless) and not checkpoint.load(spec):
        say(
            f"train: {model} starts anew: its cosine schedule depends on {recipe.setting('epochs')}; "
            "schedule: constant could be trained on"
        )
    with working(f"{model}: loading TensorFlow"):
        import tensorflow as tf
        from dvclive.live import Live
        from scmrepo.exceptions import SCMError

        from features.stream.batches import damage_as_input_error
        from models.training.loop import TrainingError

    if list_gpus():
        warn("GPUs sum in no fixed order, so two runs with equal settings differ in their last digits")
    if front_end.empty_bands:
        warn(
            f"{front_end.empty_bands} of {front_end.n_mels} mel bands of {model} are too narrow to hold a bin of the "
            f"spectrum and tell nothing; lower models.{model}.n_mels or raise features.n_fft"
        )
    augment = spec.augment
    if augment and front_end.decibels is None and (augment.gain_db or augment.noise or augment.warp):
        say(f"train: {model} hears no spectrum in decibels, so augmentation shifts, stretches and masks only")
    try:
        plots = Live(str(live), save_dvc_exp=False, dvcyaml=False)
    except SCMError as error:
        raise InputError(
            f"git cannot be asked about this project ({error}); expected a repository with a commit, so run: git add . "
            "&& git commit -m start"
        ) from None
    clips, scored = store.clips // spec.batch_size * spec.batch_size, FeatureStore.open(VALIDATION).clips
    speed = recipe.speed((store.shape[0], store.shape[1]))

    def keep(epoch_s: float, start_s: float) -> None:
        times = {"clips": clips + scored, "epoch_s": epoch_s, "start_s": start_s}
        keep_pace(model, Pace(endless=endless, epochs=spec.epochs, speed=speed, **times))

    total = spec.last_epoch * (clips + scored)
    try:
        with (
            damage_as_input_error(),
            progress(f"{model} preparing", total) as bar,
            interrupted_between_steps() as check,
        ):
            report = Report(model, spec.last_epoch, clips, scored, plots, bar, check, keep, started)
            try:
                trained = train_on(
                    FEATURES,
                    network,
                    spec,
                    checkpoint=checkpoint,
                    on_resume=partial(report.resume, batch_size=spec.batch_size),
                    on_ready=report.ready,
                    on_batch=report.batch,
                    on_score=report.score,
                    on_epoch=report.epoch,
                )
            except KeyboardInterrupt:
                raise KeyboardInterrupt(report.stopped()) from None
    except TrainingError as error:
        why = str(error)
        for name in network.train:  # where the setting is that has to change
            why = why.replace(f"train.{name}", recipe.setting(name))
        raise InputError(f"{model} cannot be trained: {why}") from None
    except tf.errors.ResourceExhaustedError:
        raise InputError(
            f"{model} cannot be trained: the GPU's memory is full; choose a smaller train.batch_size"
        ) from None
    report.end()
    trained.model.save(trained_file)
    write_history(history_file, trained.history)


if __name__ == "__main__":
    run(main)
