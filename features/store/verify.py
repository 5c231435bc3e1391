"""Verifying a store: every file against the checksum that was taken when it was made."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import msgspec

from features.store.layout import StoreSpec, shard_ranges
from features.store.manifest import NAME as MANIFEST
from features.store.manifest import Manifest, ManifestError
from features.store.reader import array_in
from features.store.shard import Checksum, checksum


@dataclass(frozen=True)
class Fault:
    """One file that is not what was written."""

    name: str
    """Path inside the store."""
    what: str
    """What is wrong with it, to follow its name."""
    shard: int | None = None
    clips: tuple[int, int] | None = None
    """First and last clip of the shard."""

    def __str__(self) -> str:
        where = f"shard {self.shard} (clips {self.clips[0]} to {self.clips[1]}), " if self.clips else ""
        return f"{where}{self.name} {self.what}"


@dataclass(frozen=True)
class Report:
    """What a verification found."""

    files: int
    bytes: int
    faults: list[Fault]


def files_in(path: Path) -> list[str]:
    """Path of every file inside a store, sorted; a link to a folder counts as a file, and is not followed."""
    return sorted(
        file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_symlink() or not file.is_dir()
    )


def size_of(path: Path) -> int:
    """Bytes that :func:`verify` reads: those that the manifest records, 0 if it is damaged."""
    try:
        manifest = Manifest.read(path)
    except ManifestError:
        return 0
    return sum(file.size for file in (*manifest.files.values(), *manifest.shards))


def verify(path: Path, *, workers: int, advance: Callable[[int], None] = lambda done: None) -> Report:
    """Read every file of a store and compare it with its checksum.

    Parameters
    ----------
    path : Path
        A waveform or feature store.
    workers : int
        Files read at once.
    advance : callable
        Told the number of bytes of each file that was read.

    Raises
    ------
    InputError
        If ``path`` is no store.
    """
    array = array_in(path)
    try:
        manifest = Manifest.read(path)
    except ManifestError as error:
        return Report(1, 0, [Fault(MANIFEST, f"{error}, so nothing else can be checked")])
    shard_clips = msgspec.convert(manifest.attributes["store"], StoreSpec).shard_clips
    ranges = shard_ranges(manifest.attributes["clips"], shard_clips)
    shards = {array.shard_name(number): number for number in range(len(ranges))}
    expected = {**manifest.files, **dict(zip(shards, manifest.shards, strict=True))}
    read_bytes = []

    def wrong(name: str) -> str | None:
        try:
            actual = checksum(path / name)
        except (FileNotFoundError, NotADirectoryError):
            return "is missing"
        except OSError as error:  # a folder in its place, or a disk that cannot read it
            return f"cannot be read ({error.strerror or error})"
        advance(actual.size)
        read_bytes.append(actual.size)
        return None if actual == expected[name] else _difference(expected[name], actual)

    faults = []
    with ThreadPoolExecutor(workers) as pool:
        for name, what in zip(expected, pool.map(wrong, expected), strict=True):
            if what and name in shards:
                start, stop = ranges[shards[name]]
                faults.append(Fault(name, what, shards[name], (start, stop - 1)))
            elif what:
                faults.append(Fault(name, what))
    faults += [
        Fault(name, "leads to a folder elsewhere" if (path / name).is_dir() else "does not belong here")
        for name in files_in(path)
        if name not in {*expected, MANIFEST}
    ]
    return Report(len(expected) + 1, sum(read_bytes), faults)


def _difference(expected: Checksum, actual: Checksum) -> str:
    if actual.size < expected.size:
        return f"is cut short: {actual.size} of {expected.size} bytes"
    if actual.size > expected.size:
        return f"is {actual.size} bytes long; expected {expected.size}"
    return "has other bytes than were written"
