"""Writing a store: metadata and small arrays at once, shards one by one, and a manifest that makes it whole."""

import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from features.corpus import Corpus
from features.store.layout import FEATURES, SEPARATOR, WAVEFORM, WAVEFORM_LAYOUT, Array, StoreSpec, shard_ranges
from features.store.manifest import Manifest
from features.store.shard import COMPRESSION_LEVEL, FILL, SHUFFLE, Checksum, checksum, write_shard


@dataclass(frozen=True)
class ClipColumns:
    """What is known of each clip beside its values."""

    labels: NDArray[np.integer[Any]]
    """Positions in the corpus's words, shape (clips,)."""
    source_rows: NDArray[np.int64]
    """Rows of the npz, shape (clips,)."""
    digests: NDArray[np.uint8]
    """BLAKE2b of each clip's float32 waveform, shape (clips, 16)."""
    recordings: NDArray[np.str_] | None = None
    """Path of the file that each clip was cut from, shape (clips,); empty where unknown. None if none is known."""


@dataclass(frozen=True)
class FeatureAxes:
    """The axes of one clip's features, float64."""

    frequency: NDArray[np.float64]
    """Centre of each bin or band in Hz; or the number of each coefficient."""
    time_s: NDArray[np.float64]
    """Centre of each frame in seconds."""
    frequency_units: str = "Hz"
    """``Hz`` or ``coefficient``."""


class StoreWriter:
    """A store being made: all of it but its shards, which are added one by one, and its manifest.

    Parameters
    ----------
    path : Path
        The store's folder; nothing may stand there.
    array : Array
    shape : tuple of int
        Shape of one clip's values.
    layout : StoreSpec
    clips : ClipColumns
    attributes : dict
        How the store was made, as JSON can hold it; the number of clips is added.
    axes : FeatureAxes, optional

    Attributes
    ----------
    path : Path
    layout : StoreSpec
    shards : list of (int, int)
        First clip of each shard and the clip after its last.
    """

    def __init__(
        self,
        path: Path,
        array: Array,
        shape: tuple[int, ...],
        layout: StoreSpec,
        clips: ClipColumns,
        attributes: dict[str, Any],
        axes: FeatureAxes | None = None,
    ) -> None:
        self.path = path
        self.layout = layout
        self.shards = shard_ranges(len(clips.labels), layout.shard_clips)
        self._array = array
        self._shape = shape
        self._checksums: dict[int, Checksum] = {}
        # Sorted, so that equal settings give equal bytes.
        self._attributes = json.loads(json.dumps({**attributes, "clips": len(clips.labels)}, sort_keys=True))
        self._create(clips, axes)
        self._small_files = {
            file.relative_to(path).as_posix(): checksum(file) for file in path.rglob("*") if file.is_file()
        }

    def _create(self, clips: ClipColumns, axes: FeatureAxes | None) -> None:
        """Write all that zarr writes: metadata, and the small arrays, one chunk each."""
        # Imported when a store is made: reading one takes no zarr.
        from zarr import consolidate_metadata, create_group
        from zarr.codecs import BloscCodec, Crc32cCodec

        group = create_group(self.path, zarr_format=3, attributes=self._attributes)
        codec = self.layout.codec
        compressors: list[Any] = [Crc32cCodec()]
        if codec != "none":
            compressors.insert(0, BloscCodec(cname=codec, clevel=COMPRESSION_LEVEL[codec], shuffle=SHUFFLE))
        group.create_array(
            self._array.name,
            shape=(len(clips.labels), *self._shape),
            dtype=self.layout.dtype,
            chunks=(self.layout.chunk_clips, *self._shape),
            shards=(self.layout.shard_clips, *self._shape),
            compressors=compressors,
            fill_value=FILL,
            chunk_key_encoding={"name": "default", "separator": SEPARATOR},
            dimension_names=self._array.dimensions,
        )
        # name: values, dimensions, fill value, attributes
        small: dict[str, tuple[NDArray[Any], tuple[str, ...], float, dict[str, Any]]] = {
            "label": (clips.labels.astype(clips.labels.dtype.newbyteorder("<")), ("clip",), -1, {}),
            "source_row": (clips.source_rows.astype("<i8"), ("clip",), -1, {}),
            "digest": (clips.digests.astype("<u1"), ("clip", "byte"), 0, {}),
        }
        if axes:
            units = {"units": axes.frequency_units}
            small["frequency"] = (axes.frequency.astype("<f8"), ("frequency",), FILL, units)
            small["time"] = (axes.time_s.astype("<f8"), ("time",), FILL, {"units": "s"})
        for name, (values, dimensions, fill, described) in small.items():
            array = group.create_array(
                name,
                shape=values.shape,
                dtype=values.dtype,
                chunks=values.shape,
                compressors=[Crc32cCodec()],
                fill_value=fill,
                dimension_names=dimensions,
                attributes=described,
                config={"write_empty_chunks": True},
            )
            array[...] = values
        if clips.recordings is not None and (clips.recordings != "").any():
            array = group.create_array(
                "recording",
                shape=clips.recordings.shape,
                dtype="string",
                chunks=clips.recordings.shape,
                compressors=[Crc32cCodec()],
                fill_value="",
                dimension_names=("clip",),
                config={"write_empty_chunks": True},
            )
            array[...] = clips.recordings
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # zarr says that consolidated metadata is its own extension
            consolidate_metadata(self.path, zarr_format=3)

    def shard_path(self, number: int) -> Path:
        """Where a shard belongs."""
        return self.path / self._array.shard_name(number)

    def write(self, number: int, values: NDArray[Any]) -> Checksum:
        """Write all clips of a shard into its place and record it.

        Parameters
        ----------
        number : int
        values : array, shape (clips, ...)

        Raises
        ------
        ValueError
            If they have another shape, or there are more or fewer: half a shard cannot be written without reading it,
            and two writers of one shard would lose each other's clips.
        """
        start, stop = self.shards[number]
        if values.shape[1:] != self._shape:
            raise ValueError(
                f"values of shape {values.shape[1:]} are not {self._array.name} of {self.path}: {self._shape}"
            )
        if len(values) != stop - start:
            raise ValueError(f"{len(values)} clips are not shard {number} of {self.path}, clips {start} to {stop - 1}")
        chunks = shard_ranges(len(values), self.layout.chunk_clips)
        with self.shard_path(number).open("xb") as file:
            written = write_shard(file, (values[first:end] for first, end in chunks), self.layout)
        self.add_shard(number, written)
        return written

    def add_shard(self, number: int, checksum: Checksum) -> None:
        """Record a shard that lies in its place."""
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
        Manifest(attributes=self._attributes, files=self._small_files, shards=shards).write(self.path)


