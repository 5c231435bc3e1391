"""Stores that lie elsewhere, behind an fsspec URL."""

from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest
from conftest import write_waveforms

from features.errors import InputError
from features.featurize import featurize
from features.look.comparison import compare
from features.look.dataset import open_dataset
from features.look.location import locate
from features.look.summary import summarize
from features.spectrogram import FeatureSpec
from features.store.cache import ShardCache
from features.store.layout import StoreSpec
from features.store.reader import FeatureStore, WaveformStore
from features.store.verify import verify

SPEC = FeatureSpec(kind="magnitude", n_fft=64, hop_length=64, window="hann")
LAYOUT = StoreSpec(dtype="float32", chunk_clips=4, shard_clips=8, codec="lz4")


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The URL of a folder with two stores, and the same folder on this machine."""
    write_waveforms(tmp_path / "w.zarr", 30)
    featurize(tmp_path / "w.zarr", tmp_path / "f.zarr", SPEC, LAYOUT, ShardCache(tmp_path / "cache"), workers=1)
    memory = fsspec.filesystem("memory")
    memory.put(str(tmp_path), "/bucket", recursive=True)
    yield "memory://bucket", tmp_path
    memory.rm("/bucket", recursive=True)


def test_stores_are_read_verified_and_compared_there(elsewhere: tuple[str, Path]) -> None:
    url, here = elsewhere
    away = FeatureStore.open(locate(f"{url}/f.zarr"))
    local = FeatureStore.open(here / "f.zarr")
    np.testing.assert_array_equal(away.read(3, 20), local.read(3, 20))
    assert compare(local, away, sample=10).same
    waveforms = WaveformStore.open(locate(f"{url}/w.zarr"))
    assert summarize(away, waveforms, lambda clips: None) == summarize(local, waveforms, lambda clips: None)
    report = verify(locate(f"{url}/f.zarr"), workers=2)
    assert report == verify(here / "f.zarr", workers=2)
    np.testing.assert_array_equal(open_dataset(f"{url}/f.zarr").features, local.read(0, 30))


def test_damage_there_is_found(elsewhere: tuple[str, Path]) -> None:
    url, _ = elsewhere
    memory = fsspec.filesystem("memory")
    content = memory.cat_file("/bucket/f.zarr/features/c.1.0.0")
    memory.pipe_file("/bucket/f.zarr/features/c.1.0.0", content[:-1] + b"?")
    memory.rm("/bucket/f.zarr/label/c/0")
    faults = verify(locate(f"{url}/f.zarr"), workers=1).faults
    assert [fault.name for fault in faults] == ["label/c/0", "features/c.1.0.0"]
    with pytest.raises(InputError, match=r"label/c/0 of memory://.* is missing"):
        FeatureStore.open(locate(f"{url}/f.zarr"))
    with pytest.raises(InputError, match="does not exist"):
        verify(locate(f"{url}/none.zarr"), workers=1)
