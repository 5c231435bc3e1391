"""Saved networks: a file or folder that carries what it needs to be used. Importing this loads no TensorFlow.

A network of ours is a Keras file. So are exports to Keras; other exports are a TFLite file or a SavedModel folder. All
hold the same description, as JSON: Keras files as a member of their zip, TFLite files in a zip appended to them, which
is where TFLite keeps "associated files", SavedModels in ``assets.extra``, which TensorFlow reserves for others' files.
"""

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec import Struct

from models.networks.transform import Transform

if TYPE_CHECKING:
    import keras

MEMBER = "description.json"
EXTRA = Path("assets.extra", MEMBER)
WRITTEN_AT = (1980, 1, 1, 0, 0, 0)
"""Time of the member, always the same."""
UNREADABLE = (OSError, zipfile.BadZipFile, KeyError, ValueError, NotImplementedError, RuntimeError)

Form = Literal["keras", "tflite", "savedmodel"]


class Description(Struct, frozen=True, kw_only=True):
    """What a saved network is for."""

    words: tuple[str, ...]
    """Names of its outputs, in order."""
    sample_rate_hz: int
    clip_samples: int
    """Samples of a clip."""
    transform: Transform
    """What makes its input of a waveform, or is already inside."""
    input: Literal["features", "waveform"]
    """Features (frequency, time, 1), for which it gives logits; or a waveform, for which it gives probabilities."""
    threshold: float | None = None
    """Probability from which a word in a long recording is reported, if it was measured."""

    @property
    def clip_seconds(self) -> float:
        """Length of a clip."""
        return self.clip_samples / self.sample_rate_hz


class SavedError(Exception):
    """A file that is no saved network, or not one of ours; the message says why, to follow its name."""


def form_of(path: Path) -> Form:
    """Which form a saved network has."""
    return "savedmodel" if path.is_dir() else "tflite" if path.suffix == ".tflite" else "keras"


def describe(path: Path) -> Description:
    """Read the description in a saved network.

    Raises
    ------
    SavedError
        If there is none.
    """
    try:
        if path.is_dir():
            content = (path / EXTRA).read_bytes()
        else:
            with zipfile.ZipFile(path) as archive:
                content = archive.read(MEMBER)
        return msgspec.json.decode(content, type=Description)
    except UNREADABLE as error:
        raise SavedError(f"holds no description of a network ({' '.join(str(error).split())})") from None


def add_description(path: Path, description: Description) -> None:
    """Add a description to a file or folder that holds a network."""
    content = msgspec.json.encode(description)
    if path.is_dir():
        (path / EXTRA).parent.mkdir()
        (path / EXTRA).write_bytes(content)
        return
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(zipfile.ZipInfo(MEMBER, WRITTEN_AT), content)


def load_keras(path: Path) -> "keras.Model":
    """Load a network from a Keras file.

    Raises
    ------
    SavedError
        If the file is damaged or holds no network.
    """
    import zlib

    import keras

    try:
        return keras.models.load_model(path, compile=False)
    except (*UNREADABLE, TypeError, zlib.error) as error:  # depends on what is damaged
        raise SavedError(f"cannot be loaded as a network ({' '.join(str(error).split())})") from None
