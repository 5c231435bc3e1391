"""Where a store lies: a path on this machine, or the URL of any file system that fsspec knows."""

from pathlib import Path
from typing import cast

from upath import UPath


def locate(text: str) -> Path:
    """Make a path of what somebody wrote.

    Parameters
    ----------
    text : str
        ``data/features/train.zarr``, or a URL such as ``s3://bucket/train.zarr``; the package that fsspec needs for it
        (s3fs, gcsfs, ...) has to be installed.

    Returns
    -------
    Path
        For a URL an object that reads like one.

    Examples
    --------
    >>> locate("data/features/train.zarr").name
    'train.zarr'
    >>> locate("memory://bucket/train.zarr").name
    'train.zarr'
    """
    return cast(Path, UPath(text)) if "://" in text else Path(text)
