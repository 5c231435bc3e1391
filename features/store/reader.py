"""Reading stores: zarr groups of waveforms and of features on disk.

Arrays are cut into chunks, which are read, inside shards, which are files and are written whole by one writer. A store
is the same to the byte for equal input: nothing in it records when or where it was made.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from features.errors import InputError
from features.store.layout import FEATURES, WAVEFORM, Array, StoreSpec, shard_ranges
from features.store.manifest import NAME as MANIFEST
from features.store.manifest import Manifest, ManifestError, repair_hint
from features.store.shard import (
    CRC_BYTES,
    check_crc,
    checksum,
    checksum_of,
    decode_chunk,
    index_bytes,
    read_shard,
    shard_index,
)
from features.store.writer import FeatureAxes


class Store:
    """A set of clips on disk: one large sharded array; label, source row, digest and, if known, recording of each clip.

    Attributes
    ----------
    path : Path
    clips : int
    shape : tuple of int
        Shape of one clip's values.
    layout : StoreSpec
    chunks : int
    shards : list of (int, int)
        First clip of each shard and the clip after its last.
    manifest : Manifest
    attributes : dict
        How the store was made.
    """

    array: ClassVar[Array]

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest
        self.attributes = manifest.attributes
        self.clips, *shape = json.loads(self._checked(f"{self.array.name}/zarr.json"))["shape"]
        self.shape: tuple[int, ...] = tuple(shape)
        self.layout = msgspec.convert(self.attributes["store"], StoreSpec)
        self.chunks = -(-self.clips // self.layout.chunk_clips)
        self.shards = shard_ranges(self.clips, self.layout.shard_clips)
        self._indices: dict[int, list[tuple[int, int]]] = {}

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a store for reading.

        Metadata and small arrays are compared with their checksums, shards with their size.

        Raises
        ------
        InputError
            If there is none, it holds something else, or it is not what was written.
        """
        name = cls.array.name
        try:
            manifest = Manifest.read(path)
        except ManifestError as error:
            if not path.exists():
                raise InputError(f"{path} does not exist; expected a store of {name}, so run dvc repro") from None
            raise InputError(
                f"the {MANIFEST} of {path} {error}; expected a finished store of {name}, so {repair_hint(path)}"
            ) from None
        if f"{name}/zarr.json" not in manifest.files:
            raise InputError(f"{path} holds no {name}; expected a store of {name}")
        store = cls(path, manifest)
        for file in manifest.files:
            store._checked(file)
        for number, expected in enumerate(manifest.shards):
            try:
                whole = store.shard_path(number).stat().st_size == expected.size
            except OSError:
                whole = False
            if not whole:
                raise store._damaged(cls.array.shard_name(number))
        return store

    @property
    def chunk_clips(self) -> int:
        """Clips in a chunk."""
        return self.layout.chunk_clips

    @property
    def labels(self) -> NDArray[np.integer[Any]]:
        """Positions in ``attributes["words"]``, shape (clips,)."""
        return self._small("label")

    @property
    def source_rows(self) -> NDArray[np.int64]:
        """Rows of the npz that the clips came from, int64, shape (clips,)."""
        return self._small("source_row")

    @property
    def digests(self) -> NDArray[np.uint8]:
        """BLAKE2b of each clip's float32 waveform, uint8, shape (clips, 16)."""
        return self._small("digest")

    @property
    def recordings(self) -> NDArray[np.str_]:
        """Path of the file that each clip was cut from, shape (clips,); empty where unknown."""
        if "recording/zarr.json" not in self.manifest.files:
            return np.full(self.clips, "")
        from numcodecs.vlen import VLenUTF8

        return np.asarray(VLenUTF8().decode(self._checked("recording/c/0")[:-CRC_BYTES]), np.str_)

    def _small(self, name: str) -> NDArray[Any]:
        """Read a small array, of one chunk; it is not kept, because most tasks need none."""
        metadata = json.loads(self._checked(f"{name}/zarr.json"))
        shape, dtype = metadata["shape"], np.dtype(metadata["data_type"]).newbyteorder("<")
        content = self._checked(f"{name}/c" + "/0" * len(shape))
        return np.frombuffer(content[:-CRC_BYTES], dtype).reshape(shape)

    def _checked(self, name: str) -> bytes:
        """Read a small file and compare it with its checksum."""
        try:
            content = (self.path / name).read_bytes()
        except OSError:
            raise self._damaged(name) from None
        if checksum_of(content) != self.manifest.files[name]:
            raise self._damaged(name)
        return content

    def shard_path(self, number: int) -> Path:
        """Where a shard lies."""
        return self.path / self.array.shard_name(number)

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

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Read the values of clips ``start`` to ``stop``, as they are stored.

        Returns
        -------
        array, shape (stop - start, *shape)

        Raises
        ------
        InputError
            If a chunk is not what was written.
        """
        size = self.layout.chunk_clips
        first = start // size
        chunks = np.empty((max(-(-stop // size) - first, 0), size, *self.shape), self.layout.dtype)
        for number, chunk in enumerate(chunks, first):
            self.read_chunk(number, chunk)
        return chunks.reshape(-1, *self.shape)[start - first * size : stop - first * size]

    def read_chunk(self, number: int, out: NDArray[Any]) -> None:
        """Read one chunk and compare its CRC-32C.

        Parameters
        ----------
        number : int
        out : contiguous array of the store's type, shape (chunk_clips, *shape)
            Where to put it. What the last chunk has too few clips for is filled with NaN.

        Raises
        ------
        InputError
            If it is not what was written.
        """
        shard, position = divmod(number, self.layout.shard_clips // self.layout.chunk_clips)
        try:
            with self.shard_path(shard).open("rb") as file:
                if shard not in self._indices:
                    self.check(shard)  # once as a whole, because an intact shard of other clips has right CRCs, too
                    file.seek(self.manifest.shards[shard].size - index_bytes(self.layout))
                    self._indices[shard] = shard_index(file.read())
                offset, size = self._indices[shard][position]
                file.seek(offset)
                if self.layout.codec == "none":  # in place, which saves a copy
                    file.readinto(out.reshape(-1).view(np.uint8).data)
                    check_crc(out, file.read(CRC_BYTES))
                else:
                    out[...] = decode_chunk(file.read(size), self.shape, self.layout)
        except (ValueError, RuntimeError, IndexError, OSError):
            raise self._damaged_shard(shard) from None

    def _damaged(self, name: str) -> InputError:
        return InputError(f"{name} of {self.path} is missing or not what was written; {repair_hint(self.path)}")

    def _damaged_shard(self, number: int) -> InputError:
        start, stop = self.shards[number]
        return InputError(
            f"shard {number} of {self.path} (clips {start} to {stop - 1}) is not what was written; "
            f"{repair_hint(self.path)}"
        )


class WaveformStore(Store):
    """``waveform`` (clip, sample) float32 in [-1, 1] at 8 kHz, with ``label``, ``source_row`` and ``digest``."""

    array = WAVEFORM


class FeatureStore(Store):
    """``features`` (clip, frequency, time) with ``label``, ``source_row``, ``digest`` and axes in Hz and seconds.

    ``xarray.open_zarr(path)`` gives the same store with labelled axes.
    """

    array = FEATURES

    @property
    def axes(self) -> FeatureAxes:
        """Centres of bins and frames."""
        units = json.loads(self._checked("frequency/zarr.json"))["attributes"]["units"]
        return FeatureAxes(self._small("frequency"), self._small("time"), units)


def array_in(path: Path) -> Array:
    """The large array of the store at a path, by its manifest or else from what is there.

    Raises
    ------
    InputError
        If it is no store.
    """
    arrays = (FEATURES, WAVEFORM)
    try:
        files = Manifest.read(path).files
        found = [array for array in arrays if f"{array.name}/zarr.json" in files]
    except ManifestError:
        # Listing a folder fails where a server does not answer; exists() would only say no.
        found = [
            array for array in arrays if any(file.name == "zarr.json" for file in (path / array.name).glob("*.json"))
        ]
    if found:
        return found[0]
    if path.exists():
        raise InputError(f"{path} is not a store; expected a folder such as data/features/train.zarr")
    raise InputError(f"{path} does not exist; expected a store such as data/features/train.zarr, which dvc repro makes")


def open_store(path: Path) -> FeatureStore | WaveformStore:
    """Open a store of either kind.

    Raises
    ------
    InputError
        As :meth:`Store.open`.
    """
    return FeatureStore.open(path) if array_in(path) == FEATURES else WaveformStore.open(path)
