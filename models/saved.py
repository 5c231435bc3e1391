"""Saved networks: a file or folder that carries what it needs to be used. Importing this loads no TensorFlow.

A network of ours is a Keras file. So are exports to Keras; other exports are a TFLite file or a SavedModel folder. All
hold the same description, as JSON: Keras files as a member of their zip, TFLite files in a zip appended to them, which
is where TFLite keeps "associated files", SavedModels in ``assets.extra``, which TensorFlow reserves for others' files.
"""

import errno
import hashlib
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from models.networks.transform import Transform

if TYPE_CHECKING:
    import keras

MEMBER = "description.json"
EXTRA = Path("assets.extra", MEMBER)
WRITTEN_AT = (1980, 1, 1, 0, 0, 0)
"""Time of the member, always the same."""
UNREADABLE = (OSError, zipfile.BadZipFile, KeyError, IndexError, ValueError, NotImplementedError, RuntimeError)
SYSTEM_ERRORS = (errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE)
"""What goes wrong with a machine rather than with a file."""

Form = Literal["keras", "tflite", "savedmodel"]


class Description(Struct, frozen=True, kw_only=True):
    """What a saved network is for."""

    words: Annotated[tuple[str, ...], Meta(min_length=2)]
    """Names of its outputs, in order."""
    sample_rate_hz: Annotated[int, Meta(ge=1)]
    clip_samples: Annotated[int, Meta(ge=1)]
    """Samples of a clip."""
    transform: Transform
    """What makes its input of a waveform, or is already inside."""
    input: Literal["features", "waveform"]
    """Features (frequency, time, 1), for which it gives logits; or a waveform, for which it gives probabilities."""
    threshold: float | None = None
    """Probability from which a word in a long recording is reported, if it was measured."""
    digest: str = ""
    """BLAKE2b of a TFLite file's own bytes, which carry no checksum."""

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
        If the file is damaged or has no description.
    """
    try:
        if path.is_dir():
            content = (path / EXTRA).read_bytes()
        else:
            with zipfile.ZipFile(path) as archive:
                content = archive.read(MEMBER)
        return msgspec.json.decode(content, type=Description)
    except UNREADABLE as error:
        raise unreadable(error, "holds no description of a network") from None


def add_description(path: Path, description: Description) -> None:
    """Add a description to a file or folder that holds a network."""
    if form_of(path) == "tflite":
        description = replace(description, digest=_digest(path.read_bytes()))
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
        raise unreadable(error, "cannot be loaded as a network") from None


def read_tflite(path: Path, description: Description) -> bytes:
    """Read a TFLite file and compare its checksum.

    Raises
    ------
    SavedError
        If it is not what was written.
    """
    content = path.read_bytes()
    try:
        with zipfile.ZipFile(path) as archive:
            own = content[: archive.getinfo(MEMBER).header_offset]
    except UNREADABLE as error:
        raise unreadable(error, "is not what was written") from None
    if _digest(own) != description.digest:
        raise SavedError("is not what was written")
    return own


def unreadable(error: Exception, what: str) -> Exception:
    """The error to raise for one that came up while a network was read: itself if the machine is to blame."""
    if isinstance(error, OSError) and error.errno in SYSTEM_ERRORS:
        return error
    return SavedError(f"{what} ({' '.join(str(error).split())})")


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()
