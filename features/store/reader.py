"""Reading stores: zarr groups of waveforms and of features on disk.

Arrays are cut into chunks, which are read, inside shards, which are files and are written whole by one writer. A store
is the same to the byte for equal input: nothing in it records when or where it was made.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Self

import msgspec
import numpy as np
from numpy.typing import DTypeLike, NDArray

from features.errors import InputError
from features.store.layout import FEATURES, SEPARATOR, WAVEFORM, StoreSpec, chunk_name, shard_name, shard_ranges
from features.store.manifest import NAME as MANIFEST
from features.store.manifest import Manifest, ManifestError
from features.store.shard import (
    CRC_BYTES,
    Checksum,
    check_crc,
    checksum,
    checksum_of,
    decode_chunk,
    index_bytes,
    read_shard,
    shard_index,
)
from features.store.writer import FeatureAxes


def attributes_in(path: Path) -> dict[str, Any]:
    """What the group at a path says of itself, unchecked."""
    return dict(json.loads((path / "zarr.json").read_text())["attributes"])


def files_in(path: Path) -> list[str]:
    """Path of every file inside a store, sorted; a link to a folder counts as a file, and is not followed."""
    return sorted(
        file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_symlink() or not file.is_dir()
    )


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

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest
        self.attributes: dict[str, Any] = json.loads(self._checked("zarr.json"))["attributes"]
        document = self._checked(f"{self.name}/zarr.json")
        if b'"crc32c"' not in document.split(b'"index_codecs"')[0]:
            raise InputError(
                f"{path} was made by an earlier version, whose chunks have no checksums; expected crc32c, so "
                "delete it and run dvc repro"
            )
        self.clips, *shape = json.loads(document)["shape"]
        self.shape: tuple[int, ...] = tuple(shape)
        self.layout = msgspec.convert(self.attributes["store"], StoreSpec)
        self.chunks = -(-self.clips // self.layout.chunk_clips)
        self.shards = shard_ranges(self.clips, self.layout.shard_clips)
        self._indices: dict[int, list[tuple[int, int]]] = {}

    @property
    def chunk_clips(self) -> int:
        """Clips in a chunk."""
        return self.layout.chunk_clips

    @property
    def labels(self) -> NDArray[np.int8]:
        """Label numbers, int8, shape (clips,)."""
        return self._small("label", np.int8)

    @property
    def source_rows(self) -> NDArray[np.int64]:
        """Rows of the npz that the clips came from, int64, shape (clips,)."""
        return self._small("source_row", "<i8")

    @property
    def digests(self) -> NDArray[np.uint8]:
        """BLAKE2b of each clip's float32 waveform, uint8, shape (clips, 16)."""
        return self._small("digest", np.uint8)

    def _small(self, name: str, dtype: DTypeLike) -> NDArray[Any]:
        """Read a small array; it is not kept, because tasks want none of them."""
        shape = json.loads(self._checked(f"{name}/zarr.json"))["shape"]
        content = self._checked(chunk_name(name, len(shape)))
        return np.frombuffer(content[:-CRC_BYTES], dtype).reshape(shape)

    def _checked(self, name: str) -> bytes:
        """Read a small file.

        Raises
        ------
        InputError
            If it is not what was written.
        """
        return _read_checked(self.path, name, self.manifest.files[name])

    def shard_path(self, number: int) -> Path:
        """Where a shard lies."""
        return self.path / shard_name(self.name, len(self.dimensions), number)

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
        if stop <= start:
            return np.empty((0, *self.shape), self.layout.dtype)
        size = self.layout.chunk_clips
        chunks = [self._decoded(number) for number in range(start // size, -(-stop // size))]
        return np.concatenate(chunks)[start % size :][: stop - start]

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
        with self._chunk(number) as (file, size):
            if self.layout.codec == "none":  # in place, which saves a copy
                file.readinto(out.reshape(-1).view(np.uint8))
                check_crc(out, file.read(CRC_BYTES))
            else:
                out[...] = decode_chunk(file.read(size), self.shape, self.layout)

    def _decoded(self, number: int) -> NDArray[Any]:
        """One chunk, shape (chunk_clips, *shape), checked; not to be written to."""
        with self._chunk(number) as (file, size):
            return decode_chunk(file.read(size), self.shape, self.layout)

    @contextmanager
    def _chunk(self, number: int) -> Iterator[tuple[Any, int]]:
        """Open a shard at a chunk, of so many bytes; what goes wrong in the block is damage.

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
                    self._indices[shard] = shard_index(file.read(), self.layout)
                offset, size = self._indices[shard][position]
                file.seek(offset)
                yield file, size
        except (ValueError, RuntimeError, IndexError, OSError):
            raise self._damaged_shard(shard) from None

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
            f"shard {number} of {self.path} (clips {start} to {stop - 1}) is not what was written; {mending(self.path)}"
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
                f"the {MANIFEST} of {path} {error}; expected a finished store of {cls.name}, so {mending(path)}"
            ) from None
        if not manifest.files.keys() >= {f"{name}/zarr.json" for name in (cls.name, "label", "source_row", "digest")}:
            raise InputError(f"{path} holds no {cls.name}; expected a store of {cls.name}")
        for name, expected in manifest.files.items():
            _read_checked(path, name, expected)
        for number, expected in enumerate(manifest.shards):
            name = shard_name(cls.name, len(cls.dimensions), number)
            try:
                right = (path / name).stat().st_size == expected.size
            except OSError:
                right = False
            if not right:
                raise _damaged(path, name)
        return cls(path, manifest)


def _read_checked(path: Path, name: str, expected: Checksum) -> bytes:
    try:
        content = (path / name).read_bytes()
    except OSError:
        raise _damaged(path, name) from None
    if checksum_of(content) != expected:
        raise _damaged(path, name)
    return content


def _damaged(path: Path, name: str) -> InputError:
    return InputError(f"{name} of {path} is missing or not what was written; {mending(path)}")


def is_elsewhere(path: Path) -> bool:
    """Whether a place is the URL of a file system that may be on another machine."""
    return "://" in str(path)


def mending(path: Path) -> str:
    """What to do about a store that is not what was written, in words."""
    return "make or copy it again" if is_elsewhere(path) else f"run: features verify --repair {path}"


class WaveformStore(Store):
    """``waveform`` (clip, sample) float32 in [-1, 1] at 8 kHz, with ``label``, ``source_row`` and ``digest``."""

    name, dimensions = WAVEFORM


class FeatureStore(Store):
    """``features`` (clip, frequency, time) with ``label``, ``source_row``, ``digest`` and axes in Hz and seconds.

    ``xarray.open_zarr(path)`` gives the same store with labelled axes.
    """

    name, dimensions = FEATURES

    @property
    def axes(self) -> FeatureAxes:
        """Centres of bins and frames."""
        return FeatureAxes(self._small("frequency", "<f8"), self._small("time", "<f8"))


KINDS: dict[str, type[FeatureStore] | type[WaveformStore]] = {"features": FeatureStore, "waveform": WaveformStore}


def array_in(path: Path) -> str:
    """Name of the large array of the store at a path, by its manifest or else from what is there.

    Raises
    ------
    InputError
        If it is no store.
    """
    try:
        files = Manifest.read(path).files
    except ManifestError:
        files = {}
    for name in KINDS:
        if f"{name}/zarr.json" in files:
            return name
    for there in ("zarr.json", f"c{SEPARATOR}*"):
        for name in KINDS:
            if any((path / name).glob(there)):
                return name
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
    return FeatureStore.open(path) if array_in(path) == "features" else WaveformStore.open(path)
