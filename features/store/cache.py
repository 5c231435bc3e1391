"""The shard cache: finished shards under the name of everything that decided their bytes.

An entry is one file, ``<key>.<checksum>``; it appears whole in one step, never changes, and is linked into stores, or
copied where the file system has no links. Nothing but shards, which can be made again, is kept or thrown away here.
Of each entry a record is kept, of its chunks' checksums and its file's state, by which an entry that nobody has written
to is taken without being read: DVC, too, knows files by that, and whoever reads a chunk holds it against its checksum.
Records are conveniences: one that is damaged is none, and one that cannot be written is not kept.
"""

import ctypes
import fcntl
import os
import re
import shutil
import stat
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from socket import gethostname
from typing import BinaryIO, Self
from uuid import uuid4

from xxhash import xxh3_64_hexdigest

from features.file_state import SETTLED_NS, FileState
from features.store.layout import StoreSpec
from features.store.shard import Checksum, checksum, checksum_shard

FOLDER = re.compile(r"[0-9a-f]{2}")
ENTRY = re.compile(r"[0-9a-f]+\.[0-9a-f]{32}")
PARTIAL = re.compile(r".+\.[0-9a-f]{32}")
"""Name of a file that is being written: host and a number of its own."""
RECORDS = "records"

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
    trusting : bool
        Whether an entry that nobody has written to is taken without being read.
    """

    folder: Path
    trusting: bool = True

    def find(self, key: str) -> tuple[Path, Checksum] | None:
        """Look an entry up by its name, without reading it."""
        names = [entry.name for entry in _listed(self.folder / key[:2]) if entry.name.startswith(f"{key}.")]
        if not names:
            return None
        path = self.folder / key[:2] / min(names)
        try:
            status = path.lstat()
        except FileNotFoundError:  # another process has just pruned it
            return None
        # A link that somebody put there would be linked as it is, and then lead nowhere.
        return (path, Checksum(status.st_size, path.suffix[1:])) if stat.S_ISREG(status.st_mode) else None

    def holds(self, key: str, layout: StoreSpec) -> bool:
        """Whether an entry is there and its bytes are right: whether :meth:`take` would take it. Changes nothing."""
        found = self.find(key)
        if found is None:
            return False
        path, expected = found
        try:
            known = self._recalled(path, FileState.of(path.stat()))
            return (known or checksum_shard(path, layout)).digest == expected.digest
        except FileNotFoundError:  # another process has just pruned it
            return False

    def take(self, key: str, target: Path | None, layout: StoreSpec) -> Checksum | None:
        """Put an entry into a store, if it is there and its bytes are right.

        An entry that was written to since its bytes were known is read whole, and removed if it is damaged. One that is
        taken counts as just used.
        """
        try:
            found = self.find(key)
            if found is None:
                return None
            path, expected = found
            state = FileState.of(path.stat())
            actual = self._recalled(path, state)
            if actual is None:
                actual = checksum_shard(path, layout)
                if actual.digest != expected.digest:
                    self._remove(path)
                    return None
                if time.time_ns() - state.modified_ns > SETTLED_NS:
                    self._record(path, state, actual)
            _touch(path)
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
                # Finer than the clock of most file systems, so that whoever writes to it later leaves another time.
                modified_ns = time.time_ns()
                os.utime(partial, ns=(modified_ns, modified_ns))
                twin = self._twin(written) if target else None
                finished = twin[0] if twin else partial
                entry = self.folder / key[:2] / f"{key}.{written.digest}"
                entry.parent.mkdir(parents=True, exist_ok=True)
                if target:  # before others can see the entry, and prune it
                    try:
                        link(finished, target)
                    except FileNotFoundError:  # the twin has just been pruned
                        link(partial, target)
                try:
                    os.link(finished, entry)
                except OSError:  # it is there already, or there are no links here, or the twin is gone
                    partial.replace(entry)
            with suppress(FileNotFoundError):  # another process has just pruned it
                state = FileState.of(entry.stat())
                untouched = state.written == twin[1].written if twin else state.modified_ns == modified_ns
                if untouched:  # which nobody can tell where times are kept in seconds
                    self._record(entry, state, written)
        finally:
            partial.unlink(missing_ok=True)
        return written

    def _record(self, entry: Path, state: FileState, known: Checksum) -> None:
        """Note the checksums of an entry and the state that its file was in."""
        content = " ".join([*map(str, state.written), *known.chunks])
        path = self._record_of(entry)
        with suppress(OSError):
            path.parent.mkdir(exist_ok=True)
            path.write_text(f"{content} {xxh3_64_hexdigest(content.encode())}")

    def _recalled(self, entry: Path, state: FileState) -> Checksum | None:
        """What was noted of an entry, if its file is still in the state that it was in then."""
        if not self.trusting:
            return None
        try:
            content, _, digest = self._record_of(entry).read_text().rpartition(" ")
        except (OSError, ValueError):
            return None
        words = content.split(" ")
        written = [str(number) for number in state.written]
        if digest != xxh3_64_hexdigest(content.encode()) or words[: len(written)] != written:
            return None
        return Checksum(state.size, entry.suffix[1:], tuple(words[len(written) :]))

    def _record_of(self, entry: Path) -> Path:
        return self.folder / RECORDS / entry.name

    def _remove(self, entry: Path) -> bool:
        """Remove an entry, unless it is somebody else's or on a disk that is only read; whether it is gone."""
        try:
            entry.unlink(missing_ok=True)
        except OSError:
            return False
        with suppress(OSError):  # a record without its entry says nothing
            self._record_of(entry).unlink()
        return True

    def _twin(self, written: Checksum) -> tuple[Path, FileState] | None:
        """An intact entry of the same bytes under another key, as there is when code changed and its numbers did not.

        Then one file serves both, and DVC, which knows the file, need not hash another. Its state is from before it was
        read.
        """
        with suppress(OSError):  # unreadable, or another process has just pruned it
            path = self._digests.get(written.digest)
            state = FileState.of(path.stat()) if path else None
            if path and state and checksum(path) == written:
                _touch(path)
                return path, state
        return None

    @cached_property
    def _digests(self) -> dict[str, Path]:
        """An entry of each digest, as they were when this was first asked."""
        return {path.suffix[1:]: path for path in self.entries()}

    def entries(self) -> list[Path]:
        """Every entry, in no order."""
        return [Path(entry.path) for entry in self._scan()]

    def usage(self) -> Usage:
        """Count entries and bytes."""
        known = self._status()
        return Usage(len(known), sum({status.st_ino: status.st_size for _, status in known}.values()))

    def prune(self, max_bytes: int) -> Usage:
        """Remove least recently used entries until the rest fits, and what killed runs left half written.

        What may not be removed stays, as in a cache that others own too.

        Returns
        -------
        Usage
            What was removed.
        """
        recorded = self._records()  # before entries are looked for: of what is added meanwhile it is kept
        partials = self.folder / "partial"
        with suppress(OSError), _locked(partials, fcntl.LOCK_EX):  # none is made meanwhile
            for partial in partials.iterdir():
                with suppress(OSError):  # its writer has just finished it, or it is somebody else's
                    if PARTIAL.fullmatch(partial.name) and _abandoned(partial):
                        partial.unlink()
        aged = sorted((status.st_atime_ns, status.st_ino, status.st_size, path) for path, status in self._status())
        for name in set(recorded).difference(Path(path).name for *_, path in aged):  # whose entry somebody else removed
            with suppress(OSError):
                (self.folder / RECORDS / name).unlink()
        names = Counter(inode for _, inode, _, _ in aged)  # keys with the same bytes share a file
        over = sum({inode: size for _, inode, size, _ in aged}.values()) - max_bytes
        removed = freed = 0
        for _, inode, size, path in aged:
            if freed >= over and max_bytes:
                break
            if not self._remove(Path(path)):
                continue
            names[inode] -= 1
            removed, freed = removed + 1, freed + (0 if names[inode] else size)
        return Usage(removed, freed)

    def clear(self) -> Usage:
        """Remove every entry, and nothing else that may lie there."""
        self.distrust()
        return self.prune(0)

    def distrust(self) -> Self:
        """Have every entry read before it is taken, because something on this disk was found to have changed.

        Returns
        -------
        ShardCache
            The same one, which believes none of the records that could not be removed, being somebody else's.
        """
        for name in self._records():
            with suppress(OSError):
                (self.folder / RECORDS / name).unlink()
        return replace(self, trusting=False)

    def _records(self) -> list[str]:
        return [record.name for record in _listed(self.folder / RECORDS) if ENTRY.fullmatch(record.name)]

    def _status(self) -> list[tuple[str, os.stat_result]]:
        known = []
        for entry in self._scan():
            with suppress(FileNotFoundError):  # another process has just removed it
                known.append((entry.path, entry.stat()))
        return known

    def _scan(self) -> Iterator["os.DirEntry[str]"]:
        """Every entry, by the quickest way there is: a run whose shards are all here does little else."""
        for folder in _listed(self.folder):
            if FOLDER.fullmatch(folder.name):
                for entry in _listed(Path(folder.path)):
                    if ENTRY.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                        yield entry


def _listed(folder: Path) -> "list[os.DirEntry[str]]":
    """What is in a folder; nothing if there is none, or it is not ours to see."""
    try:
        return list(os.scandir(folder))
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []


def _touch(entry: Path) -> None:
    """Say that an entry was just used, by its access time: its time of change is what DVC knows the file by."""
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


def _abandoned(partial: Path) -> bool:
    if not partial.name.startswith(f"{gethostname()}."):
        return time.time() - partial.stat().st_mtime > STALE_S
    with partial.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
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
