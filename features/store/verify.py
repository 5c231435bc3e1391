"""Verifying a store: every file against the checksum that was taken when it was made."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from features.store.layout import StoreSpec, shard_name, shard_ranges
from features.store.manifest import NAME as MANIFEST
from features.store.manifest import Manifest, ManifestError
from features.store.reader import KINDS, array_in, files_in
from features.store.shard import Checksum, checksum, checksum_of


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


def size_of(path: Path) -> int:
    """Bytes of all files of a store, as far as they can be counted."""
    total = 0
    for name in files_in(path):
        with suppress(OSError):  # a link that leads nowhere
            total += (path / name).stat().st_size
    return total


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

    Returns
    -------
    Report

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
    expected, ranges = _expected(array, manifest)
    number_of = {name: number for number, name in enumerate(list(expected)[len(manifest.files) :])}

    def look(name: str) -> Checksum | None:
        try:
            actual = checksum(path / name)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:  # a folder in its place, or a disk that cannot read it
            return Checksum(0, error.strerror or str(error))
        advance(actual.size)
        return actual

    with ThreadPoolExecutor(workers) as pool:
        actuals = dict(zip(expected, pool.map(look, expected), strict=True))
    whose = {checksum.digest: number for number, checksum in enumerate(manifest.shards)}
    faults = []
    for name, actual in actuals.items():
        if actual == expected[name]:
            continue
        number = number_of.get(name)
        clips = None if number is None else (ranges[number][0], ranges[number][1] - 1)
        faults.append(Fault(name, _describe(expected[name], actual, whose, number), number, clips))
    known = {*expected, MANIFEST}
    faults += [
        Fault(name, "leads to a folder elsewhere" if (path / name).is_dir() else "does not belong here")
        for name in files_in(path)
        if name not in known
    ]
    return Report(len(expected) + 1, sum(actual.size for actual in actuals.values() if actual), faults)


def _expected(array: str, manifest: Manifest) -> tuple[dict[str, Checksum], list[tuple[int, int]]]:
    """Checksum of every file, shards last, and the range of each shard."""
    dimensions = len(KINDS[array].dimensions)
    shards = {shard_name(array, dimensions, number): sum_ for number, sum_ in enumerate(manifest.shards)}
    shard_clips = msgspec.convert(manifest.attributes["store"], StoreSpec).shard_clips
    return {**manifest.files, **shards}, shard_ranges(manifest.attributes["clips"], shard_clips)


def _describe(expected: Checksum, actual: Checksum | None, whose: dict[str, int], number: int | None) -> str:
    if actual is None:
        return "is missing"
    if not actual.size and expected.size and actual != checksum_of(b""):
        return f"cannot be read ({actual.digest})"
    if number is not None and actual.digest in whose:
        return f"holds shard {whose[actual.digest]}"
    if actual.size < expected.size:
        return f"is cut short: {actual.size} of {expected.size} bytes"
    if actual.size > expected.size:
        return f"is {actual.size} bytes long; expected {expected.size}"
    return "has other bytes than were written"
