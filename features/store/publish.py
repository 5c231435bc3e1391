"""Files and stores that appear whole or not at all: written to a staging folder, then renamed into place.

Only what this project made is ever replaced: see :func:`refuse_foreign`.
"""

import fcntl
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from features.errors import InputError
from features.store.manifest import Manifest, ManifestError


def remove(path: Path) -> None:
    """Delete a file or a whole folder; nothing happens where there is none."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def refuse_foreign(target: Path) -> None:
    """Refuse to replace what this project did not make.

    A regular file may be replaced, because a stage lists it as its output. A folder may be replaced only if the target
    is named ``*.zarr`` and the folder is a store with our manifest. Links, devices, pipes and sockets never are.

    Raises
    ------
    InputError
        If something else stands there.

    Examples
    --------
    >>> refuse_foreign(Path("/dev/null"))
    Traceback (most recent call last):
    features.errors.InputError: /dev/null is a device; expected nothing or a file, so choose another path
    """
    kind = _kind(target)
    if kind is None:
        return
    if target.suffix != ".zarr":
        if kind != "file":
            raise InputError(f"{target} is a {kind}; expected nothing or a file, so choose another path")
        return
    what = f"is a {kind}"
    if kind == "folder":
        try:
            Manifest.read(target)
            return
        except ManifestError as error:
            what = f"is a folder whose manifest {error}"
    raise InputError(f"{target} {what}; expected nothing or a store made here, so move it away or delete it")


def refuse_existing(target: Path, *, force: bool) -> None:
    """Refuse to replace a file that a user named, unless ``force`` is set and it may be written to.

    Raises
    ------
    InputError
        If something stands there that is to stay.
    """
    refuse_foreign(target)
    if not target.exists():
        return
    if not force:
        raise InputError(f"{target} exists already; expected a new file, so choose another name or replace it: --force")
    if not target.stat().st_mode & 0o222:
        raise InputError(f"{target} is read-only; expected a file that may be replaced, so choose another name")


def _kind(path: Path) -> str | None:
    """What stands at a path, itself and not what it links to, in a word; None if nothing does."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return None
    kinds = {stat.S_IFREG: "file", stat.S_IFDIR: "folder", stat.S_IFLNK: "link"}
    kinds |= {stat.S_IFIFO: "named pipe", stat.S_IFSOCK: "socket"}
    return kinds.get(stat.S_IFMT(mode), "device")


@contextmanager
def publish(
    *targets: Path,
    guard: Callable[[Path], None] = refuse_foreign,
    waiting: Callable[[Path], None] = lambda target: None,
) -> Iterator[tuple[Path, ...]]:
    """Give a path in a staging folder for each target; move them all into place when the block ends well.

    Only one process at a time has the staging folder of a target: another one waits for it.

    What stands at a target stays if the block fails. What a killed run left in the staging folder is removed first.

    Parameters
    ----------
    *targets : Path
        Files, or stores named ``*.zarr``, to appear.
    guard : callable
        Raises :class:`InputError` if what stands at a target may not be replaced. Called before the block and again
        before anything is moved.
    waiting : callable
        Told a target that another process is making, before it is waited for.

    Raises
    ------
    InputError
        If a target may not be replaced; nothing is changed then.

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
    for target in targets:
        guard(target)
    with ExitStack() as folders:
        staged = tuple(folders.enter_context(_staging(target, waiting)) / target.name for target in targets)
        yield staged
        for target in targets:
            guard(target)
        for path, target in zip(staged, targets, strict=True):
            if target.is_dir():
                # Out of sight in one step, so that no reader finds half of it.
                target.replace(path.with_name("replaced"))
            path.replace(target)


@contextmanager
def _staging(target: Path, waiting: Callable[[Path], None]) -> Iterator[Path]:
    """Make an empty folder beside a target, which one process at a time holds; remove it at the end."""
    folder = target.with_name(f".partial-{target.name}")
    while True:
        with suppress(FileExistsError):  # exist_ok would fail if its owner removes it just then
            folder.mkdir(parents=True)
        try:
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
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
        for left in folder.iterdir():  # by a killed run
            remove(left)
        yield folder
    finally:
        remove(folder)
        os.close(handle)


@contextmanager
def scratch(path: Path, waiting: Callable[[Path], None] = lambda target: None) -> Iterator[Path]:
    """Give a path for something large that only this block needs, and remove it at the end, whatever happens.

    Another process that wants the same path waits until then; ``waiting`` is called before it waits.
    """
    with _staging(path, waiting) as folder:
        yield folder / path.name
