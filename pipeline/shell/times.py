"""How long each stage took when it last ran here, and how fast each network trained.

A file each in .cache/times, which no result rests on.
"""

import contextlib
import os
from pathlib import Path
from urllib.parse import quote

import msgspec
from msgspec import Struct

FOLDER = Path(".cache/times")


class Pace(Struct, frozen=True, kw_only=True):
    """How fast a network last trained here."""

    endless: str
    """Fingerprint of all that decided the training but the number of epochs."""
    epochs: int
    speed: str
    """Fingerprint of the settings that decide how long a clip takes."""
    clips: int
    """Clips of an epoch, those of the validation set included."""
    epoch_s: float
    """Seconds of an epoch, validation included."""
    start_s: float
    """Seconds of all that comes once: loading TensorFlow, building the network and its graph."""


def keep_time(command: str, seconds: float) -> None:
    """Keep how long a command such as ``train base`` took; failing to is not an error."""
    _keep(quote(command, safe=" "), f"{seconds:.3f}\n".encode())


def keep_pace(model: str, pace: Pace) -> None:
    """Keep how fast a network trains; failing to is not an error."""
    _keep(f"{model}.json", msgspec.json.encode(pace))


def read_pace(model: str) -> Pace | None:
    """How fast a network last trained, or None if that is unknown."""
    try:
        return msgspec.json.decode((FOLDER / f"{model}.json").read_bytes(), type=Pace)
    except (OSError, msgspec.DecodeError):
        return None


def read_time(command: str) -> float | None:
    """Seconds that a command took when it last ran, or None if that is unknown."""
    try:
        return float((FOLDER / quote(command, safe=" ")).read_text())
    except (OSError, ValueError):
        return None


def _keep(name: str, content: bytes) -> None:
    with contextlib.suppress(OSError):
        FOLDER.mkdir(parents=True, exist_ok=True)
        staged = FOLDER / f".{os.getpid()}"
        staged.write_bytes(content)
        staged.replace(FOLDER / name)
