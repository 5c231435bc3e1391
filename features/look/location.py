"""Where a store lies: a path on this machine, or the URL of any file system that fsspec knows."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from upath import UPath

from features.errors import InputError
from features.store.manifest import is_elsewhere


def locate(text: str) -> Path:
    """Turn a path, or a URL such as ``s3://bucket/train.zarr``, into an object that reads like a path.

    Raises
    ------
    InputError
        If fsspec does not know the file system, or its package (s3fs, gcsfs, ...) is not installed.
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
    """Turn an error of a remote file system into a sentence; errors on this machine are passed on.

    Raises
    ------
    InputError
        Naming the first remote place.
    """
    try:
        yield
    except (OSError, ValueError, NotImplementedError) as error:
        remote = next(filter(is_elsewhere, places), None)
        if remote is None:
            raise
        raise InputError(
            f"{remote} cannot be read ({error}); expected a place that answers, lists folders and reads parts of "
            "files, so copy the store here if it does not"
        ) from None
