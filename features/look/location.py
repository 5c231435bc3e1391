"""Where a store lies: a path on this machine, or the URL of any file system that fsspec knows."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from upath import UPath

from features.errors import InputError
from features.store.reader import is_elsewhere


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
        path = UPath(text)
        local = "file" in path.fs.protocol  # asking for it imports its package
    except (ImportError, ValueError) as error:
        raise InputError(f"{text} cannot be read ({error}); expected a URL whose file system is installed") from None
    return Path(path.path) if local else cast(Path, path)


@contextmanager
def reachable(*places: Path) -> Iterator[None]:
    """Say in a sentence what a file system elsewhere could not do. What happens on this machine is passed on.

    Raises
    ------
    InputError
        Naming the first place that is elsewhere.
    """
    try:
        yield
    except (OSError, ValueError, NotImplementedError) as error:
        elsewhere = [place for place in places if is_elsewhere(place)]
        if not elsewhere:
            raise
        raise InputError(
            f"{elsewhere[0]} cannot be read ({error}); expected a place that answers, lists folders and reads parts of "
            "files, so copy the store here if it does not"
        ) from None
