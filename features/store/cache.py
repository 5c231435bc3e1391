"""The shard cache: finished shards under the name of everything that decided their bytes.

An entry is one file, ``<key>.<checksum>``. It appears whole in one step, never changes, and is linked into stores, or
copied where the file system has no links. It is read and compared with its checksum before it is used.
"""

import fcntl
import os
import re
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from features.store.shard import Checksum, checksum

FOLDER = re.compile(r"[0-9a-f]{2}")
ENTRY = re.compile(r"[0-9a-f]+\.[0-9a-f]{32}")
PARTIAL = re.compile(r"[0-9a-f]{32}")
"""Name of a file that is being written."""


@dataclass(frozen=True)
class Usage:
    """What the cache takes."""

    entries: int
    bytes: int


@dataclass(frozen=True)
class ShardCache:
    """A folder of finished shards.

    Attributes
    ----------
    folder : Path
        Best on the file system of the stores, so that entries can be linked.
    """

    folder: Path

    def find(self, key: str) -> tuple[Path, Checksum] | None:
        """Look an entry up by its name, without reading it.

        Raises
        ------
        FileNotFoundError
            If another process has just removed it.
        """
        names = [entry.name for entry in _listed(self.folder / key[:2]) if entry.name.startswith(f"{key}.")]
        if not names:
            return None
        path = self.folder / key[:2] / min(names)
        status = path.lstat()
        # A symbolic link would be linked as it is, and then lead nowhere.
        return (path, Checksum(status.st_size, path.suffix[1:])) if stat.S_ISREG(status.st_mode) else None

    def holds(self, key: str) -> bool:
        """Whether :meth:`take` would take an entry: it is there and its bytes are right. Changes nothing."""
        try:
            found = self.find(key)
            return found is not None and checksum(found[0]) == found[1]
        except FileNotFoundError:  # another process has just pruned it
            return False

    def take(self, key: str, target: Path | None) -> Checksum | None:
        """Put an entry into a store, if it is there and its bytes are right; a damaged entry is removed.

        Parameters
        ----------
        key : str
        target : Path or None
            Where in the store it belongs; None to leave it in the cache only.

        Returns
        -------
        Checksum or None
            None if the shard has to be made.
        """
        try:
            found = self.find(key)
            if found is None:
                return None
            path, expected = found
            if checksum(path) != expected:
                with suppress(OSError):  # somebody else's, or on a disk that is only read
                    path.unlink()
                return None
            _touch(path)
            if target:
                link(path, target)
        except FileNotFoundError:  # another process has just pruned it
            return None
        return expected

    def add(self, key: str, target: Path | None, write: Callable[[BinaryIO], Checksum]) -> Checksum:
        """Write a shard, keep it, and put it into a store.

        Parameters
        ----------
        key : str
        target : Path or None
            Where in the store it belongs; None to keep it only. Its folder must be there.
        write : callable
            Told a file to write to, returns the checksum of what it wrote.
        """
        partial = self.folder / "partial" / uuid4().hex
        partial.parent.mkdir(parents=True, exist_ok=True)
        try:
            with _locked(partial.parent, fcntl.LOCK_SH):
                file = partial.open("xb")
                fcntl.flock(file, fcntl.LOCK_EX)  # tells prune that its writer is alive
            with file:
                written = write(file)
                file.flush()
                partial.chmod(0o444)
                if target:  # before others can see the entry, and prune it
                    link(partial, target)
                entry = self.folder / key[:2] / f"{key}.{written.digest}"
                entry.parent.mkdir(parents=True, exist_ok=True)
                partial.replace(entry)
        finally:
            partial.unlink(missing_ok=True)
        return written

    def entries(self) -> list[Path]:
        """Every entry, in no order."""
        return [Path(entry.path) for entry in self._scan()]

    def usage(self) -> Usage:
        """Count entries and bytes."""
        known = self._status()
        return Usage(len(known), sum(status.st_size for _, status in known))

    def prune(self, max_bytes: int) -> Usage:
        """Remove least recently used entries until the rest fits, and what killed runs left half written.

        What may not be removed stays, as in a cache that others own too.

        Returns
        -------
        Usage
            What was removed.
        """
        partials = self.folder / "partial"
        with suppress(OSError), _locked(partials, fcntl.LOCK_EX):  # none is begun meanwhile
            for partial in partials.iterdir():
                with suppress(OSError):  # its writer has just finished it, or it is somebody else's
                    if PARTIAL.fullmatch(partial.name) and _is_abandoned(partial):
                        partial.unlink()
        known = sorted((status.st_atime_ns, path, status.st_size) for path, status in self._status())
        over = sum(size for _, _, size in known) - max_bytes
        removed = freed = 0
        for _, path, size in known:
            if freed >= over and max_bytes:
                break
            with suppress(OSError):
                path.unlink(missing_ok=True)
                removed, freed = removed + 1, freed + size
        return Usage(removed, freed)

    def clear(self) -> Usage:
        """Remove every entry, and nothing else that may lie there."""
        return self.prune(0)

    def _status(self) -> list[tuple[Path, os.stat_result]]:
        known = []
        for entry in self._scan():
            with suppress(FileNotFoundError):  # another process has just removed it
                known.append((Path(entry.path), entry.stat()))
        return known

    def _scan(self) -> Iterator["os.DirEntry[str]"]:
        for folder in _listed(self.folder):
            if FOLDER.fullmatch(folder.name):
                for entry in _listed(Path(folder.path)):
                    if ENTRY.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                        yield entry


def _listed(folder: Path) -> "list[os.DirEntry[str]]":
    """What is in a folder; nothing if there is none, or it may not be read."""
    try:
        return list(os.scandir(folder))
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []


def _touch(entry: Path) -> None:
    """Record that an entry was just used, by its access time: DVC recognises files by their modification time."""
    try:
        os.utime(entry, ns=(time.time_ns(), entry.stat().st_mtime_ns))
    except FileNotFoundError:
        raise
    except OSError:  # somebody else's entry in a shared cache, or one on a disk that is only read
        pass


@contextmanager
def _locked(folder: Path, how: int) -> Iterator[None]:
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, how)
        yield
    finally:
        os.close(handle)


def _is_abandoned(partial: Path) -> bool:
    with partial.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def link(source: Path, target: Path) -> None:
    """Make a finished file appear elsewhere too: as a hard link, or as a copy where there can be none."""
    beside = target.with_name(f".{target.name}.{uuid4().hex}")
    try:
        try:
            os.link(source, beside)
        except FileNotFoundError:
            raise
        except OSError:
            shutil.copy(source, beside)
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)
