from pathlib import Path

import numpy as np
import pytest
from conftest import columns

from features.cache import ShardCache
from features.comparison import compare
from features.draft import ClipColumns, FeatureAxes, draft_features, draft_waveforms
from features.featurize import featurize
from features.inspection import Statistics, inspect
from features.layout import StoreSpec
from features.store import FeatureStore, WaveformStore
from features.transform import FeatureSpec

SPEC = FeatureSpec(kind="magnitude", n_fft=64, hop_length=64, window="hann")
LAYOUT = StoreSpec(dtype="float32", chunk_clips=4, shard_clips=8, codec="lz4")
CLIPS = 300


def write(path: Path, waves: np.ndarray, clips: ClipColumns) -> WaveformStore:
    draft = draft_waveforms(path, clips, str(hash(waves.tobytes())), {"seed": 0})
    for number, (start, stop) in enumerate(draft.shards):
        draft.write(number, waves[start:stop])
    draft.seal()
    return WaveformStore.open(path)


def waves() -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.9, 0.9, (CLIPS, 8000)).astype(np.float32)


def features_of(
    source: WaveformStore, target: Path, spec: FeatureSpec = SPEC, layout: StoreSpec = LAYOUT
) -> FeatureStore:
    featurize(source.path, target, spec, layout, ShardCache(target.parent / "cache"), workers=2)
    return FeatureStore.open(target)


def test_suspicious_clips_are_found(tmp_path: Path) -> None:
    made, known = waves(), columns(CLIPS)
    made[7] = 0
    made[290, 100:107] = 1  # seven samples at full scale are not yet a millisecond
    made[291, 100:108] = -1
    known.digests[20] = known.digests[30] = known.digests[40]
    source = write(tmp_path / "w.zarr", made, known)
    store = features_of(source, tmp_path / "f.zarr")
    told: list[int] = []
    for looked_at in (store, source):
        found = inspect(looked_at, source, told.append)
        assert found.suspicious.silent == [7]
        assert found.suspicious.non_finite == []
        assert found.suspicious.clipped == [291]
        assert found.suspicious.duplicates == [[20, 30, 40]]
        assert sum(found.words.values()) == CLIPS
    assert sum(told) == 3 * CLIPS, "features, their waveforms, and waveforms alone"
    assert inspect(store, None, told.append).suspicious.clipped is None


def test_values_that_are_no_numbers_are_found(tmp_path: Path) -> None:
    draft = draft_features(
        tmp_path / "f.zarr",
        axes=FeatureAxes(np.arange(3.0), np.arange(4.0)),
        layout=LAYOUT,
        clips=columns(8),
        attributes={"store": LAYOUT.model_dump()},
    )
    values = np.ones((8, 3, 4), np.float32)
    values[5, 1, 1] = np.nan
    values[6, 2, 2] = np.inf
    draft.write(0, values)
    draft.seal()
    found = inspect(FeatureStore.open(tmp_path / "f.zarr"), None, lambda clips: None)
    assert found.suspicious.non_finite == [5, 6]
    assert found.statistics == {"minimum": 1, "maximum": 1, "mean": 1, "standard_deviation": 0}


def test_statistics_are_those_of_all_values() -> None:
    values = np.random.default_rng(0).normal(5, 3, (50, 20)).astype(np.float32)
    statistics = Statistics()
    for part in np.split(values, 5):
        statistics.add(part)
    expected = {
        "minimum": values.min(),
        "maximum": values.max(),
        "mean": values.mean(),
        "standard_deviation": values.std(),
    }
    assert statistics.summary() == pytest.approx(expected, rel=1e-5)


def test_the_same_store_is_the_same(tmp_path: Path) -> None:
    source = write(tmp_path / "w.zarr", waves(), columns(CLIPS))
    first, second = features_of(source, tmp_path / "1.zarr"), features_of(source, tmp_path / "2.zarr")
    found = compare(first, second, sample=10)
    assert found.same
    assert found.values is not None
    assert (found.values.clips, found.values.equal, found.values.greatest) == (CLIPS, CLIPS, 0)


def test_what_float16_costs(tmp_path: Path) -> None:
    source = write(tmp_path / "w.zarr", waves(), columns(CLIPS))
    layout = LAYOUT.model_copy(update={"dtype": "float16", "chunk_clips": 3, "shard_clips": 6})
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
    source = write(tmp_path / "w.zarr", made, known)
    order = np.random.default_rng(1).permutation(CLIPS)[:250]  # fifty are left out
    other_waves, other_labels = made[order].copy(), known.labels[order].copy()
    digests = known.digests[order].copy()
    other_waves[3] *= 0.5
    digests[3] = 0
    other_labels[4] = (other_labels[4] + 1) % 12
    clips = ClipColumns(other_labels, known.source_rows[order], digests)
    other = write(tmp_path / "other.zarr", other_waves, clips)
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
    source = write(tmp_path / "w.zarr", waves(), columns(CLIPS))
    first = features_of(source, tmp_path / "1.zarr")
    second = features_of(source, tmp_path / "2.zarr", spec=SPEC.model_copy(update={"n_fft": 128}))
    found = compare(first, second, sample=10)
    assert found.values is None
    assert found.settings == ["features.n_fft: 64 -> 128"]
    assert not found.same
