"""Streaming: a feature store as batches of tf.data. Memory is a few windows of chunks, however many clips there are."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from features.heap import steady_heap
from features.order import clip_order, epoch_windows
from features.store import FeatureStore

WINDOW_CHUNKS = 16
"""Chunks in a window: 512 clips or 34 MB of the default features."""

Window = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Numbers of the chunks to read together, and the order in which to deal out their clips."""


def _clips_of_chunks(store: FeatureStore, chunks: NDArray[np.int64]) -> NDArray[np.int64]:
    clips = (chunks[:, np.newaxis] * store.chunk_clips + np.arange(store.chunk_clips)).reshape(-1)
    return clips[clips < store.clips]


def _stream(store: FeatureStore, windows: Callable[[], Iterator[Window]]) -> tf.data.Dataset:
    """Read each window in one step, off Python's main thread."""
    steady_heap()
    labels = store.labels.astype(np.int64)

    def read(chunks: NDArray[np.int64], order: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        features = np.empty((len(order), *store.shape, 1), np.float32)
        place = np.argsort(order)  # where in the window each clip goes
        done = 0
        for start in chunks * store.chunk_clips:
            values = store.read(start, min(start + store.chunk_clips, store.clips))
            features[place[done : done + len(values)], ..., 0] = values
            done += len(values)
        return features, labels[_clips_of_chunks(store, chunks)[order]]

    def load(chunks: tf.Tensor, order: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        features, label = tf.numpy_function(read, (chunks, order), (tf.float32, tf.int64))
        return tf.ensure_shape(features, (None, *store.shape, 1)), tf.ensure_shape(label, (None,))

    numbers = tf.TensorSpec((None,), tf.int64)
    dataset = tf.data.Dataset.from_generator(windows, output_signature=(numbers, numbers))
    return dataset.map(load, num_parallel_calls=2, deterministic=True)


def training_batches(path: Path, batch_size: int, seed: int) -> tf.data.Dataset:
    """Stream a store forever in shuffled batches of one fixed size.

    Each epoch shuffles the order of all chunks, then the clips within windows of 16 chunks. Clips that do not fill a
    batch at the end of an epoch open the next one, so that each comes equally often and no batch is partial.

    Parameters
    ----------
    path : Path
        A :class:`~features.store.FeatureStore`.
    batch_size : int
    seed : int
        Same seed, same batches.

    Returns
    -------
    tf.data.Dataset
        Endless, of (features, label): float32 (batch, frequency, time, 1) and int64 (batch,).

    Raises
    ------
    InputError
        If there is no feature store.
    """
    store = FeatureStore.open(path)

    def windows() -> Iterator[Window]:
        epoch = 0
        while True:
            for number, chunks in enumerate(epoch_windows(store.chunks, WINDOW_CHUNKS, seed, epoch)):
                yield chunks, clip_order(len(_clips_of_chunks(store, chunks)), seed, epoch, number)
            epoch += 1

    return _stream(store, windows).rebatch(batch_size, drop_remainder=True).prefetch(4)


def scoring_batches(path: Path, batch_size: int) -> tf.data.Dataset:
    """Stream a store once, every clip in the order it lies, the last batch as short as it comes.

    Parameters, element types and errors are those of :func:`training_batches`.
    """
    store = FeatureStore.open(path)

    def windows() -> Iterator[Window]:
        for start in range(0, store.chunks, WINDOW_CHUNKS):
            chunks = np.arange(start, min(start + WINDOW_CHUNKS, store.chunks))
            yield chunks, np.arange(len(_clips_of_chunks(store, chunks)))

    batches = _stream(store, windows).rebatch(batch_size, drop_remainder=False).prefetch(4)
    return batches.apply(tf.data.experimental.assert_cardinality(-(-store.clips // batch_size)))
