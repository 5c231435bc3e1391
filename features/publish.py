"""Files and folders that appear whole or not at all: written aside, then renamed into place."""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path


def remove(path: Path) -> None:
    """Delete a file or a whole folder; nothing happens where there is none."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def publish(*targets: Path, waiting: Callable[[Path], None] = lambda target: None) -> Iterator[tuple[Path, ...]]:
    """Lend a place aside for each target; move them all into place when the block ends well.

    Only one process at a time has the place aside of a target: another one waits for it.

    Parameters
    ----------
    *targets : Path
        Files or folders to appear. What stands there already is replaced, and stays if the block fails.
    waiting : callable
        Told a target that another process is making, before it is waited for.

    Yields
    ------
    tuple of Path
        For each target, a path near it on which nothing stands. What a killed run left there is removed first.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     target = Path(folder, "split.json")
    ...     with publish(target) as (aside,):
    ...         written = aside.write_text("{}")
    ...     target.read_text()
    '{}'
    """
    with ExitStack() as rooms:
        asides = tuple(rooms.enter_context(_room(target, waiting)) / target.name for target in targets)
        yield asides
        for aside, target in zip(asides, targets, strict=True):
            if target.is_dir():
                # Out of sight in one step, so that no reader finds half of it.
                target.replace(aside.with_name("replaced"))
            aside.replace(target)


@contextmanager
def _room(target: Path, waiting: Callable[[Path], None]) -> Iterator[Path]:
    """Lend an empty folder beside a target, which no other process has at the same time."""
    folder = target.with_name(f".partial-{target.name}")
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:  # its owner has just removed it
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting(target)
            fcntl.flock(handle, fcntl.LOCK_EX)
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), folder.stat()):
                break
        os.close(handle)
    try:
        for left in folder.iterdir():
            remove(left)
        yield folder
    finally:
        remove(folder)
        os.close(handle)


@contextmanager
def scratch(path: Path, waiting: Callable[[Path], None] = lambda target: None) -> Iterator[Path]:
    """Lend a path for something large that only this block needs; it is gone when the block ends, however it ends.

    Another process that wants the same path waits until then; ``waiting`` is told so.
    """
    with _room(path, waiting) as folder:
        yield folder / path.name
