"""The stores: zarr groups of waveforms and of features on disk. The only module that knows zarr.

Arrays are cut into chunks, which are read, inside shards, which are files and are written whole by one writer. A store
is the same to the byte for equal input: nothing in it records when or where it was made.
"""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import zarr
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator
from zarr.codecs import BloscCodec
from zarr.core.metadata import ArrayV3Metadata
from zarr.errors import ZarrUserWarning

from features.corpus import CLIP_SAMPLES, SAMPLE_RATE_HZ, WORDS
from features.errors import InputError

Codec = Literal["none", "lz4", "zstd"]


class StoreSpec(BaseModel):
    """How features lie on disk; changes no number of theirs but through ``dtype``."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    dtype: Literal["float32", "float16"]
    chunk_clips: Annotated[int, Field(ge=1)]
    """Clips that are compressed, read and shuffled together."""
    shard_clips: Annotated[int, Field(ge=1)]
    """Clips in one file, which one task computes and writes; a multiple of ``chunk_clips``."""
    codec: Codec

    @model_validator(mode="after")
    def _shards_hold_whole_chunks(self) -> Self:
        if self.shard_clips % self.chunk_clips:
            raise ValueError(
                f"shard_clips {self.shard_clips} is not a multiple of chunk_clips {self.chunk_clips}; expected whole "
                "chunks in a shard"
            )
        return self


WAVEFORM_LAYOUT = StoreSpec(dtype="float32", chunk_clips=32, shard_clips=256, codec="lz4")


def _compressor(codec: Codec) -> BloscCodec | None:
    if codec == "none":
        return None
    return BloscCodec(cname=codec, clevel=5 if codec == "lz4" else 1, shuffle="bitshuffle")


def shard_ranges(clips: int, shard_clips: int) -> list[tuple[int, int]]:
    """First clip of each shard and the clip after its last.

    Examples
    --------
    >>> shard_ranges(5, 2)
    [(0, 2), (2, 4), (4, 5)]
    """
    return [(start, min(start + shard_clips, clips)) for start in range(0, clips, shard_clips)]


class Store:
    """A set of clips on disk: one large sharded array, and the label and source row of each clip.

    Attributes
    ----------
    clips : int
    shape : tuple of int
        Shape of one clip's values.
    chunk_clips, shard_clips, chunks : int
    attributes : dict
        What the store says of itself.
    """

    name: str
    dimensions: tuple[str, ...]

    def __init__(self, path: Path, group: zarr.Group) -> None:
        array, label, source_row = (group[name] for name in (self.name, "label", "source_row"))
        assert isinstance(array, zarr.Array)
        assert isinstance(label, zarr.Array)
        assert isinstance(source_row, zarr.Array)
        self.path = path
        assert isinstance(array.metadata, ArrayV3Metadata)
        # A silent chunk must not look like a missing one, and zarr forgets between openings that it was told so.
        self._array: zarr.Array[ArrayV3Metadata] = zarr.Array(
            zarr.AsyncArray(array.metadata, array.store_path, config={"order": "C", "write_empty_chunks": True})
        )
        self._label = label
        self._source_row = source_row
        self.clips = array.shape[0]
        self.shape = array.shape[1:]
        self.chunk_clips = array.chunks[0]
        self.chunks = -(-self.clips // self.chunk_clips)
        self.shard_clips = (array.shards or array.chunks)[0]
        self.attributes: dict[str, Any] = dict(group.attrs)

    @property
    def labels(self) -> NDArray[np.int8]:
        """Label numbers, int8, shape (clips,)."""
        return np.asarray(self._label[:], np.int8)

    @property
    def source_rows(self) -> NDArray[np.int64]:
        """Rows of the npz that the clips came from, int64, shape (clips,)."""
        return np.asarray(self._source_row[:], np.int64)

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Read the values of clips ``start`` to ``stop``, as they are stored."""
        return np.asarray(self._array[start:stop])

    def write_shard(self, start: int, values: NDArray[Any]) -> None:
        """Write one whole shard.

        Raises
        ------
        ValueError
            If the clips are not exactly those of one shard: half a shard cannot be written without reading it, and two
            writers of one shard would lose each other's clips.
        """
        if start % self.shard_clips or len(values) != min(self.shard_clips, self.clips - start):
            raise ValueError(
                f"clips {start} to {start + len(values)} are not one whole shard of {self.shard_clips} clips in "
                f"{self.clips}"
            )
        self._array[start : start + len(values)] = values.astype(self._array.dtype, copy=False)

    @classmethod
    def open(cls, path: Path, *, writable: bool = False) -> Self:
        """Open a store, for reading unless it is said to be writable.

        Raises
        ------
        InputError
            If there is none, or it holds something else.
        """
        try:
            group = zarr.open_group(path, mode="r+" if writable else "r", zarr_format=3)
            missing = {cls.name, "label", "source_row"} - set(group.array_keys())
        except (FileNotFoundError, ValueError, KeyError) as error:
            raise InputError(
                f"{path} is not a zarr store ({type(error).__name__}); expected one with {cls.name}, so run dvc repro "
                "to make it"
            ) from None
        if missing:
            raise InputError(f"{path} lacks {', '.join(sorted(missing))}; expected a store of {cls.name}")
        return cls(path, group)

    @classmethod
    def _create(
        cls,
        path: Path,
        shape: tuple[int, ...],
        layout: StoreSpec,
        labels: NDArray[np.int8],
        source_rows: NDArray[np.int64],
        attributes: dict[str, Any],
        coordinates: dict[str, tuple[NDArray[np.float64], str]],
    ) -> Self:
        group = zarr.create_group(path, zarr_format=3, attributes=attributes)
        group.create_array(
            cls.name,
            shape=(len(labels), *shape),
            dtype=layout.dtype,
            chunks=(layout.chunk_clips, *shape),
            shards=(layout.shard_clips, *shape),
            compressors=_compressor(layout.codec),
            dimension_names=cls.dimensions,
        )
        cls._put(group, "label", labels, ("clip",))
        cls._put(group, "source_row", source_rows, ("clip",))
        for name, (values, unit) in coordinates.items():
            cls._put(group, name, values, (name,), units=unit)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ZarrUserWarning)  # consolidated metadata is an extension; xarray wants it
            zarr.consolidate_metadata(path, zarr_format=3)
        return cls.open(path, writable=True)

    @staticmethod
    def _put(
        group: zarr.Group, name: str, values: NDArray[Any], dimensions: tuple[str, ...], **attributes: str
    ) -> None:
        array = group.create_array(
            name,
            shape=values.shape,
            dtype=values.dtype,
            chunks=values.shape,
            compressors=None,
            dimension_names=dimensions,
            attributes={**attributes},
            config={"write_empty_chunks": True},
        )
        array[:] = values


