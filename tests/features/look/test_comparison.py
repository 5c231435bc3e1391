from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from conftest import SMALL_LAYOUT, SMALL_SPEC, columns, features_of, write_clips

from features.errors import InputError
from features.look.comparison import Comparison, compare
from features.store.writer import ClipColumns

CLIPS = 300


def waves() -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.9, 0.9, (CLIPS, 8000)).astype(np.float32)


def test_the_same_store_is_the_same(tmp_path: Path) -> None:
    source = write_clips(tmp_path / "w.zarr", waves(), columns(CLIPS))
    first, second = features_of(source, tmp_path / "1.zarr"), features_of(source, tmp_path / "2.zarr")
    found = compare(first, second, sample=10)
    assert found.same
    assert found.values is not None
    assert (found.values.clips, found.values.equal, found.values.greatest) == (CLIPS, CLIPS, 0)


def test_what_float16_costs(tmp_path: Path) -> None:
    source = write_clips(tmp_path / "w.zarr", waves(), columns(CLIPS))
    layout = msgspec.structs.replace(SMALL_LAYOUT, dtype="float16", chunk_clips=3, shard_clips=6)
    first, second = features_of(source, tmp_path / "1.zarr"), features_of(source, tmp_path / "2.zarr", layout=layout)
    found = compare(first, second, sample=10)
    assert found.settings == [
        "store.chunk_clips: 4 -> 3",
        "store.dtype: float32 -> float16",
        "store.shard_clips: 8 -> 6",
    ]
    assert found.values is not None
    assert found.values.clips == CLIPS
    assert found.values.equal == 0
    assert 1e-5 < found.values.greatest_relative < 2**-11
    apart = np.abs(first.read(0, CLIPS) - second.read(0, CLIPS).astype(np.float32))
    assert found.values.greatest == apart.max()
    assert found.values.mean == pytest.approx(apart.mean(), rel=1e-4)


def test_stores_in_another_order_are_compared_by_row(tmp_path: Path) -> None:
    made, known = waves(), columns(CLIPS)
    source = write_clips(tmp_path / "w.zarr", made, known)
    order = np.random.default_rng(1).permutation(CLIPS)[:250]  # fifty are left out
    other_waves, other_labels = made[order].copy(), known.labels[order].copy()
    digests = known.digests[order].copy()
    other_waves[3] *= 0.5
    digests[3] = 0
    other_labels[4] = (other_labels[4] + 1) % 12
    clips = ClipColumns(other_labels, known.source_rows[order], digests)
    other = write_clips(tmp_path / "other.zarr", other_waves, clips)
    first, second = features_of(source, tmp_path / "1.zarr"), features_of(other, tmp_path / "2.zarr")
    found = compare(first, second, sample=1000)
    rows = found.rows
    assert (rows.shared, rows.only_first, rows.only_second) == (250, 50, 0)
    assert (rows.other_samples, rows.other_labels, rows.same_order) == (1, 1, False)
    assert found.values is not None
    assert (found.values.clips, found.values.equal) == (250, 249)
    assert found.values.worst_rows == [int(known.source_rows[order[3]])]
    assert found.values.greatest_relative == pytest.approx(0.5, rel=1e-3)
    sampled = compare(first, second, sample=20).values
    assert sampled is not None
    assert sampled.clips == 20


def test_other_shapes_are_not_compared_clip_by_clip(tmp_path: Path) -> None:
    source = write_clips(tmp_path / "w.zarr", waves(), columns(CLIPS))
    first = features_of(source, tmp_path / "1.zarr")
    second = features_of(source, tmp_path / "2.zarr", spec=msgspec.structs.replace(SMALL_SPEC, n_fft=128))
    found = compare(first, second, sample=10)
    assert found.values is None
    assert found.settings == ["features.n_fft: 64 -> 128"]
    assert not found.same


@pytest.mark.parametrize("damaged", ["1.zarr", "2.zarr"])
def test_a_damaged_shard_is_found_in_either_store(tmp_path: Path, damaged: str) -> None:
    source = write_clips(tmp_path / "w.zarr", waves(), columns(CLIPS))
    stores = features_of(source, tmp_path / "1.zarr"), features_of(source, tmp_path / "2.zarr")
    shard = tmp_path / damaged / "features/c.3.0.0"
    content = bytearray(shard.read_bytes())
    content[10] ^= 1
    shard.unlink()  # the other store links the same file
    shard.write_bytes(content)
    with pytest.raises(InputError, match=rf"shard 3 of .*{damaged}"):
        compare(*stores, sample=10)


@pytest.mark.parametrize("silent_first", [True, False])
def test_a_clip_that_is_silent_in_one_store_differs_by_all_of_it(tmp_path: Path, silent_first: bool) -> None:
    made = waves()
    silenced = made.copy()
    silenced[[2, 3]] = 0
    made[3] = 0
    stores = []
    for number, each in enumerate([silenced, made] if silent_first else [made, silenced]):
        folder = tmp_path / str(number)  # with a cache of its own, as the digests are made up
        folder.mkdir()
        stores.append(features_of(write_clips(folder / "w.zarr", each, columns(CLIPS)), folder / "f.zarr"))
    values = compare(stores[0], stores[1], sample=10).values
    assert values is not None
    assert (values.greatest_relative, values.equal) == (1, CLIPS - 1)
    assert values.worst_rows == [int(stores[0].source_rows[2])]


@pytest.mark.parametrize(
    "differ",
    [
        lambda found: replace(found, settings=["store.codec: none -> lz4"]),
        lambda found: replace(found, rows=replace(found.rows, only_first=1)),
        lambda found: replace(found, rows=replace(found.rows, only_second=1)),
        lambda found: replace(found, rows=replace(found.rows, other_samples=1)),
        lambda found: replace(found, rows=replace(found.rows, other_labels=1)),
        lambda found: replace(found, rows=replace(found.rows, same_order=False)),
        lambda found: replace(found, values=replace(found.values, equal=CLIPS - 1)),
        lambda found: replace(found, values=None),
    ],
)
def test_any_difference_is_one(tmp_path: Path, differ: Callable[[Comparison], Comparison]) -> None:
    store = features_of(write_clips(tmp_path / "w.zarr", waves(), columns(CLIPS)), tmp_path / "f.zarr")
    found = compare(store, store, sample=10)
    assert found.same
    assert not differ(found).same
