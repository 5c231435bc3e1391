"""Dividing an npz: one pass over every clip, then the rows, labels and digests of each set. Writes no store."""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from features.sources.npz import Source
from features.split.scan import DIGEST_BYTES, Audit, examine
from features.split.sets import Division, SplitSpec, divide, join_groups


@dataclass(frozen=True)
class Divided:
    """What one pass over an npz found, and which rows go into which set."""

    audit: Audit
    division: Division
    labels: NDArray[np.int8]
    """Of every row of the npz, shape (clips,)."""

    def digests_of(self, name: str) -> NDArray[np.uint8]:
        """Digest of each clip of a set, uint8, shape (clips, 16)."""
        return self.audit.digests[self.division.rows[name]].view(np.uint8).reshape(-1, DIGEST_BYTES)

    def labels_of(self, name: str) -> NDArray[np.int8]:
        """Label of each clip of a set, int8, shape (clips,)."""
        return self.labels[self.division.rows[name]]

    def fingerprint_of(self, name: str) -> str:
        """Hash of a set's waveforms, labels and rows: 32 hexadecimal digits."""
        parts = (self.digests_of(name), self.labels_of(name), self.division.rows[name])
        return blake2b(b"".join(part.tobytes() for part in parts), digest_size=16).hexdigest()


def divide_source(npz: Path, source: Source, spec: SplitSpec, advance: Callable[[int], None]) -> Divided:
    """Read every clip once and choose its set.

    Parameters
    ----------
    npz : Path
        The file to name in an error.
    source : Source
    spec : SplitSpec
    advance : callable
        Called with the number of clips of each block that was read.

    Raises
    ------
    InputError
        If samples are not finite or not in [-1, 1], or too few clips of a word exist for every set to get one.
    """
    audit = examine(npz, source.clips, source.blocks(), advance)
    return Divided(audit, divide(source.labels, join_groups(source.groups, audit.digests), spec), source.labels)
