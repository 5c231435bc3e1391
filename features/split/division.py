"""Dividing an npz: one look at every clip, then the rows, labels and digests of each set. Writes no store."""

from collections.abc import Callable, Iterator
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
    """What is known of an npz before any of its clips is written.

    Attributes
    ----------
    audit : Audit
    division : Division
    labels : int8 array, shape (clips,)
        Of every row of the npz.
    """

    audit: Audit
    division: Division
    labels: NDArray[np.int8]

    def digests_of(self, name: str) -> NDArray[np.uint8]:
        """Digest of each clip of a set, uint8, shape (clips, 16)."""
        return self.audit.digests[self.division.rows[name]].view(np.uint8).reshape(-1, DIGEST_BYTES)

    def labels_of(self, name: str) -> NDArray[np.int8]:
        """Label of each clip of a set, int8, shape (clips,)."""
        return self.labels[self.division.rows[name]]

    def fingerprint_of(self, name: str) -> str:
        """What a set's waveforms, labels and rows are known by: 32 hexadecimal digits."""
        parts = (self.digests_of(name), self.labels_of(name), self.division.rows[name])
        return blake2b(b"".join(part.tobytes() for part in parts), digest_size=16).hexdigest()


def divide_source(npz: Path, source: Source, spec: SplitSpec, advance: Callable[[int], None]) -> Divided:
    """Look at every clip once and choose its set.

    Parameters
    ----------
    npz : Path
        Where the source comes from, for the words of an error.
    source : Source
    spec : SplitSpec
    advance : callable
        Told the number of clips of each block that was looked at.

    Raises
    ------
    InputError
        If clips cannot be used, or divided so that every set has every word.
    """
    # Sorting text takes several times its size, so that is done while nothing else is in memory.
    speakers = None if source.groups is None else np.unique(source.groups, return_inverse=True)[1]
    audit = examine(npz, source.clips, _counted(source, advance))
    return Divided(audit, divide(source.labels, join_groups(speakers, audit.digests), spec), source.labels)


def _counted(source: Source, advance: Callable[[int], None]) -> Iterator[tuple[int, NDArray[np.float32]]]:
    for start, block in source.blocks():
        yield start, block
        advance(len(block))
