"""Computing one shard: its waveforms, read and checked, as chunks of features."""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from features.spectrogram import FeatureSpec, transform
from features.store.layout import StoreSpec
from features.store.reader import WaveformStore


def feature_chunks(
    source: WaveformStore, start: int, stop: int, spec: FeatureSpec, layout: StoreSpec
) -> Iterator[NDArray[np.float32]]:
    """Compute the features of clips ``start`` to ``stop``, a chunk at a time, each in the memory of the last.

    Raises
    ------
    InputError
        If a shard of the waveforms is not what was written.
    """
    chunk = np.empty((layout.chunk_clips, *spec.shape), np.float32)
    for clips in cut(waveform_pieces(source, start, stop), layout.chunk_clips):
        yield transform(clips, spec, chunk[: len(clips)])


def read_waveforms(store: WaveformStore, start: int, stop: int) -> NDArray[np.float32]:
    """Read clips ``start`` to ``stop``, float32 (clips, 8000), checking every shard they lie in.

    Raises
    ------
    InputError
        If a shard is not what was written.
    """
    return np.concatenate(list(waveform_pieces(store, start, stop)))


def waveform_pieces(store: WaveformStore, start: int, stop: int) -> Iterator[NDArray[np.float32]]:
    """Read clips ``start`` to ``stop`` in order, in the pieces that they lie in, without copying them.

    Yields
    ------
    float32 array, shape (clips, 8000)
        Not to be written to.

    Raises
    ------
    InputError
        If a shard is not what was written.
    """
    for number in range(start // store.layout.shard_clips, -(-stop // store.layout.shard_clips)):
        for first, chunk in store.read_checked(number):
            piece = chunk[max(start - first, 0) : max(stop - first, 0)]
            if len(piece):
                yield piece


def cut(pieces: Iterable[NDArray[np.float32]], clips: int) -> Iterator[NDArray[np.float32]]:
    """Cut a row of arrays anew, so that each holds ``clips`` clips and the last what is left.

    Copies only where clips of more than one piece come together.

    Examples
    --------
    >>> three, two = np.zeros((3, 1), np.float32), np.ones((2, 1), np.float32)
    >>> [part[:, 0].tolist() for part in cut([three, two], 2)]
    [[0.0, 0.0], [0.0, 1.0], [1.0]]
    """
    held: list[NDArray[np.float32]] = []
    for piece in pieces:
        rest = piece
        while len(rest):
            room = clips - sum(map(len, held))
            held.append(rest[:room])
            rest = rest[room:]
            if len(held[-1]) == room:
                yield held[0] if len(held) == 1 else np.concatenate(held)
                held = []
    if held:
        yield np.concatenate(held)
