from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from features.errors import InputError
from features.layout import StoreSpec
from features.store import ClipColumns, FeatureAxes, FeatureStore
from features.streaming import scoring_batches, training_batches

CLIPS = 1100  # three windows of chunks, the last chunk of 12 clips


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Features that name their own clip, labels that follow from it."""
    path = tmp_path_factory.mktemp("features") / "train.zarr"
    layout = StoreSpec(dtype="float16", chunk_clips=32, shard_clips=128, codec="none")
    clips = np.arange(CLIPS)
    axes = FeatureAxes(np.arange(2.0), np.arange(3.0))
    columns = ClipColumns((clips % 12).astype(np.int8), clips, np.zeros((CLIPS, 16), np.uint8))
    made = FeatureStore.draft(path, axes, layout, columns, {"store": layout.model_dump()})
    for number, (start, stop) in enumerate(made.shards):
        made.write(number, np.broadcast_to(clips[start:stop, None, None], (stop - start, 2, 3)))
    made.seal()
    return path


def take(path: Path, batches: int, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    return list(training_batches(path, 32, seed).take(batches).as_numpy_iterator())


def test_scoring_gives_every_clip_in_order_with_its_label(store: Path) -> None:
    batches = scoring_batches(store, 64)
    for _ in range(2):  # a second pass gives the same
        got = list(batches.as_numpy_iterator())
        assert [len(labels) for _, labels in got] == [64] * 17 + [12]
        clips = np.concatenate([features[:, 1, 2, 0] for features, _ in got])
        np.testing.assert_array_equal(clips, np.arange(CLIPS))
        np.testing.assert_array_equal(np.concatenate([labels for _, labels in got]), np.arange(CLIPS) % 12)
        assert got[0][0].shape == (64, 2, 3, 1)
        assert got[0][0].dtype == np.float32


def test_training_gives_every_clip_equally_often_in_whole_batches(store: Path) -> None:
    got = take(store, 8 * CLIPS // 32)  # eight epochs end with a whole batch
    assert {len(labels) for _, labels in got} == {32}
    clips = np.concatenate([features[:, 0, 0, 0] for features, _ in got]).astype(int)
    assert Counter(Counter(clips.tolist()).values()) == {8: CLIPS}
    np.testing.assert_array_equal(np.concatenate([labels for _, labels in got]), clips % 12)


def test_training_order_is_shuffled_anew_each_epoch_and_decided_by_the_seed(store: Path) -> None:
    def clips(seed: int) -> np.ndarray:
        return np.concatenate([features[:, 0, 0, 0] for features, _ in take(store, 2 * CLIPS // 32, seed)])

    first = clips(0)
    np.testing.assert_array_equal(first, clips(0))
    assert (first != clips(1)).mean() > 0.9
    assert (first[:1000] != first[CLIPS : CLIPS + 1000]).mean() > 0.9
    neighbours = np.abs(np.diff(first)) == 1
    assert neighbours.mean() < 0.05


def test_no_store(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        training_batches(tmp_path / "none.zarr", 32, 0)
