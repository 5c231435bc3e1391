"""One shard as a file: its chunks one after the other, then an index of them, in the layout of zarr's sharding codec.

Zarr reads these files and writes the same bytes, which the tests check. A shard is written while it is being computed,
a chunk at a time, so no shard is ever whole in memory. Every chunk and the index end in a CRC-32C, so zarr, too, finds
a flipped bit.
Layout: https://zarr-specs.readthedocs.io/en/latest/v3/codecs/sharding-indexed/index.html
"""

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, Literal

import google_crc32c
import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_128, xxh3_128_hexdigest

from features.store.layout import Codec, StoreSpec

COMPRESSION_LEVEL: dict[Codec, int] = {"lz4": 5, "zstd": 1}
SHUFFLE: Literal["bitshuffle"] = "bitshuffle"
"""What comes before compression: the first bits of all numbers, then the second, and so on."""
FILL = np.nan
"""Fill value for missing clips: NaN, so a gap is never mistaken for silence."""
CRC_BYTES = 4

_ABSENT = np.uint64(2**64 - 1)


@dataclass(frozen=True)
class Checksum:
    """What identifies the bytes of a file: their number and 32 hexadecimal digits of XXH3-128."""

    size: int
    digest: str


def checksum(path: Path) -> Checksum:
    """Take the checksum of a file, whose digest is that of ``xxhsum -H128``; memory is one block."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, xxh3_128).hexdigest()
        return Checksum(file.seek(0, os.SEEK_END), digest)


def checksum_of(content: bytes) -> Checksum:
    """Checksum of bytes in memory."""
    return Checksum(len(content), xxh3_128_hexdigest(content))


def write_shard(file: BinaryIO, chunks: Iterable[NDArray[Any]], layout: StoreSpec) -> Checksum:
    """Write one shard; return the checksum of what was written.

    Parameters
    ----------
    file : binary file
        Empty and open for writing.
    chunks : iterable of arrays, shape (clips, ...)
        Each of ``layout.chunk_clips`` clips, the last of at most as many; cast to the layout's type. They are taken one
        at a time, and not kept.

    Raises
    ------
    ValueError
        If a chunk other than the last is partial, or there are more than a shard holds.
    """
    places = np.full((layout.shard_clips // layout.chunk_clips, 2), _ABSENT, "<u8")
    hasher, offset = xxh3_128(), 0

    def write(content: Any) -> int:
        """Write bytes and their CRC-32C; how many there are."""
        crc = _crc(content)
        for part in (content, crc):
            file.write(part)
            hasher.update(part)
        return memoryview(content).nbytes + CRC_BYTES

    partial = False
    for number, values in enumerate(chunks):
        if partial or number == len(places) or len(values) > layout.chunk_clips:
            raise ValueError(f"expected at most {len(places)} chunks of {layout.chunk_clips} clips, the last partial")
        partial = len(values) < layout.chunk_clips
        chunk = np.ascontiguousarray(values, np.dtype(layout.dtype).newbyteorder("<"))
        if partial:
            padding = np.full((layout.chunk_clips - len(values), *chunk.shape[1:]), FILL, chunk.dtype)
            chunk = np.concatenate([chunk, padding])
        size = write(_encode(chunk, layout.codec))
        places[number] = offset, size
        offset += size
    return Checksum(offset + write(places.tobytes()), hasher.hexdigest())


def _crc(content: Any) -> bytes:
    """What zarr's codec ``crc32c`` puts behind bytes: their CRC-32C, little endian."""
    # As an array, because the library takes no memoryview.
    return int(google_crc32c.value(np.frombuffer(content, np.uint8))).to_bytes(CRC_BYTES, "little")


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


def index_bytes(layout: StoreSpec) -> int:
    """Length of the index at the end of a shard."""
    return 16 * (layout.shard_clips // layout.chunk_clips) + CRC_BYTES


def shard_index(index: Any) -> list[tuple[int, int]]:
    """Read the index from the end of a shard, :func:`index_bytes` long.

    Returns
    -------
    list of (int, int)
        Offset and size in bytes of each chunk that is there.

    Raises
    ------
    ValueError
        If it is damaged.
    """
    places = np.frombuffer(_checked(index), "<u8").reshape(-1, 2)
    return [(offset, size) for offset, size in places[places[:, 0] != _ABSENT].tolist()]


def check_crc(content: Any, crc: Any) -> None:
    """Compare bytes with their CRC-32C.

    Raises
    ------
    ValueError
        If they differ.
    """
    if _crc(content) != crc:
        raise ValueError("the CRC-32C is not that of the bytes")


def _checked(content: Any) -> Any:
    """The bytes before a CRC-32C, compared with it."""
    view = memoryview(content)
    check_crc(view[:-CRC_BYTES], view[-CRC_BYTES:])
    return view[:-CRC_BYTES]


def decode_chunk(encoded: Any, shape: tuple[int, ...], layout: StoreSpec) -> NDArray[Any]:
    """Decode one chunk and compare its CRC-32C.

    Returns
    -------
    array, shape (chunk_clips, *shape)
        Not to be written to: where nothing is compressed it is the encoded bytes themselves.

    Raises
    ------
    ValueError, RuntimeError
        If it is not what was encoded.
    """
    content = _checked(encoded)
    dtype = np.dtype(layout.dtype).newbyteorder("<")
    if layout.codec == "none":
        return np.frombuffer(content, dtype).reshape(layout.chunk_clips, *shape)
    chunk = np.empty((layout.chunk_clips, *shape), dtype)
    _blosc().decompress(content, chunk)
    return chunk


def read_shard(path: Path, shape: tuple[int, ...], layout: StoreSpec, expected: Checksum) -> Iterator[NDArray[Any]]:
    """Read a shard's chunks in order, once its bytes are known to be right.

    Yields
    ------
    array, shape (chunk_clips, *shape)
        Not to be written to. The last may be filled up with NaN.

    Raises
    ------
    ValueError
        If the file does not have the checksum.
    """
    content = path.read_bytes()
    if checksum_of(content) != expected:
        raise ValueError(f"{path} is damaged")
    view = memoryview(content)
    for offset, size in shard_index(view[-index_bytes(layout) :]):
        yield decode_chunk(view[offset : offset + size], shape, layout)
