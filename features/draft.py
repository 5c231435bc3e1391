"""A store being made: metadata and small arrays at once, shards one by one, and the manifest that seals it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.layout import StoreSpec, shard_ranges
from features.manifest import Manifest
from features.metadata import SEPARATOR, Document, group, sharded_array, text_of, whole_array
from features.shard import FILL, Checksum, checksum_of, write_shard


@dataclass(frozen=True)
class ClipColumns:
    """What is known of each clip beside its values."""

    labels: NDArray[np.int8]
    """Positions in :data:`~features.corpus.WORDS`, shape (clips,)."""
    source_rows: NDArray[np.int64]
    """Rows of the npz, shape (clips,)."""
    digests: NDArray[np.uint8]
    """BLAKE2b of each clip's float32 waveform, shape (clips, 16)."""


@dataclass(frozen=True)
class Axis:
    """A dimension of a clip's values that has coordinates."""

    values: NDArray[np.float64]
    unit: str


@dataclass(frozen=True)
class SmallArray:
    """An array beside the large one, which is one chunk in a file of its own."""

    values: NDArray[Any]
    dimensions: tuple[str, ...]
    fill: float
    """What stands for values that are not there."""
    attributes: Document


class Draft:
    """A store being made: all of it but its shards, which are placed one by one, and its manifest, which seals it.

    Parameters
    ----------
    path : Path
        The store's folder; nothing may stand there.
    array : str
        Name of the large array.
    dimensions : tuple of str
        Name of each of its dimensions, the clips first.
    shape : tuple of int
        Shape of one clip's values.
    layout : StoreSpec
    clips : ClipColumns
    attributes : dict
        What the store is to say of itself, as JSON can hold it; the number of clips is added.
    axes : dict
        Coordinates of dimensions that have any, by name.

    Attributes
    ----------
    path : Path
    shards : list of (int, int)
        First clip of each shard and the clip after its last.
    """

    def __init__(
        self,
        path: Path,
        array: str,
        dimensions: tuple[str, ...],
        shape: tuple[int, ...],
        layout: StoreSpec,
        clips: ClipColumns,
        attributes: dict[str, Any],
        axes: dict[str, Axis],
    ) -> None:
        count = len(clips.labels)
        self.path = path
        self.shards = shard_ranges(count, layout.shard_clips)
        self._array = array
        self._shape = shape
        self._layout = layout
        self._checksums: dict[int, Checksum] = {}
        # In one order, whoever brings them, so that a store made again is the same to the byte.
        self._attributes = json.loads(json.dumps({**attributes, "clips": count}, sort_keys=True))
        small = {
            "label": SmallArray(clips.labels.astype("<i1", copy=False), ("clip",), -1, {}),
            "source_row": SmallArray(clips.source_rows.astype("<i8", copy=False), ("clip",), -1, {}),
            "digest": SmallArray(clips.digests.astype("<u1", copy=False), ("clip", "byte"), 0, {}),
            **{
                name: SmallArray(axis.values.astype("<f8", copy=False), (name,), FILL, {"units": axis.unit})
                for name, axis in axes.items()
            },
        }
        documents = {
            name: whole_array(each.values.shape, each.values.dtype, each.dimensions, each.fill, each.attributes)
            for name, each in small.items()
        }
        documents[array] = sharded_array((count, *shape), layout, dimensions)
        files = {f"{name}/zarr.json": text_of(document) for name, document in documents.items()}
        files["zarr.json"] = text_of(group(self._attributes, documents))
        files |= {chunk_name(name, each.values.ndim): each.values.tobytes() for name, each in small.items()}
        for name, content in files.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(content)
        self.small_files = {name: checksum_of(files[name]) for name in sorted(files)}
        """Checksums of metadata and small arrays, by their path inside the store."""

    def shard_name(self, number: int) -> str:
        """Where a shard belongs, inside the store."""
        return shard_name(self._array, 1 + len(self._shape), number)

    def shard_path(self, number: int) -> Path:
        """Where a shard belongs."""
        return self.path / self.shard_name(number)

    def write(self, number: int, values: NDArray[Any]) -> Checksum:
        """Write a whole shard into its place and record it.

        Parameters
        ----------
        number : int
        values : array, shape (clips, ...)
            The clips of that shard, all of them.

        Raises
        ------
        ValueError
            If they have another shape, or there are more or fewer: half a shard cannot be written without reading it,
            and two writers of one shard would lose each other's clips.
        """
        start, stop = self.shards[number]
        if values.shape[1:] != self._shape:
            raise ValueError(f"values of shape {values.shape[1:]} are not {self._array} of {self.path}: {self._shape}")
        if len(values) != stop - start:
            raise ValueError(f"{len(values)} clips are not shard {number} of {self.path}, clips {start} to {stop - 1}")
        path = self.shard_path(number)
        chunks = shard_ranges(len(values), self._layout.chunk_clips)
        with path.open("xb") as file:
            written = write_shard(file, (values[first:end] for first, end in chunks), self._layout)
        self.record(number, written)
        return written

    def record(self, number: int, checksum: Checksum) -> None:
        """Say that a shard lies in its place."""
        self._checksums[number] = checksum

    def seal(self) -> None:
        """Write the manifest, which makes it a store.

        Raises
        ------
        ValueError
            If a shard is missing.
        """
        missing = [number for number in range(len(self.shards)) if number not in self._checksums]
        if missing:
            raise ValueError(f"shards {missing} of {self.path} were never recorded")
        shards = [self._checksums[number] for number in range(len(self.shards))]
        Manifest(attributes=self._attributes, files=self.small_files, shards=shards).write(self.path)


def shard_name(array: str, dimensions: int, number: int) -> str:
    """Path of a shard inside its store."""
    return f"{array}/" + SEPARATOR.join(["c", str(number), *["0"] * (dimensions - 1)])


def chunk_name(array: str, dimensions: int) -> str:
    """Path of the one chunk of a small array inside its store."""
    return f"{array}/c" + "/0" * dimensions
