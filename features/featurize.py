"""Featurizing: every shard of a feature store is one task. The only module that knows dask.

A task is given numbers and paths, never arrays: it reads its clips, transforms them and writes its shard whole. So
memory is a few shards a worker, however many clips there are.
"""

import hashlib
import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dask.base import compute
from dask.callbacks import Callback
from dask.delayed import delayed

from features.heap import steady_heap
from features.store import FeatureAxes, FeatureStore, StoreSpec, WaveformStore, shard_ranges
from features.transform import FeatureSpec, transform

LIBRARIES = ("numcodecs", "numpy", "scipy", "zarr")
"""Libraries whose versions can change a stored number or byte."""


def spec_hash(spec: FeatureSpec, layout: StoreSpec) -> str:
    """Fingerprint of the settings, whatever order they are written in: 32 hexadecimal digits."""
    canonical = json.dumps([spec.model_dump(mode="json"), layout.model_dump(mode="json")], sort_keys=True)
    return hashlib.blake2b(canonical.encode(), digest_size=16).hexdigest()


def _featurize_shard(waveforms: Path, features: Path, spec: FeatureSpec, start: int, stop: int) -> int:
    clips = WaveformStore.open(waveforms).read(start, stop)
    FeatureStore.open(features, writable=True).write_shard(start, transform(clips, spec))
    return stop - start


class _Progress(Callback):
    """Reports the clips of each task as it ends."""

    def __init__(self, advance: Callable[[int], None]) -> None:
        self._advance = advance

    def _posttask(self, key: Any, result: Any, dsk: Any, state: Any, worker_id: Any) -> None:
        self._advance(result)


def featurize(
    waveforms: Path,
    target: Path,
    spec: FeatureSpec,
    layout: StoreSpec,
    *,
    workers: int,
    advance: Callable[[int], None] = lambda clips: None,
) -> int:
    """Compute the features of a whole set.

    Parameters
    ----------
    waveforms : Path
        A :class:`~features.store.WaveformStore`.
    target : Path
        Where a :class:`~features.store.FeatureStore` is made; nothing may stand there.
    spec : FeatureSpec
    layout : StoreSpec
    workers : int
        Threads; the result does not depend on it. Reading, transforming and compressing release Python's lock.
    advance : callable
        Told the number of clips of each shard when it is written.

    Returns
    -------
    int
        Clips written.

    Raises
    ------
    InputError
        If ``waveforms`` is not a waveform store.
    """
    steady_heap()
    source = WaveformStore.open(waveforms)
    attributes = {
        "features": spec.model_dump(mode="json"),
        "store": layout.model_dump(mode="json"),
        "spec_hash": spec_hash(spec, layout),
        "source_digest": source.attributes["digest"],
        "words": source.attributes["words"],
        "sample_rate_hz": source.attributes["sample_rate_hz"],
        "libraries": {library: version(library) for library in LIBRARIES},
    }
    axes = FeatureAxes(spec.frequency_hz, spec.time_s)
    FeatureStore.create(target, axes, layout, source.labels, source.source_rows, attributes)
    task = delayed(_featurize_shard, pure=False)
    tasks = [task(waveforms, target, spec, *shard) for shard in shard_ranges(source.clips, layout.shard_clips)]
    with _Progress(advance):
        done = compute(*tasks, scheduler="threads", num_workers=workers)
    return sum(done)
