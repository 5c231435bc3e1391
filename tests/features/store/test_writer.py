"""Stores being made, and their metadata against zarr's own: it must write the same bytes."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import zarr
from conftest import columns, contents
from zarr.codecs import BloscCodec, Crc32cCodec

from features.errors import InputError
from features.store.layout import StoreSpec
from features.store.reader import FeatureStore
from features.store.writer import ClipColumns, FeatureAxes, StoreWriter, create_feature_store

AXES = FeatureAxes(np.arange(3) * 10.0, np.arange(4) * 0.1)
ATTRIBUTES: dict[str, Any] = {"words": ["yes", "nö"], "b": {"y": 1.5, "x": None}, "a": True}


def layout(**changes: object) -> StoreSpec:
    return msgspec.convert(
        {"dtype": "float32", "chunk_clips": 2, "shard_clips": 4, "codec": "lz4", **changes}, StoreSpec
    )


def draft(path: Path, clips: int = 10, **changes: object) -> StoreWriter:
    spec = layout(**changes)
    attributes = {**ATTRIBUTES, "store": msgspec.to_builtins(spec)}
    return create_feature_store(path, AXES, spec, columns(clips), attributes)


def values(clips: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 9, (clips, 3, 4)).astype(np.float32)


def write_with_zarr(path: Path, made: np.ndarray, spec: StoreSpec, clips: ClipColumns) -> None:
    """The same store, every file of it by zarr."""
    level = {"lz4": 5, "zstd": 1}
    attributes = {**ATTRIBUTES, "store": dict(sorted(msgspec.to_builtins(spec).items())), "clips": len(made)}
    attributes["b"] = dict(sorted(ATTRIBUTES["b"].items()))
    group = zarr.create_group(path, zarr_format=3, attributes=dict(sorted(attributes.items())))
    array = group.create_array(
        "features",
        shape=made.shape,
        dtype=spec.dtype,
        chunks=(spec.chunk_clips, 3, 4),
        shards=(spec.shard_clips, 3, 4),
        compressors=[
            *[
                BloscCodec(cname=name, clevel=level[name], shuffle="bitshuffle")
                for name in [spec.codec]
                if name != "none"
            ],
            Crc32cCodec(),
        ],
        fill_value=np.nan,
        chunk_key_encoding={"name": "default", "separator": "."},
        dimension_names=("clip", "frequency", "time"),
        config={"write_empty_chunks": True},
    )
    array[...] = made
    small = {
        "label": (clips.labels, ("clip",), -1, {}),
        "source_row": (clips.source_rows, ("clip",), -1, {}),
        "digest": (clips.digests, ("clip", "byte"), 0, {}),
        "frequency": (AXES.frequency_hz, ("frequency",), np.nan, {"units": "Hz"}),
        "time": (AXES.time_s, ("time",), np.nan, {"units": "s"}),
    }
    for name, (content, dimensions, fill, says) in small.items():
        array = group.create_array(
            name,
            shape=content.shape,
            dtype=content.dtype,
            chunks=content.shape,
            compressors=[Crc32cCodec()],
            fill_value=fill,
            dimension_names=dimensions,
            attributes=says,
            config={"write_empty_chunks": True},
        )
        array[...] = content
    zarr.consolidate_metadata(path, zarr_format=3)


@pytest.mark.filterwarnings("ignore:Consolidated metadata")  # zarr calls its own extension that
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("codec", ["none", "lz4", "zstd"])
@pytest.mark.parametrize("clips", [10, 1])
def test_every_file_is_that_which_zarr_writes(tmp_path: Path, codec: str, dtype: str, clips: int) -> None:
    made, spec = values(clips), layout(codec=codec, dtype=dtype)
    store = draft(tmp_path / "ours", clips, codec=codec, dtype=dtype)
    for number, (start, stop) in enumerate(store.shards):
        store.write(number, made[start:stop])
    write_with_zarr(tmp_path / "zarrs", made, spec, columns(clips))
    assert contents(tmp_path / "ours") == contents(tmp_path / "zarrs")


@pytest.mark.parametrize(("number", "clips"), [(0, 3), (0, 5), (2, 4), (2, 1)])
def test_part_of_a_shard_is_refused(tmp_path: Path, number: int, clips: int) -> None:
    with pytest.raises(ValueError, match="are not shard"):
        draft(tmp_path / "a.zarr").write(number, values(clips))


def test_values_of_another_shape_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"shape \(4, 3\) are not features of"):
        draft(tmp_path / "a.zarr").write(0, values(4).transpose(0, 2, 1))


def test_a_store_that_lacks_a_shard_is_not_sealed(tmp_path: Path) -> None:
    store = draft(tmp_path / "a.zarr")
    store.write(1, values(4))
    with pytest.raises(ValueError, match=r"shards \[0, 2\] .* never recorded"):
        store.finalize()
    with pytest.raises(InputError, match=r"manifest.json of .* is missing; .* features verify --repair"):
        FeatureStore.open(tmp_path / "a.zarr")
