"""One shard as a file: its chunks one after the other, then an index of them, in the layout of zarr's sharding codec.

Zarr reads these files and writes the same bytes, which the tests hold it to. Here a shard is written while it is being
computed, a chunk at a time, and its checksum is taken on the way; so no shard is ever whole in memory.
Layout: https://zarr-specs.readthedocs.io/en/latest/v3/codecs/sharding-indexed/index.html
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import google_crc32c
import numpy as np
import xxhash
from numpy.typing import NDArray

from features.store.layout import Codec, StoreSpec

COMPRESSION_LEVEL: dict[Codec, int] = {"lz4": 5, "zstd": 1}
SHUFFLE = "bitshuffle"
"""What comes before compression: the first bits of all numbers, then the second, and so on."""

FILL = np.nan
"""What stands for clips that are not there. A number that is none, so that nobody takes it for silence."""

_ABSENT = np.uint64(2**64 - 1)
_BLOCK_BYTES = 1 << 20
"""What is read at once where only a checksum is wanted: it stays in the processor's own cache."""


@dataclass(frozen=True)
class Checksum:
    """What identifies the bytes of a file: their number and 32 hexadecimal digits of XXH3-128."""

    size: int
    digest: str
    chunks: tuple[str, ...] = field(default=(), compare=False, repr=False)
    """Of a shard: 16 hexadecimal digits of XXH3-64 for each chunk, so that one can be read and checked alone."""


def checksum(path: Path) -> Checksum:
    """Read a file and take its checksum; memory is one block.

    The digest is that of ``xxhsum -H128``.
    """
    hasher, size = xxhash.xxh3_128(), 0
    view = memoryview(bytearray(_BLOCK_BYTES))
    with path.open("rb") as opened:
        file = getattr(opened, "raw", opened)  # past the buffer, where there is one
        while got := file.readinto(view):
            hasher.update(view[:got])
            size += got
    return Checksum(size, hasher.hexdigest())


def checksum_of(content: bytes) -> Checksum:
    """Checksum of bytes in memory."""
    return Checksum(len(content), xxhash.xxh3_128_hexdigest(content))


