"""A store as a labelled, lazy xarray dataset."""

from pathlib import Path

import numpy as np
import xarray

from features.look.location import locate
from features.store.reader import open_store


def open_dataset(path: str | Path) -> xarray.Dataset:
    """Open a store of features or waveforms, by its path or URL; values are read on access.

    Returns
    -------
    xarray.Dataset
        ``features`` (clip, frequency, time) with axes in Hz and seconds, or ``waveform`` (clip, sample). Each clip has
        ``word``, ``label``, ``source_row``, ``digest`` and, if the npz names it, ``recording``.

    Raises
    ------
    InputError
        If there is no store, its metadata or labels are damaged, or a shard is missing.

    Examples
    --------
    ::

        train = open_dataset("data/features/train.zarr")
        train.features.where(train.word == "yes", drop=True).mean("clip").plot()
    """
    path = locate(str(path))
    store = open_store(path)
    opened = xarray.open_zarr(str(path), chunks={})
    words = np.array(store.attributes["words"])[store.labels]
    known = [name for name in ("label", "source_row", "recording") if name in opened]
    return opened.assign_coords(word=("clip", words), **{name: opened[name] for name in known})
