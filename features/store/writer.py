"""Writing a store: metadata and small arrays at once, shards one by one, and a manifest that makes it whole."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from features.corpus import CLIP_SAMPLES, SAMPLE_RATE_HZ, WORDS
from features.store.layout import WAVEFORM_LAYOUT, StoreSpec, shard_ranges
from features.store.manifest import Manifest
from features.store.metadata import SEPARATOR, Document, group, sharded_array, text_of, whole_array
from features.store.shard import FILL, Checksum, checksum_of, with_crc, write_shard

WAVEFORM = ("waveform", ("clip", "sample"))
"""The large array of a store of waveforms, and its dimensions."""

FEATURES = ("features", ("clip", "frequency", "time"))
"""The large array of a store of features, and its dimensions."""


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
class FeatureAxes:
    """The axes of one clip's features: centre of each bin in Hz and of each frame in seconds, float64."""

    frequency_hz: NDArray[np.float64]
    time_s: NDArray[np.float64]


Axes = dict[str, tuple[NDArray[np.float64], str]]
"""Coordinates of dimensions that have any, by name, and their unit."""


@dataclass(frozen=True)
class _SmallArray:
    """An array beside the large one, which is one chunk in a file of its own."""

    values: NDArray[Any]
    dimensions: tuple[str, ...]
    fill: float
    """What stands for values that are not there."""
    attributes: Document = field(default_factory=dict)

    @property
    def document(self) -> Document:
        return whole_array(self.values.shape, self.values.dtype, self.dimensions, self.fill, self.attributes)


def _small_arrays(clips: ClipColumns, axes: Axes) -> dict[str, _SmallArray]:
    return {
        "label": _SmallArray(clips.labels.astype("<i1", copy=False), ("clip",), -1),
        "source_row": _SmallArray(clips.source_rows.astype("<i8", copy=False), ("clip",), -1),
        "digest": _SmallArray(clips.digests.astype("<u1", copy=False), ("clip", "byte"), 0),
        **{
            name: _SmallArray(values.astype("<f8", copy=False), (name,), FILL, {"units": unit})
            for name, (values, unit) in axes.items()
        },
    }


class StoreWriter:
    """A store being made: all of it but its shards, which are placed one by one, and its manifest, which seals it.

    Parameters
    ----------
    path : Path
        The store's folder; nothing may stand there.
    array : (str, tuple of str)
        Name of the large array, and of each of its dimensions, the clips first.
    shape : tuple of int
        Shape of one clip's values.
    layout : StoreSpec
    clips : ClipColumns
    attributes : dict
        What the store is to say of itself, as JSON can hold it; the number of clips is added.
    axes : dict

    Attributes
    ----------
    path : Path
    shards : list of (int, int)
        First clip of each shard and the clip after its last.
    """

    def __init__(
        self,
        path: Path,
        array: tuple[str, tuple[str, ...]],
        shape: tuple[int, ...],
        layout: StoreSpec,
        clips: ClipColumns,
        attributes: dict[str, Any],
        axes: Axes,
    ) -> None:
        self.path = path
        self.shards = shard_ranges(len(clips.labels), layout.shard_clips)
        self._array, dimensions = array
        self._shape = shape
        self.layout = layout
        self._checksums: dict[int, Checksum] = {}
        # In one order, whoever brings them, so that a store made again is the same to the byte.
        self._attributes = json.loads(json.dumps({**attributes, "clips": len(clips.labels)}, sort_keys=True))
        small = _small_arrays(clips, axes)
        documents = {name: each.document for name, each in small.items()}
        documents[self._array] = sharded_array((len(clips.labels), *shape), layout, dimensions)
        files = {f"{name}/zarr.json": text_of(document) for name, document in documents.items()}
        files["zarr.json"] = text_of(group(self._attributes, documents))
        files |= {chunk_name(name, each.values.ndim): with_crc(each.values.tobytes()) for name, each in small.items()}
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
        chunks = shard_ranges(len(values), self.layout.chunk_clips)
        with path.open("xb") as file:
            written = write_shard(file, (values[first:end] for first, end in chunks), self.layout)
        self.add_shard(number, written)
        return written

    def add_shard(self, number: int, checksum: Checksum) -> None:
        """Say that a shard lies in its place."""
        self._checksums[number] = checksum

    def finalize(self) -> None:
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


def create_waveform_store(path: Path, clips: ClipColumns, digest: str, split: dict[str, Any]) -> StoreWriter:
    """Begin a :class:`~features.store.reader.WaveformStore`.

    Parameters
    ----------
    path : Path
    clips : ClipColumns
    digest : str
        Fingerprint of the waveforms, labels and rows to come.
    split : dict
        Settings by which these clips were chosen.
    """
    attributes = {
        "store": msgspec.to_builtins(WAVEFORM_LAYOUT),
        "words": list(WORDS),
        "sample_rate_hz": SAMPLE_RATE_HZ,
        "digest": digest,
        "split": split,
    }
    return StoreWriter(path, WAVEFORM, (CLIP_SAMPLES,), WAVEFORM_LAYOUT, clips, attributes, {})


def create_feature_store(
    path: Path, axes: FeatureAxes, layout: StoreSpec, clips: ClipColumns, attributes: dict[str, Any]
) -> StoreWriter:
    """Begin a :class:`~features.store.reader.FeatureStore`.

    Parameters
    ----------
    path : Path
    axes : FeatureAxes
    layout : StoreSpec
    clips : ClipColumns
    attributes : dict
        What the store is to say of itself, as JSON can hold it.
    """
    shape = (axes.frequency_hz.size, axes.time_s.size)
    coordinates = {"frequency": (axes.frequency_hz, "Hz"), "time": (axes.time_s, "s")}
    return StoreWriter(path, FEATURES, shape, layout, clips, attributes, coordinates)


def shard_name(array: str, dimensions: int, number: int) -> str:
    """Path of a shard inside its store."""
    return f"{array}/" + SEPARATOR.join(["c", str(number), *["0"] * (dimensions - 1)])


def chunk_name(array: str, dimensions: int) -> str:
    """Path of the one chunk of a small array inside its store."""
    return f"{array}/c" + "/0" * dimensions
