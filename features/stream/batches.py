"""Batches of a feature store for tf.data. Memory is a few windows of chunks, however many clips the store holds."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from features.errors import InputError
from features.store.reader import FeatureStore
from features.stream.order import Order, clips_of

WINDOW_CHUNKS = 16
"""Chunks in a shuffle window: 512 clips or 34 MB of the default features."""
PREFETCH = 4
"""Batches that tf.data prepares ahead of the consumer."""
ALIGNMENT = 64
"""Bytes. TensorFlow copies arrays whose address is not a multiple of this."""

Window = tuple[NDArray[np.int64], NDArray[np.int64], int]
"""Chunks to read, a permutation of their clips (positions in :func:`clips_of`), and how many clips of it to skip."""


def training_batches(path: Path, batch_size: int, seed: int, *, first_batch: int = 0) -> tf.data.Dataset:
    """Stream a store forever in shuffled batches of one fixed size.

    Each epoch shuffles the order of all chunks, then the clips within windows of 16 chunks. Clips left over at the end
    of an epoch start the first batch of the next, so every clip comes equally often and no batch is partial. Every
    chunk is compared with its checksum.

    Parameters
    ----------
    path : Path
        A :class:`~features.store.reader.FeatureStore`.
    batch_size : int
    seed : int
        Same seed, same batches.
    first_batch : int
        Number of the batch to start at, to resume a training. Earlier batches are not read.

    Returns
    -------
    tf.data.Dataset
        Endless, of (features, label): (batch, frequency, time, 1) of the store's dtype, float32 or float16, and int64
        (batch,).

    Raises
    ------
    InputError
        If there is no feature store, or it is damaged. TensorFlow wraps damage found while streaming in an error of its
        own: see :func:`damage_as_input_error`.
    """
    store = FeatureStore.open(path)
    order = Order(store.clips, store.chunk_clips, WINDOW_CHUNKS, seed)
    first, skipped = order.find(first_batch * batch_size)

    def window(number: int) -> Window:
        return *order.window(number), skipped if number == first else 0

    windows = _windows(store, tf.data.Dataset.counter(first), window)
    return windows.rebatch(batch_size, drop_remainder=True).prefetch(PREFETCH)


def scoring_batches(path: Path, batch_size: int) -> tf.data.Dataset:
    """Stream a store once, in the order of its clips; the last batch may be partial.

    Parameters, element types and errors are those of :func:`training_batches`.
    """
    store = FeatureStore.open(path)

    def window(number: int) -> Window:
        chunks = np.arange(number * WINDOW_CHUNKS, min((number + 1) * WINDOW_CHUNKS, store.chunks))
        return chunks, np.arange(len(clips_of(chunks, store.chunk_clips, store.clips))), 0

    windows = _windows(store, tf.data.Dataset.range(-(-store.chunks // WINDOW_CHUNKS)), window)
    batches = windows.rebatch(batch_size, drop_remainder=False).prefetch(PREFETCH)
    return batches.apply(tf.data.experimental.assert_cardinality(-(-store.clips // batch_size)))


@contextmanager
def damage_as_input_error() -> Iterator[None]:
    """Raise damage found while streaming as the original :class:`~features.errors.InputError`, not as TensorFlow's."""
    try:
        yield
    except tf.errors.OpError as error:
        sentence = re.search(rf"{InputError.__name__}: (.*)", error.message)
        if sentence is None:
            raise
        raise InputError(sentence[1]) from None


def _windows(store: FeatureStore, numbers: tf.data.Dataset, window: Callable[[int], Window]) -> tf.data.Dataset:
    """Read windows by number, as (features, label) of their clips in the order of the stream."""
    labels = store.labels.astype(np.int64)
    dtype = np.dtype(store.layout.dtype)

    def read(number: np.int64) -> tuple[NDArray[Any], NDArray[np.int64]]:
        chunks, permutation, skipped = window(int(number))
        features = _aligned_empty((len(permutation), *store.shape, 1), dtype)
        chunk = np.empty((store.chunk_clips, *store.shape), dtype)
        rows = np.argsort(permutation)  # the inverse: the row of the window that each clip goes to
        start = 0
        for chunk_number in chunks.tolist():
            store.read_chunk(chunk_number, chunk)
            clips = min(store.chunk_clips, store.clips - chunk_number * store.chunk_clips)  # the last may be padded
            features[rows[start : start + clips], ..., 0] = chunk[:clips]
            start += clips
        label = labels[clips_of(chunks, store.chunk_clips, store.clips)[permutation]]
        return features[skipped:], label[skipped:]

    def load(number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        features, label = tf.numpy_function(read, (number,), (tf.as_dtype(dtype), tf.int64))
        return tf.ensure_shape(features, (None, *store.shape, 1)), tf.ensure_shape(label, (None,))

    return numbers.map(load)


def _aligned_empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Make an array that TensorFlow takes without copying it, which streams a third faster."""
    size = int(np.prod(shape)) * dtype.itemsize
    memory = np.empty(size + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + size].view(dtype).reshape(shape)
