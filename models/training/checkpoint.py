"""Checkpoints: the whole state of a training in one file, replaced atomically."""

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from models.settings import CHECKPOINT_S

Arrays = Sequence[NDArray[Any]]


@dataclass(frozen=True)
class Checkpoint:
    """The file that a training saves its state to, and resumes from."""

    path: Path
    key: str
    """Fingerprint of settings, clips and code; only a training with the same key resumes from the file."""
    every_s: float = CHECKPOINT_S
    """Seconds between two checkpoints."""

    def save(self, numbers: Mapping[str, Any], variables: Arrays, best: Arrays) -> None:
        """Replace the file atomically; numbers are kept as JSON, to the last bit."""
        arrays = {f"variable {place}": value for place, value in enumerate(variables)}
        arrays |= {f"best {place}": value for place, value in enumerate(best)}
        about = json.dumps({"key": self.key, "numbers": numbers, "variables": len(variables), "best": len(best)})
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_name(f"{self.path.name}.partial")
        with partial.open("wb") as file:
            np.savez(file, about=np.array(about), **arrays)
        partial.replace(self.path)

    def load(self) -> tuple[dict[str, Any], list[NDArray[Any]], list[NDArray[Any]]] | None:
        """Numbers, variables and best weights; None if there is no file, its key differs, or it is damaged.

        The file is a zip, which has a checksum for each array.
        """
        try:
            with self.path.open("rb") as opened, np.load(opened) as file:
                about = json.loads(str(file["about"]))
                if about["key"] != self.key:
                    return None
                variables = [file[f"variable {place}"] for place in range(about["variables"])]
                best = [file[f"best {place}"] for place in range(about["best"])]
        except (OSError, BadZipFile, ValueError, KeyError, EOFError, NotImplementedError, RuntimeError, zlib.error):
            return None  # the last four: zipfile, on a damaged directory
        return about["numbers"], variables, best
