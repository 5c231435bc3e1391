from pathlib import Path

import msgspec
import numpy as np
import pytest
from conftest import SMALL_LAYOUT, columns, features_of, write_clips

from features.look.summary import Statistics, summarize
from features.store.reader import FeatureStore
from features.store.writer import FeatureAxes, create_feature_store

CLIPS = 300


def test_suspicious_clips_are_found(tmp_path: Path) -> None:
    made, known = np.random.default_rng(0).uniform(-0.9, 0.9, (CLIPS, 8000)).astype(np.float32), columns(CLIPS)
    made[7] = 0
    made[290, 100:107] = 1  # seven samples at full scale are not yet a millisecond
    made[291, 100:108] = -1
    known.digests[20] = known.digests[30] = known.digests[40]
    source = write_clips(tmp_path / "w.zarr", made, known)
    store = features_of(source, tmp_path / "f.zarr")
    told: list[int] = []
    for looked_at in (store, source):
        _, found = summarize(looked_at, source, told.append)
        assert found.silent == [7]
        assert found.non_finite == []
        assert found.clipped == [291]
        assert found.duplicates == [[20, 30, 40]]
    assert sum(told) == 4 * CLIPS, "each store, and the waveforms each time"
    assert summarize(store, None, told.append)[1].clipped is None


def test_values_that_are_no_numbers_are_found(tmp_path: Path) -> None:
    draft = create_feature_store(
        tmp_path / "f.zarr",
        axes=FeatureAxes(np.arange(3.0), np.arange(4.0)),
        layout=SMALL_LAYOUT,
        clips=columns(8),
        attributes={"store": msgspec.to_builtins(SMALL_LAYOUT)},
    )
    values = np.ones((8, 3, 4), np.float32)
    values[5, 1, 1] = np.nan
    values[6, 2, 2] = np.inf
    draft.write(0, values)
    draft.finalize()
    statistics, found = summarize(FeatureStore.open(tmp_path / "f.zarr"), None, lambda clips: None)
    assert found.non_finite == [5, 6]
    assert statistics == {"minimum": 1, "maximum": 1, "mean": 1, "standard_deviation": 0}


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
