"""How long each stage took when it last ran here: a file of its own each in .cache/times, which no result rests on."""

import contextlib
import os
from pathlib import Path
from urllib.parse import quote

FOLDER = Path(".cache/times")


def keep_time(command: str, seconds: float) -> None:
    """Keep how long a command such as ``train base`` took; failing to is not an error."""
    with contextlib.suppress(OSError):
        FOLDER.mkdir(parents=True, exist_ok=True)
        staged = FOLDER / f".{os.getpid()}"
        staged.write_text(f"{seconds:.3f}\n")
        staged.replace(FOLDER / quote(command, safe=" "))


def read_time(command: str) -> float | None:
    """Seconds that a command took when it last ran, or None if that is unknown."""
    try:
        return float((FOLDER / quote(command, safe=" ")).read_text())
    except (OSError, ValueError):
        return None
