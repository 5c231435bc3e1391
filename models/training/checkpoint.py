"""Checkpoints: the whole state of a training in one file, replaced atomically."""

import json
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from models.history import Epoch
from models.settings import CHECKPOINT_S, TrainSpec
from models.training.course import Position, continued

Arrays = Sequence[NDArray[Any]]
State = tuple[Position, list[NDArray[Any]], list[NDArray[Any]]]
"""How far a training has come, all that decides its next step, and the weights of its best epoch."""


@dataclass(frozen=True)
class Checkpoint:
    """The file that a training saves its state to, and the files that it resumes from."""

    path: Path
    key: str
    """Fingerprint of all that decides the steps of a training: only states with the same key are resumed from."""
    every_s: float = CHECKPOINT_S
    """Seconds between two checkpoints."""
    others: tuple[Path, ...] = ()
    """Files of trainings that may differ in their end only; they are read and never changed."""

    def save(self, position: Position, variables: Arrays, best: Arrays) -> None:
        """Replace the file atomically; numbers are kept as JSON, to the last bit."""
        arrays = {f"variable {place}": value for place, value in enumerate(variables)}
        arrays |= {f"best {place}": value for place, value in enumerate(best)}
        counts = {"variables": len(variables), "best": len(best)}
        about = json.dumps({"key": self.key, "position": asdict(position), **counts})
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_name(f"{self.path.name.split('.')[0]}.partial")  # one, however many are killed
        with partial.open("wb") as file:
            np.savez(file, about=np.array(about), **arrays)
        partial.replace(self.path)

    def load(self, spec: TrainSpec) -> State | None:
        """Where a training with these settings goes on, variables and best weights, from the file that is furthest.

        Returns None if there is no file with this key, if it is damaged, or if the training ends before the best epoch
        that the file holds. A file is a zip, which has a checksum for each array.
        """
        reached = {
            path: found[0] for path in {self.path, *self.others} if (found := self._read(path, spec, with_arrays=False))
        }
        furthest_first = sorted(reached, key=lambda path: reached[path].distance, reverse=True)
        return next((state for path in furthest_first if (state := self._read(path, spec))), None)

    def _read(self, path: Path, spec: TrainSpec, with_arrays: bool = True) -> State | None:
        try:
            with path.open("rb") as opened, np.load(opened) as file:
                about = json.loads(str(file["about"]))
                if about["key"] != self.key:
                    return None
                saved = about["position"]
                position = Position(**{**saved, "history": tuple(Epoch(**epoch) for epoch in saved["history"])})
                goes_on = continued(position, spec)
                if not goes_on or not with_arrays:
                    return (goes_on, [], []) if goes_on else None
                variables = [file[f"variable {place}"] for place in range(about["variables"])]
                best = [file[f"best {place}"] for place in range(about["best"])]
        except (OSError, BadZipFile, ValueError, KeyError, EOFError, NotImplementedError, RuntimeError, zlib.error):
            return None  # the last four: zipfile, on a damaged directory
        return goes_on, variables, best
