"""Files and folders that appear whole or not at all: written aside, then renamed into place."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def remove(path: Path) -> None:
    """Delete a file or a whole folder; nothing happens where there is none."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def publish(*targets: Path) -> Iterator[tuple[Path, ...]]:
    """Lend a place aside for each target; move them all into place when the block ends well.

    Parameters
    ----------
    *targets : Path
        Files or folders to appear. What stands there already is replaced, and stays if the block fails.

    Yields
    ------
    tuple of Path
        For each target, a path beside it on which nothing stands. What a killed run left there is removed first.

    Examples
    --------
    >>> with publish(Path("metrics/split.json")) as (aside,):
    ...     written = aside.write_text("{}")
    """
    asides = tuple(target.with_name(f".partial-{target.name}") for target in targets)
    try:
        for aside in asides:
            aside.parent.mkdir(parents=True, exist_ok=True)
            remove(aside)
        yield asides
        for aside, target in zip(asides, targets, strict=True):
            if target.is_dir():
                remove(target)
            aside.replace(target)
    finally:
        for aside in asides:
            remove(aside)


@contextmanager
def scratch(path: Path) -> Iterator[Path]:
    """Lend a path for something large that only this block needs; it is gone when the block ends, however it ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    remove(path)
    try:
        yield path
    finally:
        remove(path)
