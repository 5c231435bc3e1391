"""Where a store lies: a path on this machine, or the URL of any file system that fsspec knows."""

from pathlib import Path
from typing import cast

from upath import UPath

from features.errors import InputError


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

    Raises
    ------
    InputError
        If fsspec does not know the file system, or its package is not installed.

    Examples
    --------
    >>> locate("data/features/train.zarr").name
    'train.zarr'
    >>> locate("memory://bucket/train.zarr").name
    'train.zarr'
    """
    if "://" not in text:
        return Path(text)
    try:
        return cast(Path, UPath(text))
    except (ImportError, ValueError) as error:
        raise InputError(f"{text} cannot be read ({error}); expected a URL whose file system is installed") from None
