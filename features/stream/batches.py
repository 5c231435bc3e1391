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
from features.stream.order import Order

WINDOW_CHUNKS = 16
"""Chunks in a shuffle window: 512 clips or 34 MB of the default features."""
PREFETCH = 4
"""Batches that tf.data prepares ahead of the consumer."""
ALIGNMENT = 64
"""Bytes. TensorFlow copies arrays whose address is not a multiple of this."""


def training_batches(path: Path, batch_size: int, seed: int, *, first_batch: int = 0) -> tf.data.Dataset:
    """Stream a store forever in shuffled batches of one fixed size.

    Each epoch shuffles the order of all chunks, then the clips within windows of 16 chunks. Clips left over at the end
    of an epoch start the first batch of the next, so every clip comes equally often and no batch is partial. Every
    chunk is compared with its checksum.

    Parameters
    ----------
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

    def window(number: int) -> NDArray[np.int64]:
        return order.window(number)[skipped if number == first else 0 :]

    windows = _windows(store, tf.data.Dataset.counter(first), window)
    return _ahead(windows.rebatch(batch_size, drop_remainder=True))


def scoring_batches(path: Path, batch_size: int) -> tf.data.Dataset:
    """Stream a store once, in the order of its clips; the last batch may be partial.

    Parameters, element types and errors are those of :func:`training_batches`.
    """
    store = FeatureStore.open(path)
    window_clips = WINDOW_CHUNKS * store.chunk_clips

    def window(number: int) -> NDArray[np.int64]:
        return np.arange(number * window_clips, min((number + 1) * window_clips, store.clips))

    windows = _windows(store, tf.data.Dataset.range(-(-store.clips // window_clips)), window)
    batches = _ahead(windows.rebatch(batch_size, drop_remainder=False))
    return batches.apply(tf.data.experimental.assert_cardinality(-(-store.clips // batch_size)))


def read_clips(store: FeatureStore, clips: NDArray[np.int64]) -> NDArray[Any]:
    """Read clips in any order, each chunk once.

    Parameters
    ----------
    clips : int64 array, shape (n,)
        Numbers of clips in the store.

    Returns
    -------
    array of the store's dtype, shape (n, frequency, time, 1)
        At an address that TensorFlow takes without copying.

    Raises
    ------
    InputError
        If a chunk is not what was written.
    """
    dtype = np.dtype(store.layout.dtype)
    features = _aligned_empty((len(clips), *store.shape, 1), dtype)
    chunk = np.empty((store.chunk_clips, *store.shape), dtype)
    chunk_of_row, place_of_row = np.divmod(clips, store.chunk_clips)
    for chunk_number in np.unique(chunk_of_row).tolist():
        store.read_chunk(chunk_number, chunk)
        rows = np.flatnonzero(chunk_of_row == chunk_number)
        for row, place in zip(rows.tolist(), place_of_row[rows].tolist(), strict=True):
            features[row, ..., 0] = chunk[place]
    return features


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


def _windows(
    store: FeatureStore, numbers: tf.data.Dataset, window: Callable[[int], NDArray[np.int64]]
) -> tf.data.Dataset:
    """Read windows by number, as (features, label) of their clips in the order of the stream."""
    labels = store.labels.astype(np.int64)
    dtype = np.dtype(store.layout.dtype)

    def read(number: np.int64) -> tuple[NDArray[Any], NDArray[np.int64]]:
        clips = window(int(number))
        return read_clips(store, clips), labels[clips]

    def load(number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        features, label = tf.numpy_function(read, (number,), (tf.as_dtype(dtype), tf.int64))
        return tf.ensure_shape(features, (None, *store.shape, 1)), tf.ensure_shape(label, (None,))

    return numbers.map(load)


def _ahead(batches: tf.data.Dataset) -> tf.data.Dataset:
    """Prepare batches ahead, in a fixed number.

    tf.data's autotuning has nothing to choose here. Its thread sleeps for longer and longer, and who lets go of the
    stream waits for it: 8 to 45 s after each training.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return batches.prefetch(PREFETCH).with_options(options)


def _aligned_empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Make an array that TensorFlow takes without copying it, which streams a third faster."""
    size = int(np.prod(shape)) * dtype.itemsize
    memory = np.empty(size + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + size].view(dtype).reshape(shape)
