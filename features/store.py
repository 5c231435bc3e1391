"""The stores: zarr groups of waveforms and of features on disk. The only module that knows zarr.

Arrays are cut into chunks, which are read, inside shards, which are files and are written whole by one writer. A store
is the same to the byte for equal input: nothing in it records when or where it was made.
"""

import json
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import zarr
from numpy.typing import NDArray
from xxhash import xxh3_64, xxh3_64_hexdigest
from zarr.codecs import BloscCodec
from zarr.errors import ZarrUserWarning

from features.corpus import CLIP_SAMPLES, SAMPLE_RATE_HZ, WORDS
from features.errors import InputError
from features.layout import WAVEFORM_LAYOUT, StoreSpec, shard_ranges
from features.manifest import NAME as MANIFEST
from features.manifest import Manifest, ManifestError
from features.shard import (
    COMPRESSION,
    FILL,
    Checksum,
    checksum,
    checksum_of,
    decode_chunk,
    index_bytes,
    read_shard,
    shard_index,
    write_shard,
)

SHUFFLES: tuple[Literal["noshuffle", "shuffle", "bitshuffle"], ...] = ("noshuffle", "shuffle", "bitshuffle")

IOV_MAX = os.sysconf("SC_IOV_MAX")
"""Places that one call of the system can read into."""

SEPARATOR: Literal["."] = "."
"""Between the numbers in a shard's name: all shards of a store in one folder, because DVC hashes a folder's files side
by side, and one folder after the other."""


class Draft:
    """A store being made: all of it but its shards, which are placed one by one, and its manifest, which seals it.

    Attributes
    ----------
    path : Path
    shards : list of (int, int)
        First clip of each shard and the clip after its last.
    """

    def __init__(self, path: Path, array: str, shape: tuple[int, ...], clips: int, layout: StoreSpec) -> None:
        self.path = path
        self.shards = shard_ranges(clips, layout.shard_clips)
        self._array = array
        self._shape = shape
        self._layout = layout
        self._checksums: dict[int, Checksum] = {}

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

    def small_files(self) -> dict[str, Checksum]:
        """Take the checksums of metadata and small arrays."""
        return {
            name: checksum(self.path / name)
            for name in files_in(self.path)
            if name != MANIFEST and not name.startswith(f"{self._array}/c.")
        }

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
        attributes = dict(zarr.open_group(self.path, mode="r", zarr_format=3).attrs)
        shards = [self._checksums[number] for number in range(len(self.shards))]
        Manifest(attributes=attributes, files=self.small_files(), shards=shards).write(self.path)


def shard_name(array: str, dimensions: int, number: int) -> str:
    """Path of a shard inside its store."""
    return f"{array}/" + SEPARATOR.join(["c", str(number), *["0"] * (dimensions - 1)])


def attributes_in(path: Path) -> dict[str, Any]:
    """What the group at a path says of itself, unchecked."""
    return dict(json.loads((path / "zarr.json").read_text())["attributes"])


def files_in(path: Path) -> list[str]:
    """Path of every file inside a store, sorted."""
    return sorted(file.relative_to(path).as_posix() for file in path.rglob("*") if not file.is_dir())


