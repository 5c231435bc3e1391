"""Computing one shard: its waveforms, read and checked, as chunks of features."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from features.layout import StoreSpec, shard_ranges
from features.store import WaveformStore
from features.transform import FeatureSpec, transform


def feature_chunks(
    source: WaveformStore, start: int, stop: int, spec: FeatureSpec, layout: StoreSpec
) -> Iterator[NDArray[np.float32]]:
    """Compute the features of clips ``start`` to ``stop``, a chunk at a time, each in the memory of the last.

    Raises
    ------
    InputError
        If a shard of the waveforms is not what was written.
    """
    clips = read_waveforms(source, start, stop)
    chunk = np.empty((layout.chunk_clips, *spec.shape), np.float32)
    for first, end in shard_ranges(len(clips), layout.chunk_clips):
        yield transform(clips[first:end], spec, chunk[: end - first])


def read_waveforms(store: WaveformStore, start: int, stop: int) -> NDArray[np.float32]:
    """Read clips ``start`` to ``stop``, float32 (clips, 8000), checking every shard they lie in.

    Raises
    ------
    InputError
        If a shard is not what was written.
    """
    clips = np.empty((stop - start, *store.shape), np.float32)
    for number in range(start // store.layout.shard_clips, -(-stop // store.layout.shard_clips)):
        for first, chunk in store.read_checked(number):
            begin, end = max(start, first), min(stop, first + len(chunk))
            if begin < end:
                clips[begin - start : end - start] = chunk[begin - first : end - first]
    return clips
