"""Caches: folders of finished files under the name of everything that decided their bytes.

An entry is one file, ``<key>.<checksum>``. It appears whole in one step, never changes, and is compared with its
checksum before it is used. Above a size limit the least recently used go.
"""

import fcntl
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from features.store.shard import Checksum, checksum

ENTRY = re.compile(r"[0-9a-f]+\.[0-9a-f]{32}")
PARTIAL = re.compile(r"[0-9a-f]{32}")
"""Name of a file that is being written."""


@dataclass(frozen=True)
class Usage:
    """What a cache takes."""

    entries: int
    bytes: int


@dataclass(frozen=True)
class FileCache:
    """A folder of finished files; keys are hexadecimal digits."""

    folder: Path

    def find(self, key: str) -> tuple[Path, Checksum] | None:
        """Find an entry whose bytes are right. Changes nothing; another process may remove it at any time."""
        for path in self._listed(f"{key[:2]}/{key}.*"):
            with suppress(FileNotFoundError):  # another process has just pruned it
                found = checksum(path)
                if found.digest == path.suffix[1:]:
                    return path, found
        return None

    def add(self, key: str, target: Path | None, write: Callable[[BinaryIO], Checksum]) -> Checksum:
        """Write an entry, and put it elsewhere too.

        Parameters
        ----------
        key : str
        target : Path or None
            Where else the file belongs. Its folder must be there.
        write : callable
            Told a file to write to, returns the checksum of what it wrote.
        """
        partial = self.folder / "partial" / uuid4().hex
        partial.parent.mkdir(parents=True, exist_ok=True)
        with _locked(partial.parent, fcntl.LOCK_SH):
            try:
                with partial.open("xb") as file:
                    written = write(file)
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
        """Every entry, sorted by name."""
        return self._listed("[0-9a-f][0-9a-f]/*")

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
        with suppress(OSError), _locked(partials, fcntl.LOCK_EX | fcntl.LOCK_NB):  # unless one is being written
            for partial in partials.iterdir():
                if PARTIAL.fullmatch(partial.name):
                    partial.unlink()
        known = sorted((status.st_atime_ns, path, status.st_size) for path, status in self._status())
        over = sum(size for _, _, size in known) - max_bytes
        removed = freed = 0
        for _, path, size in known:
            if freed >= over:
                break
            with suppress(OSError):
                path.unlink(missing_ok=True)
                removed, freed = removed + 1, freed + size
        return Usage(removed, freed)

    def _status(self) -> list[tuple[Path, os.stat_result]]:
        known = []
        for path in self.entries():
            with suppress(FileNotFoundError):  # another process has just removed it
                known.append((path, path.stat()))
        return known

    def _listed(self, pattern: str) -> list[Path]:
        """Entries by a glob pattern; a symbolic link is none, because it may lead anywhere."""
        return sorted(
            path
            for path in self.folder.glob(pattern)
            if ENTRY.fullmatch(path.name) and path.is_file() and not path.is_symlink()
        )


class ShardCache(FileCache):
    """Finished shards. Best on the file system of the stores, so that entries can be linked into them."""

    def take(self, key: str, target: Path | None) -> Checksum | None:
        """Put a shard into a store, if it is there and its bytes are right.

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
        found = self.find(key)
        if found is None:
            return None
        path, right = found
        try:
            touch(path)
            if target:
                link(path, target)
        except FileNotFoundError:  # another process has just pruned it
            return None
        return right


def touch(entry: Path) -> None:
    """Record that an entry was just used, by its access time: DVC recognises files by their modification time."""
    with suppress(OSError):  # owned by another user, or on a read-only disk
        os.utime(entry, ns=(time.time_ns(), entry.stat().st_mtime_ns))


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


@contextmanager
def _locked(folder: Path, how: int) -> Iterator[None]:
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, how)
        yield
    finally:
        os.close(handle)