def create_waveform_store(
    path: Path, clips: ClipColumns, digest: str, split: dict[str, Any], corpus: Corpus, *, speakers_known: bool = True
) -> StoreWriter:
    """Begin a :class:`~features.store.reader.WaveformStore`.

    Parameters
    ----------
    path : Path
    clips : ClipColumns
    digest : str
        Fingerprint of the waveforms, labels and rows to come.
    split : dict
        Settings by which these clips were chosen.
    corpus : Corpus
    speakers_known : bool
        Whether the sets are known to hold different speakers.
    """
    attributes = {
        "store": msgspec.to_builtins(WAVEFORM_LAYOUT),
        "words": list(corpus.words),
        "sample_rate_hz": corpus.sample_rate_hz,
        "clip_seconds": corpus.clip_seconds,
        "speakers_known": speakers_known,
        "digest": digest,
        "split": split,
    }
    return StoreWriter(path, WAVEFORM, (corpus.clip_samples,), WAVEFORM_LAYOUT, clips, attributes)


def create_feature_store(
    path: Path, axes: FeatureAxes, layout: StoreSpec, clips: ClipColumns, attributes: dict[str, Any]
) -> StoreWriter:
    """Begin a :class:`~features.store.reader.FeatureStore`; JSON can hold its attributes."""
    shape = (axes.frequency.size, axes.time_s.size)
    return StoreWriter(path, FEATURES, shape, layout, clips, attributes, axes)
