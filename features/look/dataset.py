"""A store as a labelled, lazy xarray dataset."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import xarray

from features.look.location import locate
from features.store.reader import open_store

WIDER_TYPES = {"uint8": "int16", "float16": "float32"}
"""Types that netCDF 3 lacks, and what they are written as."""


def open_dataset(path: str | Path) -> xarray.Dataset:
    """Open a store of features or waveforms, by its path or URL; values are read on access.

    Returns
    -------
    xarray.Dataset
        ``features`` (clip, frequency, time) with axes in Hz and seconds, or ``waveform`` (clip, sample). Each clip has
        ``word``, ``label``, ``source_row``, ``digest`` and, if the npz names it, ``recording``. Attributes tell how
        the store was made, as netCDF can hold them: numbers and text; settings and the list of words are JSON, and
        ``speakers_known`` is 0 or 1. So ``to_netcdf`` works with SciPy alone. The file holds ``source_row`` as int32,
        ``digest`` as int16 and float16 as float32, with equal values.

    Raises
    ------
    InputError
        If there is no store, its metadata or labels are damaged, or a shard is missing.

    Examples
    --------
    ::

        train = open_dataset("data/features/train.zarr")
        train.features.where(train.word == "yes", drop=True).mean("clip").plot()
        train.isel(clip=train.word == "yes").to_netcdf("yes.nc")
    """
    path = locate(str(path))
    store = open_store(path)
    opened = xarray.open_zarr(str(path), chunks={})
    opened.attrs = {name: _flat(value) for name, value in opened.attrs.items()}
    for variable in opened.variables.values():
        if variable.dtype.name in WIDER_TYPES:
            variable.encoding = {"dtype": WIDER_TYPES[variable.dtype.name]}
    words = np.array(store.attributes["words"])[store.labels]
    known = [name for name in ("label", "source_row", "recording") if name in opened]
    return opened.assign_coords(word=("clip", words), **{name: opened[name] for name in known})


def _flat(value: Any) -> str | int | float:
    """An attribute as netCDF can hold it."""
    if isinstance(value, bool):
        return int(value)
    return value if isinstance(value, str | int | float) else json.dumps(value, ensure_ascii=False)
