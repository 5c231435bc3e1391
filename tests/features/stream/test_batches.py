import tracemalloc
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
import pytest
import tensorflow as tf
from scipy.stats import chi2

from features.corpus import WORDS, Corpus
from features.errors import InputError
from features.sources.npz import open_source
from features.split.division import divide_source
from features.split.sets import SplitSpec
from features.store.layout import StoreSpec
from features.store.publish import scratch
from features.store.reader import FeatureStore
from features.store.writer import ClipColumns, FeatureAxes, create_feature_store
from features.stream.batches import WINDOW_CHUNKS, damage_as_input_error, scoring_batches, training_batches
from features.stream.order import Order

CLIPS = 1100  # three windows of chunks, the last chunk of 12 clips


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("features") / "train.zarr", "none")


def make_store(path: Path, codec: str, shape: tuple[int, int] = (2, 3)) -> Path:
    """A store where every feature value is the clip's number, and the label is that number modulo 12."""
    layout = msgspec.convert({"dtype": "float16", "chunk_clips": 32, "shard_clips": 128, "codec": codec}, StoreSpec)
    clips = np.arange(CLIPS)
    axes = FeatureAxes(np.arange(shape[0], dtype=float), np.arange(shape[1], dtype=float))
    columns = ClipColumns((clips % 12).astype(np.int8), clips, np.zeros((CLIPS, 16), np.uint8))
    made = create_feature_store(path, axes, layout, columns, {"store": msgspec.to_builtins(layout)})
    for number, (start, stop) in enumerate(made.shards):
        made.write(number, np.broadcast_to(clips[start:stop, None, None], (stop - start, *shape)))
    made.finalize()
    return path


