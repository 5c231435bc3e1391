import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
import xarray
from conftest import contents, write_waveforms

from features.errors import InputError
from features.featurize import featurize
from features.look.dataset import open_dataset
from features.spectrogram import FeatureSpec
from features.store.cache import ShardCache
from features.store.layout import StoreSpec
from features.store.reader import FeatureStore, WaveformStore

SPEC = FeatureSpec(kind="magnitude", n_fft=64, hop_length=64, window="hann")
LAYOUT = StoreSpec(dtype="float32", chunk_clips=4, shard_clips=8, codec="lz4")


def test_a_store_is_a_labelled_lazy_dataset(tmp_path: Path) -> None:
    write_waveforms(tmp_path / "w.zarr", 30)
    featurize(tmp_path / "w.zarr", tmp_path / "f.zarr", SPEC, LAYOUT, ShardCache(tmp_path / "cache"), workers=1)
    store = FeatureStore.open(tmp_path / "f.zarr")
    opened = open_dataset(tmp_path / "f.zarr")
    assert opened.features.dims == ("clip", "frequency", "time")
    assert opened.features.chunks is not None  # nothing is read yet
    words = [store.attributes["words"][label] for label in store.labels]
    assert opened.word.to_numpy().tolist() == words
    loud = opened.features.where(opened.word == words[0], drop=True)
    np.testing.assert_array_equal(loud, store.read(0, 30)[store.labels == store.labels[0]])
    waveforms = open_dataset(str(tmp_path / "w.zarr"))
    np.testing.assert_array_equal(waveforms.waveform, WaveformStore.open(tmp_path / "w.zarr").read(0, 30))


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_dataset_is_written_as_netcdf(tmp_path: Path, dtype: str) -> None:
    write_waveforms(tmp_path / "w.zarr", 30)
    layout = msgspec.structs.replace(LAYOUT, dtype=dtype)
    featurize(tmp_path / "w.zarr", tmp_path / "f.zarr", SPEC, layout, ShardCache(tmp_path / "cache"), workers=1)
    for name in ("w.zarr", "f.zarr"):
        before = contents(tmp_path / name)
        opened = open_dataset(tmp_path / name)
        for part in (opened, opened.isel(clip=opened.word == opened.word[0])):
            part.to_netcdf(tmp_path / "a.nc")
            read = xarray.load_dataset(tmp_path / "a.nc")
            xarray.testing.assert_equal(read, part.load())
            assert read.attrs == part.attrs
        assert contents(tmp_path / name) == before
    recorded = FeatureStore.open(tmp_path / "f.zarr").attributes
    kept = {name: json.loads(value) if str(value)[0] in "[{" else value for name, value in read.attrs.items()}
    assert kept == recorded


def test_what_is_missing_is_said_before_it_is_read(tmp_path: Path) -> None:
    write_waveforms(tmp_path / "w.zarr", 300)
    (tmp_path / "w.zarr/waveform/c.1.0").unlink()
    with pytest.raises(InputError, match=r"waveform/c.1.0 of .* is missing"):
        open_dataset(tmp_path / "w.zarr")
    with pytest.raises(InputError, match="does not exist"):
        open_dataset(tmp_path / "none")