def write_shard(file: BinaryIO, chunks: Iterable[NDArray[Any]], layout: StoreSpec) -> Checksum:
    """Write one shard.

    Parameters
    ----------
    file : binary file
        Empty and open for writing.
    chunks : iterable of arrays, shape (clips, ...)
        Each of ``layout.chunk_clips`` clips, the last of at most as many; cast to the layout's type. They are taken one
        at a time, and not kept.
    layout : StoreSpec

    Returns
    -------
    Checksum
        Of what was written.

    Raises
    ------
    ValueError
        If a chunk other than the last is partial, or there are more than a shard holds.
    """
    places = np.full((layout.shard_clips // layout.chunk_clips, 2), _ABSENT, "<u8")
    hasher, offset = xxhash.xxh3_128(), 0
    digests = []
    partial = False
    for number, values in enumerate(chunks):
        if partial or number == len(places) or len(values) > layout.chunk_clips:
            raise ValueError(f"expected at most {len(places)} chunks of {layout.chunk_clips} clips, the last partial")
        partial = len(values) < layout.chunk_clips
        chunk = np.ascontiguousarray(values, np.dtype(layout.dtype).newbyteorder("<"))
        if partial:
            chunk = np.concatenate(
                [chunk, np.full((layout.chunk_clips - len(values), *chunk.shape[1:]), FILL, chunk.dtype)]
            )
        encoded = _encode(chunk, layout.codec)
        file.write(encoded)
        hasher.update(encoded)
        digests.append(xxhash.xxh3_64_hexdigest(encoded))
        places[number] = offset, memoryview(encoded).nbytes
        offset += memoryview(encoded).nbytes
    index = places.tobytes()
    index += google_crc32c.value(index).to_bytes(4, "little")
    file.write(index)
    hasher.update(index)
    return Checksum(offset + len(index), hasher.hexdigest(), tuple(digests))


def _encode(chunk: NDArray[Any], codec: Codec) -> Any:
    if codec == "none":
        return chunk.data.cast("B")
    blosc = _blosc()
    return blosc.compress(chunk, codec.encode(), COMPRESSION_LEVEL[codec], blosc.BITSHUFFLE)


@cache
def _blosc() -> Any:
    """The compressor, imported for stores that are compressed."""
    from numcodecs import blosc

    blosc.use_threads = False  # they cut a chunk differently from run to run, and the workers are threads already
    return blosc


def checksum_shard(path: Path, layout: StoreSpec) -> Checksum:
    """Take the checksum of a shard and of each of its chunks in one reading; where its index is damaged, of no chunk.

    Memory is one block.
    """
    hasher, digests = xxhash.xxh3_128(), []
    view = memoryview(bytearray(_BLOCK_BYTES))
    with path.open("rb") as opened:
        file = getattr(opened, "raw", opened)  # past the buffer, where there is one
        size = file.seek(0, os.SEEK_END)
        ends = _chunk_ends(file, size, layout)
        file.seek(0)
        start = 0
        for end in [*ends, size]:
            chunk = xxhash.xxh3_64()
            while start < end and (got := file.readinto(view[: min(end - start, _BLOCK_BYTES)])):
                hasher.update(view[:got])
                chunk.update(view[:got])
                start += got
            digests.append(chunk.hexdigest())
    return Checksum(start, hasher.hexdigest(), tuple(digests[:-1]))


def _chunk_ends(file: BinaryIO, size: int, layout: StoreSpec) -> list[int]:
    """Where each chunk of a shard ends and the next begins; none if its index does not say so."""
    file.seek(max(0, size - index_bytes(layout)))
    try:
        places = shard_index(file.read(), layout)
    except ValueError:
        return []
    ends = np.cumsum([0, *(taken for _, taken in places)]).tolist()
    return ends[1:] if [offset for offset, _ in places] == ends[:-1] and ends[-1] <= size else []


def index_bytes(layout: StoreSpec) -> int:
    """Length of the index at the end of a shard."""
    return 16 * (layout.shard_clips // layout.chunk_clips) + 4


def shard_index(end: bytes, layout: StoreSpec) -> list[tuple[int, int]]:
    """Read the index.

    Parameters
    ----------
    end : bytes
        The shard, or as much of its end as the index takes.
    layout : StoreSpec

    Returns
    -------
    list of (int, int)
        Offset and size of each chunk that is there.

    Raises
    ------
    ValueError
        If it is too short or damaged.
    """
    index = end[-index_bytes(layout) :]
    if len(index) < index_bytes(layout) or google_crc32c.value(index[:-4]) != int.from_bytes(index[-4:], "little"):
        raise ValueError("this is not the index of a shard")
    places = np.frombuffer(index[:-4], "<u8").reshape(-1, 2)
    return [(offset, size) for offset, size in places[places[:, 0] != _ABSENT].tolist()]


def decode_chunk(encoded: Any, shape: tuple[int, ...], layout: StoreSpec) -> NDArray[Any]:
    """Decode one chunk.

    Parameters
    ----------
    encoded : buffer
    shape : tuple of int
        Shape of one clip's values.
    layout : StoreSpec

    Returns
    -------
    array, shape (chunk_clips, *shape)
        Not to be written to: where nothing is compressed it is the encoded bytes themselves.

    Raises
    ------
    ValueError, RuntimeError
        If it is not what was encoded.
    """
    dtype = np.dtype(layout.dtype).newbyteorder("<")
    if layout.codec == "none":
        return np.frombuffer(encoded, dtype).reshape(layout.chunk_clips, *shape)
    chunk = np.empty((layout.chunk_clips, *shape), dtype)
    _blosc().decompress(encoded, chunk)
    return chunk


def read_shard(path: Path, shape: tuple[int, ...], layout: StoreSpec, expected: Checksum) -> Iterator[NDArray[Any]]:
    """Read a shard's chunks in order, once its bytes are known to be right.

    Parameters
    ----------
    path : Path
    shape : tuple of int
        Shape of one clip's values.
    layout : StoreSpec
    expected : Checksum

    Yields
    ------
    array, shape (chunk_clips, *shape)
        Not to be written to. The last may be filled up with what is not a number.

    Raises
    ------
    ValueError
        If the file does not have the checksum.
    """
    content = path.read_bytes()
    if checksum_of(content) != expected:
        raise ValueError(f"{path} is damaged")
    view = memoryview(content)
    for offset, size in shard_index(content, layout):
        yield decode_chunk(view[offset : offset + size], shape, layout)
