"""The shard cache: finished shards under the name of everything that decided their bytes.

An entry is one file, ``<key>.<checksum>``; it appears whole by a rename, never changes, and is linked into stores, or
copied where the file system has no links. Nothing but shards, which can be made again, is kept or thrown away.
"""

import ctypes
import fcntl
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from socket import gethostname
from typing import BinaryIO
from uuid import uuid4

from features.layout import StoreSpec
from features.shard import Checksum, checksum_shard

ENTRY = re.compile(r"[0-9a-f]+\.[0-9a-f]{32}")

STALE_S = 24 * 3600
"""Age at which a partial file is taken to be a killed run's, where that run was on another machine."""


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
        Where it lies; best on the file system of the stores, so that entries can be linked.
    """

    folder: Path

    def find(self, key: str) -> tuple[Path, Checksum] | None:
        """Look an entry up by its name, without reading it."""
        for path in sorted((self.folder / key[:2]).glob(f"{key}.*")):
            return path, Checksum(path.stat().st_size, path.suffix[1:])
        return None

    def take(self, key: str, target: Path | None, layout: StoreSpec) -> Checksum | None:
        """Put an entry into a store, if it is there and its bytes are right.

        A damaged entry is removed. An entry that is taken counts as just used.
        """
        try:
            found = self.find(key)
            if found is None:
                return None
            path, expected = found
            actual = checksum_shard(path, layout)
            if actual.digest != expected.digest:
                path.unlink(missing_ok=True)
                return None
            # The time of last use is kept as access time: the file's own time is what DVC knows it by.
            with suppress(PermissionError):  # somebody else's entry in a shared cache
                os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))
            if target:
                link(path, target)
        except FileNotFoundError:  # another process has just pruned it
            return None
        return actual

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
        partial = self.folder / "partial" / f"{gethostname()}.{uuid4().hex}"
        partial.parent.mkdir(parents=True, exist_ok=True)
        try:
            with _locked(partial.parent, fcntl.LOCK_SH):
                file = partial.open("xb")
                fcntl.flock(file, fcntl.LOCK_EX)  # tells prune that its writer is alive
            with file:
                written = write(file)
                file.flush()
                start_writing(file)
                partial.chmod(0o444)
                entry = self.folder / key[:2] / f"{key}.{written.digest}"
                entry.parent.mkdir(parents=True, exist_ok=True)
                if target:
                    link(partial, target)  # before others can see the entry, and prune it
                partial.replace(entry)
        finally:
            partial.unlink(missing_ok=True)
        return written

    def entries(self) -> list[Path]:
        """Every entry, in no order."""
        return [path for path in self.folder.glob("[0-9a-f][0-9a-f]/*") if ENTRY.fullmatch(path.name)]

    def usage(self) -> Usage:
        """Count entries and bytes."""
        sizes = [status.st_size for _, status in self._status()]
        return Usage(len(sizes), sum(sizes))

    def prune(self, max_bytes: int) -> Usage:
        """Remove least recently used entries until the rest fits, and what killed runs left half written.

        Returns
        -------
        Usage
            What was removed.
        """
        partials = self.folder / "partial"
        if partials.exists():
            with _locked(partials, fcntl.LOCK_EX):  # none is made meanwhile
                for partial in partials.iterdir():
                    with suppress(FileNotFoundError):  # its writer has just finished it
                        if _abandoned(partial):
                            partial.unlink()
        aged = sorted((status.st_atime_ns, status.st_size, path) for path, status in self._status())
        over = sum(size for _, size, _ in aged) - max_bytes
        removed = freed = 0
        for _, size, path in aged:
            if freed >= over:
                break
            path.unlink(missing_ok=True)
            removed, freed = removed + 1, freed + size
        return Usage(removed, freed)

    def clear(self) -> Usage:
        """Remove every entry, and nothing else that may lie there."""
        return self.prune(0)

    def _status(self) -> list[tuple[Path, os.stat_result]]:
        known = []
        for path in self.entries():
            with suppress(FileNotFoundError):  # another process has just removed it
                known.append((path, path.stat()))
        return known


@contextmanager
def _locked(folder: Path, how: int) -> Iterator[None]:
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, how)
        yield
    finally:
        os.close(handle)


def _abandoned(partial: Path) -> bool:
    if not partial.name.startswith(f"{gethostname()}."):
        return time.time() - partial.stat().st_mtime > STALE_S
    with partial.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def start_writing(file: BinaryIO) -> None:
    """Let the system begin to write a file to the disk, without waiting for it; does nothing where it cannot.

    Else it begins when a tenth of all memory is unwritten, and the disk is idle while shards are computed. The number
    is SYNC_FILE_RANGE_WRITE, see sync_file_range(2).
    """
    sync_file_range = getattr(ctypes.CDLL(None), "sync_file_range", None)
    if sync_file_range:
        sync_file_range(file.fileno(), ctypes.c_int64(0), ctypes.c_int64(0), 2)


def link(source: Path, target: Path) -> None:
    """Make a finished file appear elsewhere too: as a hard link, or as a copy where there can be none."""
    aside = target.with_name(f".{target.name}.{uuid4().hex}")
    try:
        try:
            os.link(source, aside)
        except FileNotFoundError:
            raise
        except OSError:
            shutil.copy(source, aside)
        aside.replace(target)
    finally:
        aside.unlink(missing_ok=True)
