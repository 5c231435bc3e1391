"""Checkpoints: the whole state of a training in one file, replaced atomically."""

import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Checkpoint:
    """The state of a training between two steps."""

    key: str
    """Fingerprint of settings, clips and code; only a training with the same key resumes from it."""
    numbers: dict[str, Any]
    """Progress, as JSON; numbers come back to the last bit."""
    arrays: dict[str, list[NDArray[Any]]]
    """Values of variables, in order, by what they belong to: ``model``, ``optimizer`` or ``best``."""

    def save(self, path: Path) -> None:
        """Replace the file at ``path`` atomically."""
        path.parent.mkdir(parents=True, exist_ok=True)
        flat = {f"{name}/{place}": array for name, arrays in self.arrays.items() for place, array in enumerate(arrays)}
        about = json.dumps(
            {"key": self.key, "numbers": self.numbers, "arrays": {k: len(v) for k, v in self.arrays.items()}}
        )
        partial = path.with_name(f"{path.name}.partial")
        with partial.open("wb") as file:
            np.savez(file, about=np.array(about), **flat)
        partial.replace(path)

    @classmethod
    def load(cls, path: Path, key: str) -> "Checkpoint | None":
        """Read a checkpoint; None if there is none, its key differs, or it is damaged.

        The file is a zip, which has a checksum for each array.
        """
        try:
            with path.open("rb") as opened, np.load(opened) as file:
                about = json.loads(str(file["about"]))
                if about["key"] != key:
                    return None
                arrays = {
                    name: [file[f"{name}/{place}"] for place in range(count)] for name, count in about["arrays"].items()
                }
        except (OSError, BadZipFile, ValueError, KeyError, EOFError, NotImplementedError, RuntimeError, zlib.error):
            return None  # the last four: zipfile, on a damaged directory
        return cls(key, about["numbers"], arrays)