class Store:
    """A set of clips on disk: one large sharded array, and the label, source row and digest of each clip.

    Attributes
    ----------
    path : Path
    clips : int
    shape : tuple of int
        Shape of one clip's values.
    layout : StoreSpec
    chunks : int
    manifest : Manifest
    attributes : dict
        What the store says of itself.
    """

    name: ClassVar[str]
    dimensions: ClassVar[tuple[str, ...]]

    def __init__(self, path: Path, group: zarr.Group, manifest: Manifest) -> None:
        arrays = {name: array for name, array in group.members() if isinstance(array, zarr.Array)}
        array = arrays[self.name]
        self.path = path
        self.manifest = manifest
        self.attributes: dict[str, Any] = dict(group.attrs)
        self.clips = array.shape[0]
        self.shape = array.shape[1:]
        self.layout = StoreSpec.model_validate(self.attributes["store"])
        self.chunks = -(-self.clips // self.layout.chunk_clips)
        self.shards = shard_ranges(self.clips, self.layout.shard_clips)
        self._array = array
        self._arrays = arrays
        self._indices: dict[int, list[tuple[int, int]]] = {}
        self._shard_names = [str(self.shard_path(number)) for number in range(len(self.shards))]

    @property
    def chunk_clips(self) -> int:
        """Clips in a chunk."""
        return self.layout.chunk_clips

    @property
    def labels(self) -> NDArray[np.int8]:
        """Label numbers, int8, shape (clips,)."""
        return np.asarray(self._arrays["label"][:], np.int8)

    @property
    def source_rows(self) -> NDArray[np.int64]:
        """Rows of the npz that the clips came from, int64, shape (clips,)."""
        return np.asarray(self._arrays["source_row"][:], np.int64)

    @property
    def digests(self) -> NDArray[np.uint8]:
        """BLAKE2b of each clip's float32 waveform, uint8, shape (clips, 16)."""
        return np.asarray(self._arrays["digest"][:], np.uint8)

    def shard_path(self, number: int) -> Path:
        """Where a shard lies."""
        return self.path / shard_name(self.name, len(self.dimensions), number)

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Read the values of clips ``start`` to ``stop``, as they are stored, unchecked."""
        return np.asarray(self._array[start:stop])

    def read_checked(self, number: int) -> Iterator[tuple[int, NDArray[Any]]]:
        """Read a shard's chunks once its checksum is known to be right.

        Yields
        ------
        (int, array)
            Number of the first clip, and the values of a chunk of clips.

        Raises
        ------
        InputError
            If the shard is not what was written.
        """
        start, stop = self.shards[number]
        try:
            for chunk in read_shard(self.shard_path(number), self.shape, self.layout, self.manifest.shards[number]):
                yield start, chunk[: stop - start]
                start += len(chunk)
        except (ValueError, OSError):
            raise self._damaged_shard(number) from None

    def read_chunk(self, number: int, out: Sequence[NDArray[Any]]) -> None:
        """Read one chunk, each clip to its own place, and hold it against its checksum.

        Parameters
        ----------
        number : int
        out : sequence of ``chunk_clips`` arrays
            Each of as many bytes as a clip of the stored type, and contiguous. What the last chunk has too few clips
            for is filled with what is not a number.

        Raises
        ------
        InputError
            If it is not what was written; the places may hold anything then.
        """
        shard, position = divmod(number, self.layout.shard_clips // self.layout.chunk_clips)
        try:
            handle = os.open(self._shard_names[shard], os.O_RDONLY | os.O_CLOEXEC)
            try:
                offset, size = self._index(shard, handle)[position]
                if self.layout.codec == "none":
                    digest = _read_apart(handle, offset, out)
                else:
                    encoded = os.pread(handle, size, offset)
                    digest = xxh3_64_hexdigest(encoded)
            finally:
                os.close(handle)
            if digest != self.manifest.shards[shard].chunks[position]:
                raise ValueError
            if self.layout.codec != "none":
                chunk = np.empty((len(out), *self.shape), self.layout.dtype)
                decode_chunk(encoded, self.layout, chunk)
                for place, clip in zip(out, chunk, strict=True):
                    place.view(chunk.dtype).reshape(self.shape)[...] = clip
        except (ValueError, RuntimeError, IndexError, OSError):
            raise self._damaged_shard(shard) from None

    def _index(self, shard: int, handle: int) -> list[tuple[int, int]]:
        if shard not in self._indices:
            length = index_bytes(self.layout)
            end = os.pread(handle, length, self.manifest.shards[shard].size - length)
            self._indices[shard] = shard_index(end, self.layout)
        return self._indices[shard]

    def check(self, number: int) -> None:
        """Compare a shard with its checksum.

        Raises
        ------
        InputError
            If it is not what was written.
        """
        try:
            right = checksum(self.shard_path(number)) == self.manifest.shards[number]
        except OSError:
            right = False
        if not right:
            raise self._damaged_shard(number)

    def _damaged_shard(self, number: int) -> InputError:
        start, stop = self.shards[number]
        return InputError(
            f"shard {number} of {self.path} (clips {start} to {stop - 1}) is not what was written; repair it with: "
            f"features verify --repair {self.path}"
        )

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a store for reading.

        Metadata and small arrays are checked against their checksums, shards for being there whole.

        Raises
        ------
        InputError
            If there is none, it holds something else, or it is not what was written.
        """
        try:
            manifest = Manifest.read(path)
        except ManifestError as error:
            if not path.exists():
                raise InputError(f"{path} does not exist; expected a store of {cls.name}, so run dvc repro") from None
            raise InputError(
                f"the {MANIFEST} of {path} {error}; expected a finished store of {cls.name}, so run: features verify "
                f"--repair {path}"
            ) from None
        if not manifest.files.keys() >= {f"{name}/zarr.json" for name in (cls.name, "label", "source_row", "digest")}:
            raise InputError(f"{path} holds no {cls.name}; expected a store of {cls.name}")
        for name, expected in manifest.files.items():
            try:
                right = checksum_of((path / name).read_bytes()) == expected
            except OSError:
                right = False
            if not right:
                raise _damaged(path, name)
        for number, expected in enumerate(manifest.shards):
            name = shard_name(cls.name, len(cls.dimensions), number)
            try:
                right = (path / name).stat().st_size == expected.size
            except OSError:
                right = False
            if not right:
                raise _damaged(path, name)
        return cls(path, zarr.open_group(str(path), mode="r", zarr_format=3), manifest)

    @classmethod
    def _draft(
        cls,
        path: Path,
        shape: tuple[int, ...],
        layout: StoreSpec,
        clips: "ClipColumns",
        attributes: dict[str, Any],
        coordinates: dict[str, tuple[NDArray[np.float64], str]],
    ) -> Draft:
        # In one order, whoever brings them, so that a store made again is the same to the byte.
        attributes = json.loads(json.dumps({**attributes, "clips": len(clips.labels)}, sort_keys=True))
        group = zarr.create_group(path, zarr_format=3, attributes=attributes)
        group.create_array(
            cls.name,
            shape=(len(clips.labels), *shape),
            dtype=layout.dtype,
            chunks=(layout.chunk_clips, *shape),
            shards=(layout.shard_clips, *shape),
            compressors=_compressor(layout),
            fill_value=FILL,
            chunk_key_encoding={"name": "default", "separator": SEPARATOR},
            dimension_names=cls.dimensions,
        )
        _put(group, "label", clips.labels, ("clip",), fill=-1)
        _put(group, "source_row", clips.source_rows, ("clip",), fill=-1)
        _put(group, "digest", clips.digests, ("clip", "byte"), fill=0)
        for name, (values, unit) in coordinates.items():
            _put(group, name, values, (name,), fill=FILL, units=unit)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ZarrUserWarning)  # consolidated metadata is an extension; xarray wants it
            zarr.consolidate_metadata(path, zarr_format=3)
        return Draft(path, cls.name, shape, len(clips.labels), layout)