class WaveformStore(Store):
    """``waveform`` (clip, sample) float32 in [-1, 1] at 8 kHz, with ``label`` and ``source_row``."""

    name = "waveform"
    dimensions = ("clip", "sample")

    @classmethod
    def create(cls, path: Path, labels: NDArray[np.int8], source_rows: NDArray[np.int64], digest: str) -> Self:
        """Make a store whose waveforms are still to be written, shard by shard.

        Parameters
        ----------
        path : Path
        labels : int8 array, shape (clips,)
        source_rows : int64 array, shape (clips,)
        digest : str
            Fingerprint of the waveforms, labels and rows to come.
        """
        attributes = {"words": list(WORDS), "sample_rate_hz": SAMPLE_RATE_HZ, "digest": digest}
        return cls._create(path, (CLIP_SAMPLES,), WAVEFORM_LAYOUT, labels, source_rows, attributes, {})


@dataclass(frozen=True)
class FeatureAxes:
    """The axes of one clip's features: centre of each bin in Hz and of each frame in seconds, float64."""

    frequency_hz: NDArray[np.float64]
    time_s: NDArray[np.float64]


class FeatureStore(Store):
    """``features`` (clip, frequency, time) with ``label``, ``source_row``, and coordinates in Hz and seconds.

    ``xarray.open_zarr(path)`` gives the same store with labelled axes.
    """

    name = "features"
    dimensions = ("clip", "frequency", "time")

    @classmethod
    def create(
        cls,
        path: Path,
        axes: FeatureAxes,
        layout: StoreSpec,
        labels: NDArray[np.int8],
        source_rows: NDArray[np.int64],
        attributes: dict[str, Any],
    ) -> Self:
        """Make a store whose features are still to be written, shard by shard.

        Parameters
        ----------
        path : Path
        axes : FeatureAxes
        layout : StoreSpec
        labels : int8 array, shape (clips,)
        source_rows : int64 array, shape (clips,)
        attributes : dict
            What the store is to say of itself, as JSON can hold it.
        """
        shape = (axes.frequency_hz.size, axes.time_s.size)
        coordinates = {"frequency": (axes.frequency_hz, "Hz"), "time": (axes.time_s, "s")}
        return cls._create(path, shape, layout, labels, source_rows, attributes, coordinates)
