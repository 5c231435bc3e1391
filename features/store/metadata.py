"""The metadata of a store: a JSON document for the group and one for each array, as zarr writes them. Opens no file.

They are made here because importing zarr takes longer than all else that a stage does whose shards are in the cache.
Zarr reads them and writes the same bytes, which the tests hold them to.
Format: https://zarr-specs.readthedocs.io/en/latest/v3/core/index.html
"""

import json
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from features.store.layout import StoreSpec
from features.store.shard import COMPRESSION_LEVEL, FILL, SHUFFLE

SEPARATOR = "."
"""Between the numbers in a shard's name: all shards of a store in one folder, because DVC hashes a folder's files side
by side, and one folder after the other."""

Document = dict[str, Any]

CRC32C: Document = {"name": "crc32c"}
"""The last codec of every array, so that every reader finds damage by itself."""


def text_of(document: Document) -> bytes:
    """A document as the bytes of its file."""
    return json.dumps(document, indent=2).encode()


def group(attributes: Document, arrays: dict[str, Document]) -> Document:
    """The document of a group.

    Parameters
    ----------
    attributes : dict
        What the group says of itself.
    arrays : dict
        Name and document of each array. They are repeated in the group ("consolidated"), an extension of zarr's that
        lets xarray open it with one read.
    """
    consolidated = {
        "kind": "inline",
        "must_understand": False,
        "metadata": {name: arrays[name] for name in sorted(arrays)},
    }
    return {
        "attributes": attributes,
        "zarr_format": 3,
        "consolidated_metadata": consolidated,
        "node_type": "group",
    }


def whole_array(
    shape: tuple[int, ...], dtype: DTypeLike, dimensions: tuple[str, ...], fill: float, attributes: Document
) -> Document:
    """The document of a small array, which is one chunk, as it is in memory.

    Parameters
    ----------
    shape : tuple of int
    dtype : DTypeLike
    dimensions : tuple of str
        Name of each dimension.
    fill : float
        What zarr reads where the chunk is missing.
    attributes : dict
    """
    return _array(shape, np.dtype(dtype), shape, "/", fill, [_bytes(np.dtype(dtype)), CRC32C], attributes, dimensions)


def sharded_array(shape: tuple[int, ...], layout: StoreSpec, dimensions: tuple[str, ...]) -> Document:
    """The document of the large array, whose shards :mod:`features.store.shard` writes.

    Parameters
    ----------
    shape : tuple of int
        (clips, ...)
    layout : StoreSpec
    dimensions : tuple of str
        Name of each dimension.
    """
    dtype = np.dtype(layout.dtype)
    codecs = [_bytes(dtype)]
    if layout.codec != "none":
        blosc = {
            "typesize": dtype.itemsize,
            "cname": layout.codec,
            "clevel": COMPRESSION_LEVEL[layout.codec],
            "shuffle": SHUFFLE,
            "blocksize": 0,
        }
        codecs.append({"name": "blosc", "configuration": blosc})
    codecs.append(CRC32C)
    sharding = {
        "chunk_shape": [layout.chunk_clips, *shape[1:]],
        "codecs": codecs,
        "index_codecs": [_bytes(np.dtype("<u8")), CRC32C],
        "index_location": "end",
    }
    shard = (layout.shard_clips, *shape[1:])
    codec = {"name": "sharding_indexed", "configuration": sharding}
    return _array(shape, dtype, shard, SEPARATOR, FILL, [codec], {}, dimensions)


def _array(
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    chunk: tuple[int, ...],
    separator: str,
    fill: float,
    codecs: list[Document],
    attributes: Document,
    dimensions: tuple[str, ...],
) -> Document:
    return {
        "shape": list(shape),
        "data_type": dtype.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(chunk)}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": separator}},
        "fill_value": "NaN" if np.isnan(fill) else fill,
        "codecs": codecs,
        "attributes": attributes,
        "dimension_names": list(dimensions),
        "zarr_format": 3,
        "node_type": "array",
        "storage_transformers": [],
    }


def _bytes(dtype: np.dtype[Any]) -> Document:
    """The codec of numbers as they are in memory, which has an order only where they take more than one byte."""
    return {"name": "bytes", "configuration": {"endian": "little"}} if dtype.itemsize > 1 else {"name": "bytes"}