def _read_apart(handle: int, offset: int, out: Sequence[NDArray[Any]]) -> str:
    """Read what lies in one piece into several; the digest is that of the piece."""
    hasher = xxh3_64()
    for first in range(0, len(out), IOV_MAX):
        places = [place.data for place in out[first : first + IOV_MAX]]
        offset += os.preadv(handle, places, offset)
        for place in places:
            hasher.update(place)
    return hasher.hexdigest()


def _damaged(path: Path, name: str) -> InputError:
    return InputError(f"{name} of {path} is missing or not what was written; run: features verify --repair {path}")


def _compressor(layout: StoreSpec) -> BloscCodec | None:
    if layout.codec == "none":
        return None
    level, shuffle = COMPRESSION[layout.codec]
    return BloscCodec(cname=layout.codec, clevel=level, shuffle=SHUFFLES[shuffle])


def _put(
    group: zarr.Group,
    name: str,
    values: NDArray[Any],
    dimensions: tuple[str, ...],
    *,
    fill: float,
    **attributes: str,
) -> None:
    array = group.create_array(
        name,
        shape=values.shape,
        dtype=values.dtype,
        chunks=values.shape,
        compressors=None,
        fill_value=fill,
        dimension_names=dimensions,
        attributes={**attributes},
        config={"write_empty_chunks": True},
    )
    array[...] = values


