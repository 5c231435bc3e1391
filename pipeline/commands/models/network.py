"""Finding a network by name or path, and using it as it was trained: the transform comes from its own description."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from features.corpus import Corpus
from features.errors import InputError
from features.spectrogram import FeatureSpec, transform
from features.store.shard import checksum
from models.detection import THRESHOLD
from models.history import best_of, read_history
from models.predict import load_predictor
from models.saved import Description, SavedError, describe
from pipeline.shell.params import read_section
from pipeline.shell.stage import warn

ARTIFACTS = Path("artifacts")
FILE = "model.keras"
STREAMING = "streaming.json"
"""What ``models score --streaming`` found, beside a trained network."""

Classify = Callable[[NDArray[np.float32]], NDArray[np.float64]]
"""From clips, float32 (clips, samples), to probabilities, float64 (clips, words)."""


class Measured(Struct):
    """What ``models score --streaming`` keeps for ``models predict``; the file holds more."""

    network: str
    """Checksum of the network's file."""
    threshold: float


@dataclass(frozen=True)
class Network:
    """A saved network and what it is for."""

    path: Path
    description: Description

    @property
    def name(self) -> str:
        """Its name among the project's networks, or its path."""
        return self.path.parent.name if self.path.name == FILE else str(self.path)

    @property
    def threshold(self) -> float:
        """Probability from which a word in a long recording is reported."""
        measured = self.measured_threshold
        return THRESHOLD if measured is None else measured

    @property
    def measured_threshold(self) -> float | None:
        """The threshold that ``models score --streaming`` found for it, if it did."""
        if self.description.threshold is not None:
            return self.description.threshold
        file = self.path.with_name(STREAMING)
        try:
            measured = msgspec.json.decode(file.read_bytes(), type=Measured)
        except FileNotFoundError:
            return None
        except (msgspec.MsgspecError, OSError) as error:
            raise InputError(f"{file} cannot be read ({error}); delete it or run models score --streaming") from None
        if measured.network != checksum(self.path).digest:
            warn(f"{self.name} was trained again after its threshold was measured; run models score --streaming")
            return None
        return measured.threshold

    @property
    def corpus(self) -> Corpus:
        """What its clips are."""
        about = self.description
        return Corpus(words=about.words, sample_rate_hz=about.sample_rate_hz, clip_seconds=about.clip_seconds)

    @property
    def transform(self) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
        """The pipeline's own transform, from clips (clips, samples) to the network's input."""
        if self.description.input == "waveform":
            return lambda clips: clips
        about = self.description
        spec = msgspec.convert(msgspec.to_builtins(about.transform), FeatureSpec)
        return lambda clips: transform(clips, spec, sample_rate_hz=about.sample_rate_hz)[..., np.newaxis]

    def load(self) -> Classify:
        """Load it.

        Raises
        ------
        InputError
            If the file is damaged.
        """
        prepare = self.transform
        try:
            predict = load_predictor(self.path, self.description)
        except SavedError as error:
            raise _unusable(self.path, error) from None
        return lambda clips: predict(prepare(clips))


def find_network(model: str | None) -> Network:
    """Find a network by its name in the project or its path; by default the one with the highest validation accuracy.

    Raises
    ------
    InputError
        If no such network exists, or the file has no description.
    """
    trained = trained_networks()
    if model is None:
        if not trained:
            raise InputError(
                f"{ARTIFACTS} holds no trained network; expected one, so run dvc repro first, or name a file: --model"
            )
        path = max(trained, key=_validation_accuracy)
    else:
        path = ARTIFACTS / model / FILE
        path = path if path.is_file() else Path(model)
    if not path.exists():
        known = ", ".join(each.parent.name for each in trained) or "none here"
        raise InputError(
            f"there is no network {model}; expected the name of a trained one ({known}), or the path of a .keras or "
            ".tflite file or a SavedModel"
        )
    try:
        network = Network(path, describe(path))
    except SavedError as error:
        raise _unusable(path, error) from None
    if path in trained:
        _warn_of_other_words(network)
    return network


def _warn_of_other_words(network: Network) -> None:
    """A network that was trained before the words changed is still there, and knows the old ones."""
    with suppress(InputError):
        known = network.description.words
        if set(read_section("corpus", Corpus).words) != set(known):
            warn(
                f"{network.name} was trained on other words than those in params.yaml, {', '.join(known)}; run "
                f"dvc repro evaluate@{network.name}, or name another network"
            )


def trained_networks() -> list[Path]:
    """Files of the project's trained networks."""
    return sorted(ARTIFACTS.glob(f"*/{FILE}"))


def _validation_accuracy(path: Path) -> tuple[float, float]:
    """Of a trained network, and its loss with the sign changed for networks of equal accuracy.

    Losses alone do not compare networks: label smoothing raises them.
    """
    history = path.with_name("history.csv")
    try:
        best = best_of(read_history(history))
        return best.val_accuracy, -best.val_loss
    except (OSError, ValueError, TypeError, KeyError):
        raise InputError(
            f"{history} is missing or damaged, so the best network is not known; run dvc repro, or name one: --model"
        ) from None


def _unusable(path: Path, error: SavedError) -> InputError:
    again = f"run dvc repro --force train@{path.parent.name}" if path.name == FILE else "export it again"
    return InputError(f"{path} {error}; expected a network that this project trained or exported, so {again}")
