"""Writing a set: its clips out of the npz, as a waveform store that is filled shard by shard."""

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from features.build import Outcome, fill, tasks_of
from features.errors import InputError
from features.fingerprint import settings_hash, shard_key, waveform_version
from features.sources.npz import Source
from features.split.division import Divided
from features.split.scan import digests_of
from features.split.sets import SplitSpec
from features.store.cache import ShardCache
from features.store.layout import WAVEFORM_LAYOUT, shard_ranges
from features.store.writer import ClipColumns, create_waveform_store


def write_set(
    target: Path,
    name: str,
    source: Source,
    divided: Divided,
    spec: SplitSpec,
    cache: ShardCache,
    *,
    workers: int,
    advance: Callable[[int], None] = lambda clips: None,
) -> list[Outcome]:
    """Write the waveforms of a set.

    Parameters
    ----------
    target : Path
        Where a :class:`~features.store.reader.WaveformStore` is made; nothing may stand there.
    name : str
        One of :data:`~features.split.sets.SETS`.
    source : Source
    divided : Divided
    spec : SplitSpec
    cache : ShardCache
        Where finished shards are found and kept.
    workers, advance
        As :func:`features.build.fill` takes them.

    Returns
    -------
    list of Outcome
        One for each shard, in order.

    Raises
    ------
    InputError
        If the source holds other samples than when it was divided.
    """
    rows = divided.division.rows[name]
    columns = ClipColumns(divided.labels_of(name), rows, divided.digests_of(name))
    store = create_waveform_store(target, columns, divided.fingerprint_of(name), msgspec.to_builtins(spec))
    settings = settings_hash(WAVEFORM_LAYOUT, waveform_version())

    def read(start: int, stop: int) -> Iterator[NDArray[np.float32]]:
        waves = source.read(rows[start:stop])
        # Otherwise a file that changes meanwhile would leave its samples in the cache, under the key of others.
        if digests_of(waves).tobytes() != columns.digests[start:stop].tobytes():
            raise changed(source)
        for first, end in shard_ranges(stop - start, WAVEFORM_LAYOUT.chunk_clips):
            yield waves[first:end]

    keys = [shard_key(settings, columns.digests[start:stop]) for start, stop in store.shards]
    return fill(store, tasks_of(store, keys, cache, read), workers=workers, advance=advance)


def changed(source: Source) -> InputError:
    """The error for an npz that was written to while it was being split."""
    return InputError(f"{source.path} changed while it was being split; run this again when nobody writes to it")