@dataclass(frozen=True)
class ClipColumns:
    """What is known of each clip beside its values."""

    labels: NDArray[np.int8]
    """Positions in :data:`~features.corpus.WORDS`, shape (clips,)."""
    source_rows: NDArray[np.int64]
    """Rows of the npz, shape (clips,)."""
    digests: NDArray[np.uint8]
    """BLAKE2b of each clip's float32 waveform, shape (clips, 16)."""


class WaveformStore(Store):
    """``waveform`` (clip, sample) float32 in [-1, 1] at 8 kHz, with ``label``, ``source_row`` and ``digest``."""

    name = "waveform"
    dimensions = ("clip", "sample")

    @classmethod
    def draft(cls, path: Path, clips: ClipColumns, digest: str, split: dict[str, Any]) -> Draft:
        """Begin a store whose waveforms are still to be written, shard by shard.

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
            "store": WAVEFORM_LAYOUT.model_dump(),
            "words": list(WORDS),
            "sample_rate_hz": SAMPLE_RATE_HZ,
            "digest": digest,
            "split": split,
        }
        return cls._draft(path, (CLIP_SAMPLES,), WAVEFORM_LAYOUT, clips, attributes, {})


@dataclass(frozen=True)
class FeatureAxes:
    """The axes of one clip's features: centre of each bin in Hz and of each frame in seconds, float64."""

    frequency_hz: NDArray[np.float64]
    time_s: NDArray[np.float64]


class FeatureStore(Store):
    """``features`` (clip, frequency, time) with ``label``, ``source_row``, ``digest`` and axes in Hz and seconds.

    ``xarray.open_zarr(path)`` gives the same store with labelled axes.
    """

    name = "features"
    dimensions = ("clip", "frequency", "time")

    @property
    def axes(self) -> "FeatureAxes":
        """Centres of bins and frames."""
        return FeatureAxes(np.asarray(self._arrays["frequency"][:]), np.asarray(self._arrays["time"][:]))

    @classmethod
    def draft(
        cls, path: Path, axes: FeatureAxes, layout: StoreSpec, clips: ClipColumns, attributes: dict[str, Any]
    ) -> Draft:
        """Begin a store whose features are still to be written, shard by shard.

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
        return cls._draft(path, shape, layout, clips, attributes, coordinates)


KINDS: dict[str, type[FeatureStore] | type[WaveformStore]] = {"features": FeatureStore, "waveform": WaveformStore}


def array_in(path: Path) -> str:
    """Name of the large array of the store at a path, from what is there.

    Raises
    ------
    InputError
        If it is no store.
    """
    for name in KINDS:
        if (path / name / "zarr.json").is_file() or any((path / name).glob(f"c{SEPARATOR}*")):
            return name
    try:
        files = Manifest.read(path).files
    except ManifestError:
        files = {}
    for name in KINDS:
        if f"{name}/zarr.json" in files:
            return name
    what = "is not a store" if path.exists() else "does not exist"
    raise InputError(f"{path} {what}; expected a folder such as data/features/train.zarr")


def open_store(path: Path) -> FeatureStore | WaveformStore:
    """Open a store of either kind.

    Raises
    ------
    InputError
        As :meth:`Store.open`.
    """
    return FeatureStore.open(path) if array_in(path) == "features" else WaveformStore.open(path)