def take(path: Path, batches: int, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    return list(training_batches(path, 32, seed).take(batches).as_numpy_iterator())


@pytest.mark.parametrize("codec", ["none", "lz4"])
def test_scoring_gives_every_clip_in_order_with_its_label(tmp_path: Path, codec: str) -> None:
    batches = scoring_batches(make_store(tmp_path / "test.zarr", codec), 64)
    for _ in range(2):  # a second pass gives the same
        got = list(batches.as_numpy_iterator())
        assert [len(labels) for _, labels in got] == [64] * 17 + [12]
        clips = np.concatenate([features[:, 1, 2, 0] for features, _ in got])
        np.testing.assert_array_equal(clips, np.arange(CLIPS))
        np.testing.assert_array_equal(np.concatenate([labels for _, labels in got]), np.arange(CLIPS) % 12)
        assert got[0][0].shape == (64, 2, 3, 1)
        assert got[0][0].dtype == np.float16  # as stored: the device casts


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


@pytest.mark.parametrize("first", [1, 16, 17, 34, 35, 100])
def test_training_resumes_at_any_batch(store: Path, first: int) -> None:
    whole = take(store, first + 5)[first:]
    resumed = list(training_batches(store, 32, 0, first_batch=first).take(5).as_numpy_iterator())
    for (features, labels), (resumed_features, resumed_labels) in zip(whole, resumed, strict=True):
        np.testing.assert_array_equal(resumed_features, features)
        np.testing.assert_array_equal(resumed_labels, labels)


@pytest.mark.parametrize("batch_size", [7, 30, 512, 600])
def test_batch_size_changes_no_order(store: Path, batch_size: int) -> None:
    order = Order(CLIPS, 32, WINDOW_CHUNKS, seed=0)
    expected = np.concatenate([order.window(number) for number in range(2 * order.windows)])
    got = list(training_batches(store, batch_size, 0).take(2 * CLIPS // batch_size).as_numpy_iterator())
    assert {len(labels) for _, labels in got} == {batch_size}
    clips = np.concatenate([features[:, 0, 0, 0] for features, _ in got])
    np.testing.assert_array_equal(clips, expected[: len(clips)])


def test_memory_is_a_few_windows(tmp_path: Path) -> None:
    shape = (64, 64)
    window_bytes = WINDOW_CHUNKS * 32 * np.prod(shape) * 2
    batches = iter(training_batches(make_store(tmp_path / "train.zarr", "none", shape), 32, 0))
    next(batches)
    tracemalloc.start()
    try:
        for _ in range(10 * CLIPS // 32):  # thirty windows
            next(batches)
        assert tracemalloc.get_traced_memory()[1] < 8 * window_bytes
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("batches", [training_batches, scoring_batches])
def test_damage_is_found_while_streaming(tmp_path: Path, batches: Callable[..., tf.data.Dataset]) -> None:
    path = make_store(tmp_path / "train.zarr", "none")
    shard = FeatureStore.open(path).shard_path(3)
    content = bytearray(shard.read_bytes())
    content[700] ^= 1
    shard.write_bytes(content)
    arguments = (path, 32, 0) if batches is training_batches else (path, 32)
    damaged = batches(*arguments).take(40)
    sentence = r"^shard 3 of .*train.zarr \(clips 384 to 511\) is not what was written"
    with pytest.raises(InputError, match=sentence), damage_as_input_error():
        list(damaged)


def test_other_tensorflow_errors_pass_through() -> None:
    with pytest.raises(tf.errors.InvalidArgumentError), damage_as_input_error():
        tf.reshape(tf.zeros(3), (2, 2))


EPOCHS = 10
BATCH = 32


@pytest.fixture(scope="module")
def shuffled(tmp_path_factory: pytest.TempPathFactory) -> tuple[np.ndarray, np.ndarray]:
    """Labels of a train set split from an npz sorted by word, and the clips of ten epochs in order.

    Two words have three times as many clips as each of the others.
    """
    folder = tmp_path_factory.mktemp("sorted")
    words = np.repeat(np.arange(12), np.where(np.arange(12) < 10, 500, 1500))
    numbers = np.arange(len(words), dtype=np.float32)
    waves = np.repeat(numbers[:, None] / len(words), Corpus().clip_samples, axis=1)
    np.savez(folder / "sorted.npz", wav_vals=waves, label_vals=np.array(WORDS)[words][:, None])
    with scratch(folder / "samples") as samples, open_source(folder / "sorted.npz", samples, Corpus()) as source:
        settings = SplitSpec(test_fraction=0.1, validation_fraction=0.1, seed=0)
        division = divide_source(source, settings, {})
    labels = division.columns_of("train").labels
    order = Order(len(labels), 32, WINDOW_CHUNKS, seed=0)
    clips = np.concatenate([order.window(number) for number in range(EPOCHS * order.windows)])
    return labels, clips.reshape(EPOCHS, -1)


@pytest.mark.parametrize("clips_in_a_run", [BATCH, 1000])
def test_words_are_mixed_as_a_full_shuffle_mixes_them(
    shuffled: tuple[np.ndarray, np.ndarray], clips_in_a_run: int
) -> None:
    labels, epochs = shuffled
    shares = np.bincount(labels, minlength=12) / len(labels)
    for clips in epochs:
        runs = labels[clips[: len(clips) // clips_in_a_run * clips_in_a_run]].reshape(-1, clips_in_a_run)
        counts = np.stack([np.bincount(run, minlength=12) for run in runs])
        # Finite population correction: the clips are drawn without replacement.
        statistic = ((counts - clips_in_a_run * shares) ** 2 / (clips_in_a_run * shares)).sum()
        finite = (len(labels) - clips_in_a_run) / (len(labels) - 1)
        p = chi2.sf(statistic / finite, len(runs) * 11)
        assert 1e-4 < p < 1 - 1e-4


def again_together(clips: int) -> float:
    """Probability that two clips that share a batch in one epoch share one again in the next.

    Clips of one chunk always share a window; clips of different chunks do so only if their chunks meet again. A full
    shuffle gives ``(BATCH - 1) / (clips - 1)``. The formula ignores batches that span two windows and the short last
    chunk.
    """
    others = WINDOW_CHUNKS * 32 - 1  # in the window of one clip
    in_chunk = 31 / others
    in_window = in_chunk + (1 - in_chunk) * (WINDOW_CHUNKS - 1) / (-(-clips // 32) - 1)
    return in_window * (BATCH - 1) / others


def test_clips_that_shared_a_batch_rarely_share_the_next(shuffled: tuple[np.ndarray, np.ndarray]) -> None:
    """Clips of one chunk share a window in every epoch; the share of repeated pairs is what `again_together` gives."""
    _, epochs = shuffled
    clips = epochs.shape[1]
    batch_of = np.empty_like(epochs)
    for epoch, order in enumerate(epochs):
        batch_of[epoch, order] = np.arange(clips) // BATCH
    together = again = 0
    for before, after in pairwise(range(EPOCHS)):
        for first in range(BATCH - 1):
            for other in range(first + 1, BATCH):
                pairs = epochs[before, : clips // BATCH * BATCH].reshape(-1, BATCH)[:, [first, other]]
                together += len(pairs)
                again += int((batch_of[after, pairs[:, 0]] == batch_of[after, pairs[:, 1]]).sum())
    assert again / together == pytest.approx(again_together(clips), rel=0.1)


def test_no_store(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        training_batches(tmp_path / "none.zarr", 32, 0)
