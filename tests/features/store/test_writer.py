"""Stores being made, and their metadata against zarr's own: it must write the same bytes."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import zarr
from conftest import columns

from features.errors import InputError
from features.store.layout import StoreSpec
from features.store.reader import FeatureStore
from features.store.writer import FeatureAxes, StoreWriter, create_feature_store

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


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("codec", ["none", "lz4", "zstd"])
@pytest.mark.parametrize("clips", [10, 1])
def test_zarr_reads_what_is_written(tmp_path: Path, codec: str, dtype: str, clips: int) -> None:
    made = values(clips)
    store = draft(tmp_path / "a.zarr", clips, codec=codec, dtype=dtype)
    for number, (start, stop) in enumerate(store.shards):
        store.write(number, made[start:stop])
    group = zarr.open_group(tmp_path / "a.zarr", mode="r")
    np.testing.assert_array_equal(group["features"][...], made.astype(dtype))
    names = ("label", "source_row", "digest", "recording")
    for name, expected in zip(names, vars(columns(clips)).values(), strict=True):
        np.testing.assert_array_equal(group[name][...], expected)
    np.testing.assert_array_equal(group["frequency"][...], AXES.frequency)
    assert group["time"].attrs["units"] == "s"
    assert group["features"].metadata.dimension_names == ("clip", "frequency", "time")
    assert group.attrs["clips"] == clips
    assert list(group.attrs) == sorted(group.attrs), "equal settings, equal bytes"


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
