"""Streaming: a feature store as batches of tf.data. Memory is a few windows of chunks, however many clips there are."""

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
from features.stream.order import Order, clips_of, rows_of

WINDOW_CHUNKS = 16
"""Chunks in a window: 512 clips or 34 MB of the default features."""
READERS = 2
"""Windows that are read at once."""
PREFETCH = 4
"""Batches that are ready before they are asked for."""


def training_batches(path: Path, batch_size: int, seed: int, *, first_batch: int = 0) -> tf.data.Dataset:
    """Stream a store forever in shuffled batches of one fixed size.

    Each epoch shuffles the order of all chunks, then the clips within windows of 16 chunks. Clips that do not fill a
    batch at the end of an epoch open the next one, so that each comes equally often and no batch is partial. Every
    chunk is held against its checksum.

    Parameters
    ----------
    path : Path
        A :class:`~features.store.reader.FeatureStore`.
    batch_size : int
    seed : int
        Same seed, same batches.
    first_batch : int
        How many batches of the stream to leave out, which costs nothing.

    Returns
    -------
    tf.data.Dataset
        Endless, of (features, label): (batch, frequency, time, 1) of the store's type, float32 or float16, and int64
        (batch,).

    Raises
    ------
    InputError
        If there is no feature store, or it is damaged. TensorFlow makes damage that is found while streaming an error
        of its own: see :func:`damage_as_input_error`.
    """
    store = FeatureStore.open(path)
    order = Order(store.clips, store.chunk_clips, WINDOW_CHUNKS, seed)
    first, skipped = order.find(first_batch * batch_size)

    def window(number: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        chunks, permutation = order.window(number)
        return chunks, permutation[skipped if number == first else 0 :]

    windows = _read(store, tf.data.Dataset.counter(first), window)
    return windows.rebatch(batch_size, drop_remainder=True).prefetch(PREFETCH)


def scoring_batches(path: Path, batch_size: int) -> tf.data.Dataset:
    """Stream a store once, every clip in the order it lies, the last batch as short as it comes.

    Parameters, element types and errors are those of :func:`training_batches`.
    """
    store = FeatureStore.open(path)

    def window(number: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        chunks = np.arange(number * WINDOW_CHUNKS, min((number + 1) * WINDOW_CHUNKS, store.chunks))
        return chunks, np.arange(len(clips_of(chunks, store.chunk_clips, store.clips)))

    windows = _read(store, tf.data.Dataset.range(-(-store.chunks // WINDOW_CHUNKS)), window)
    batches = windows.rebatch(batch_size, drop_remainder=False).prefetch(PREFETCH)
    return batches.apply(tf.data.experimental.assert_cardinality(-(-store.clips // batch_size)))


@contextmanager
def damage_as_input_error() -> Iterator[None]:
    """Raise damage that is found while streaming as the :class:`~features.errors.InputError` that it was."""
    try:
        yield
    except tf.errors.OpError as error:
        sentence = re.search(rf"{InputError.__name__}: (.*)", error.message)
        if sentence is None:
            raise
        raise InputError(sentence[1]) from None


def _read(
    store: FeatureStore,
    numbers: tf.data.Dataset,
    window: Callable[[int], tuple[NDArray[np.int64], NDArray[np.int64]]],
) -> tf.data.Dataset:
    """Read windows by their numbers, each in one step off Python's main thread.

    ``window`` gives the numbers of a window's chunks, and which of their clips to take, in order.
    """
    labels = store.labels.astype(np.int64)
    dtype, size = store.layout.dtype, store.chunk_clips

    def read(number: np.int64) -> tuple[NDArray[Any], NDArray[np.int64]]:
        chunks, taken = window(int(number))
        values = np.empty((len(chunks) * size, *store.shape), dtype)
        for place, chunk in enumerate(chunks.tolist()):
            store.read_chunk(chunk, values[place * size : (place + 1) * size])
        rows = rows_of(chunks, size, store.clips)[taken]
        clips = clips_of(chunks, size, store.clips)[taken]
        return values[rows][..., np.newaxis], labels[clips]

    def load(number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        features, label = tf.numpy_function(read, (number,), (tf.as_dtype(dtype), tf.int64))
        return tf.ensure_shape(features, (None, *store.shape, 1)), tf.ensure_shape(label, (None,))

    return numbers.map(load, num_parallel_calls=READERS, deterministic=True)
