"""Checkpoints: all that a training needs to go on as if nothing had happened, in one file that appears whole."""

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
    """A training, stopped between two steps."""

    key: str
    """What is being trained: settings, clips, code. Another training must not go on from it."""
    numbers: dict[str, Any]
    """How far it is, as JSON can hold it; numbers come back to the last bit."""
    arrays: dict[str, list[NDArray[Any]]]
    """Values of variables, by what they belong to, in order."""

    def save(self, path: Path) -> None:
        """Write it in place of the last one, in one step."""
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
        """Read the checkpoint of a training; None if there is none, it is of another training, or it is damaged.

        The zip that it lies in has a checksum for each array.
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
            return None  # the last four: what zipfile says to damage in its directory
        return cls(key, about["numbers"], arrays)
