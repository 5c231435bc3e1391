"""Command ``models export``: a network as a file that takes a waveform, checked against the pipeline."""

import errno
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import typer
from msgspec.structs import replace
from numpy.typing import NDArray

from features.errors import InputError
from features.store.publish import publish
from models.saved import SavedError, describe, load_keras
from pipeline.commands.models.clips import TEST, open_clips
from pipeline.commands.models.network import Network, find_network
from pipeline.shell.stage import counted, say, warn_waiting

TRAIN = Path("data/split/train.zarr")
CALIBRATION_CLIPS = 200
LARGEST_DIFFERENCE = 1e-4
"""Between probabilities of the pipeline and of an export in float32."""
BATCH_CLIPS = 64


@dataclass(frozen=True)
class Export:
    """One file to write."""

    path: Path
    write: Callable[[Path], None]
    exact: bool = True
    """Whether it computes in float32 throughout."""


def command(
    model: Annotated[str, typer.Argument(help="Name of a trained network, or path of its model.keras.")],
    to: Annotated[Literal["savedmodel", "tflite", "keras"], typer.Option(help="tflite writes float32 and int8.")],
    out: Annotated[Path, typer.Option(help="Folder to write to.")] = Path("exports"),
    clips: Annotated[int, typer.Option(min=1, help="Clips of the test set to compare at most.")] = 500,
    as_json: Annotated[bool, typer.Option("--json", help="Print it for programs.")] = False,
) -> None:
    """Write a network that takes a waveform and gives probabilities, with its transform inside.

    It is compared with the pipeline on clips of the test set; a file that differs is not written.
    """
    network = find_network(model)
    if network.description.input != "features":
        raise InputError(f"{network.path} is an export already; expected a trained network, such as base")
    test = _read(TEST, network, clips)
    calibration = _read(TRAIN, network, CALIBRATION_CLIPS)[0] if to == "tflite" else None
    import tensorflow as tf

    from models.cost import multiply_adds
    from models.export import with_transform, write_keras, write_saved_model, write_tflite
    from models.predict import load_predictor, predictor_of

    try:
        trained = load_keras(network.path)
    except SavedError as error:
        raise InputError(f"{network.path} {error}; run dvc repro to make it again") from None
    description = replace(network.description, threshold=network.measured_threshold)
    whole = with_transform(trained, description)
    name = network.path.parent.name if network.path.name == "model.keras" else network.path.stem
    exports = {
        "savedmodel": [Export(out / name, lambda path: write_saved_model(whole, description, path))],
        "keras": [Export(out / f"{name}.keras", lambda path: write_keras(whole, description, path))],
        "tflite": [
            Export(out / f"{name}.tflite", lambda path: write_tflite(whole, description, path)),
            Export(
                out / f"{name}-int8.tflite",
                lambda path: write_tflite(whole, description, path, calibration),
                exact=False,
            ),
        ],
    }[to]
    waves, labels, total = test
    expected = _in_batches(predictor_of(trained), network.transform, waves)
    results: list[dict[str, Any]] = []
    with publish(*(export.path for export in exports), guard=_refuse_others, waiting=warn_waiting) as staged:
        for export, path in zip(exports, staged, strict=True):
            try:
                export.write(path)
            except tf.errors.ResourceExhaustedError:  # what TensorFlow makes of a full disk
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(export.path)) from None
            predict = load_predictor(path, describe(path))
            given = _in_batches(predict, lambda clips: clips, waves)
            difference = float(np.abs(given - expected).max())
            if export.exact and not difference <= LARGEST_DIFFERENCE:
                raise InputError(
                    f"{export.path} differs from the pipeline by up to {difference:.2g} in a probability; expected at "
                    f"most {LARGEST_DIFFERENCE:g}, so it was not written; please report this with {network.path}"
                )
            results.append(
                {
                    "path": str(export.path),
                    "bytes": _size(path),
                    "accuracy": float((given.argmax(axis=1) == labels).mean()),
                    "accuracy_of_pipeline": float((expected.argmax(axis=1) == labels).mean()),
                    "largest_difference": difference,
                    "clips": len(labels),
                }
            )
    costs = {"network": multiply_adds(trained), "transform": multiply_adds(whole) - multiply_adds(trained)}
    if as_json:
        say(json.dumps({"exports": results, "multiply_adds": costs}, indent=2, ensure_ascii=False))
        return
    for result in results:
        say(
            f"export: {result['path']}  {result['bytes'] / 1e6:.1f} MB, right on {result['accuracy']:.1%}, the "
            f"pipeline on {result['accuracy_of_pipeline']:.1%}; probabilities differ by "
            f"{result['largest_difference']:.1g} at most"
        )
    say(
        f"export: compared on {len(labels)} of {counted(total, 'test clip')}; one clip takes "
        f"{costs['network'] / 1e6:,.1f} million multiply-adds in the network and {costs['transform'] / 1e6:,.1f} in "
        f"the transform{', which is float32 in the int8 file, too' if to == 'tflite' else ''}"
    )


def _read(path: Path, network: Network, most: int) -> tuple[NDArray[np.float32], NDArray[np.integer[Any]], int]:
    """Clips spread evenly over a store, their labels, and how many clips the store has."""
    with open_clips(path, network.corpus, "refuse") as clips:
        total = len(clips.labels)
        chosen = np.unique(np.linspace(0, total - 1, min(most, total)).round().astype(np.int64))
        return clips.read(chosen), clips.labels[chosen], total


def _in_batches(
    predict: Callable[[NDArray[np.float32]], NDArray[np.float64]],
    prepare: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    waves: NDArray[np.float32],
) -> NDArray[np.float64]:
    starts = range(0, len(waves), BATCH_CLIPS)
    return np.concatenate([predict(prepare(waves[start : start + BATCH_CLIPS])) for start in starts])


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def _refuse_others(target: Path) -> None:
    """Refuse to replace what is no export."""
    if target.exists() or target.is_symlink():
        try:
            if target.is_symlink() or describe(target).input != "waveform":
                raise SavedError("is no export")
        except SavedError:
            raise InputError(
                f"{target} exists and is no exported network; expected nothing or one, so choose another --out"
            ) from None
