from pathlib import Path

import numpy as np
import pytest
import xarray
from pydantic import ValidationError

from features.errors import InputError
from features.store import FeatureAxes, FeatureStore, StoreSpec, WaveformStore, shard_ranges

AXES = FeatureAxes(np.arange(3) * 10.0, np.arange(4) * 0.1)


def layout(**changes: object) -> StoreSpec:
    return StoreSpec.model_validate({"dtype": "float32", "chunk_clips": 2, "shard_clips": 4, "codec": "lz4", **changes})


def create(path: Path, clips: int = 10, **changes: object) -> FeatureStore:
    labels = np.arange(clips).astype(np.int8) % 12
    return FeatureStore.create(path, AXES, layout(**changes), labels, np.arange(clips) * 7, {"words": ["yes"]})


def values(clips: int = 10) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 9, (clips, 3, 4)).astype(np.float32)


def fill(store: FeatureStore, made: np.ndarray) -> None:
    for start, stop in shard_ranges(store.clips, store.shard_clips):
        store.write_shard(start, made[start:stop])


@pytest.mark.parametrize("codec", ["none", "lz4", "zstd"])
@pytest.mark.parametrize("clips", [10, 8, 1])
def test_what_is_written_is_read(tmp_path: Path, codec: str, clips: int) -> None:
    made = values(clips)
    fill(create(tmp_path / "a.zarr", clips, codec=codec), made)
    store = FeatureStore.open(tmp_path / "a.zarr")
    np.testing.assert_array_equal(store.read(0, clips), made)
    np.testing.assert_array_equal(store.read(clips // 2, clips), made[clips // 2 :])
    assert store.source_rows.tolist() == (np.arange(clips) * 7).tolist()
    assert store.labels.tolist() == (np.arange(clips) % 12).tolist()
    assert (store.shape, store.chunk_clips, store.shard_clips, store.chunks) == ((3, 4), 2, 4, -(-clips // 2))


def test_float16_halves_the_store(tmp_path: Path) -> None:
    made = values()
    sizes = {}
    for dtype in ("float32", "float16"):
        fill(create(tmp_path / dtype, dtype=dtype, codec="none"), made)
        sizes[dtype] = (tmp_path / dtype / "features/c/0/0/0").stat().st_size
    np.testing.assert_allclose(FeatureStore.open(tmp_path / "float16").read(0, 10), made, rtol=1e-3)
    index_and_checksum = 2 * 16 + 4
    assert sizes["float16"] - index_and_checksum == (sizes["float32"] - index_and_checksum) / 2


@pytest.mark.parametrize(("start", "clips"), [(1, 4), (0, 3), (0, 5), (8, 4), (2, 2)])
def test_part_of_a_shard_is_refused(tmp_path: Path, start: int, clips: int) -> None:
    store = create(tmp_path / "a.zarr")
    with pytest.raises(ValueError, match="not one whole shard"):
        store.write_shard(start, values(clips))


@pytest.mark.parametrize("reopened", [False, True])
def test_a_silent_chunk_is_stored(tmp_path: Path, reopened: bool) -> None:
    """Zarr leaves out chunks of zeros unless told otherwise, and forgets between openings that it was told."""
    made = values()
    made[:4] = 0  # a whole shard
    made[6:8] = 0  # a chunk beside one that is not silent
    store = create(tmp_path / "a.zarr", codec="none")
    fill(FeatureStore.open(tmp_path / "a.zarr", writable=True) if reopened else store, made)
    files = {path.parent.parent.name: path for path in (tmp_path / "a.zarr/features/c").rglob("*") if path.is_file()}
    assert sorted(files) == ["0", "1", "2"]
    assert files["0"].stat().st_size == files["1"].stat().st_size == 4 * 3 * 4 * 4 + 2 * 16 + 4


def test_equal_input_gives_equal_bytes(tmp_path: Path) -> None:
    def content(path: Path) -> dict[str, bytes]:
        fill(create(path), values())
        return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}

    assert content(tmp_path / "a.zarr") == content(tmp_path / "b.zarr")


def test_xarray_opens_it_with_labelled_axes(tmp_path: Path) -> None:
    made = values()
    fill(create(tmp_path / "a.zarr"), made)
    opened = xarray.open_zarr(tmp_path / "a.zarr")  # without a warning, which would fail this test
    assert opened["features"].dims == ("clip", "frequency", "time")
    assert opened["frequency"].attrs["units"] == "Hz"
    np.testing.assert_array_equal(opened["features"].sel(frequency=20).isel(clip=3), made[3, 2])
    assert opened["source_row"].to_numpy().tolist() == (np.arange(10) * 7).tolist()


def test_no_store_and_another_store_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none.zarr is not a zarr store .* run dvc repro"):
        FeatureStore.open(tmp_path / "none.zarr")
    create(tmp_path / "a.zarr")
    with pytest.raises(InputError, match="lacks waveform"):
        WaveformStore.open(tmp_path / "a.zarr")


@pytest.mark.parametrize("change", [{"chunk_clips": 3}, {"codec": "lilcom"}, {"dtype": "int8"}, {"chunk_clips": 0}])
def test_bad_settings_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        layout(**change)
