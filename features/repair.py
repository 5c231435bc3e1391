"""Repairing a store: what :mod:`features.store.verify` found broken is computed again from the store's source.

A shard must come out with the checksum that was recorded, so a repaired store is the one that was made, to the byte.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from features.errors import InputError
from features.featurize import attributes_of, begin
from features.fingerprint import Version
from features.sources.npz import open_source
from features.spectrogram import FeatureSpec
from features.split.division import divide_source
from features.split.sets import SETS, SplitSpec
from features.store.cache import ShardCache
from features.store.layout import StoreSpec
from features.store.manifest import NAME as MANIFEST
from features.store.manifest import Manifest, ManifestError
from features.store.publish import scratch
from features.store.reader import WaveformStore, attributes_in, files_in
from features.store.shard import Checksum, checksum
from features.store.verify import verify
from features.store.writer import ClipColumns, StoreWriter, create_waveform_store


def strays_of(store: Path) -> Path:
    """Folder beside a store for files that were found in it and do not belong there."""
    return store.with_name(f"{store.name}.strays")


def repair_features(path: Path, waveforms: Path, cache: ShardCache) -> list[str]:
    """Compute broken shards of a feature store again, or take them from the cache, where they are right.

    Parameters
    ----------
    path : Path
        A feature store.
    waveforms : Path
        The waveform store that it was computed from.
    cache : ShardCache

    Returns
    -------
    list of str
        Files that were replaced or removed.

    Raises
    ------
    InputError
        If the waveforms are others or damaged, or a shard does not come out as it was recorded.
    """
    source = WaveformStore.open(waveforms)
    with scratch(path) as aside:
        with _understanding(path):
            attributes = _attributes(path)
            source_digest = attributes["source_digest"]
            spec = msgspec.convert(attributes["features"], FeatureSpec)
            layout = msgspec.convert(attributes["store"], StoreSpec)
            made_by = msgspec.convert(attributes["made_by"], Version)
        if source.attributes["digest"] != source_digest:
            raise InputError(
                f"{waveforms} holds other clips than {path} was computed from; expected the same, so run dvc repro "
                "instead"
            )
        expected = attributes_of(source, spec, layout, made_by)
        if {**expected, "clips": source.clips} != attributes:
            raise InputError(f"what {path} says of itself contradicts itself; delete it and run dvc repro")
        anew, tasks = begin(source, aside, spec, layout, made_by, cache)
        return _mend(path, anew, lambda number: tasks[number].run().checksum)


def repair_waveforms(path: Path, npz: Path, advance: Callable[[int], None]) -> list[str]:
    """Take broken shards of a waveform store from the npz again.

    Parameters
    ----------
    path : Path
        A waveform store under the name of its set.
    npz : Path
        The file that it was split from.
    advance : callable
        Told the number of clips of each block of the npz that was looked at.

    Returns
    -------
    list of str
        Files that were replaced or removed.

    Raises
    ------
    InputError
        If the npz is another one now, or the store is not named after a set.
    """
    if path.stem not in SETS:
        raise InputError(f"{path} is not named after a set; expected one of {', '.join(SETS)}, so rename it")
    inflated = path.with_name("samples")
    with scratch(inflated) as samples, open_source(npz, samples) as source, scratch(path) as aside:
        with _understanding(path):
            attributes = _attributes(path)
            digest, split = attributes["digest"], attributes["split"]
            spec = msgspec.convert(split, SplitSpec)
        divided = divide_source(npz, source, spec, advance)
        if divided.fingerprint_of(path.stem) != digest:
            raise InputError(
                f"{npz} holds other clips than {path} was split from; expected the same, so run dvc repro instead"
            )
        rows = divided.division.rows[path.stem]
        columns = ClipColumns(divided.labels_of(path.stem), rows, divided.digests_of(path.stem))
        anew = create_waveform_store(aside, columns, digest, split)

        def copy(number: int) -> Checksum:
            start, stop = anew.shards[number]
            return anew.write(number, source.read(rows[start:stop]))

        return _mend(path, anew, copy)


@contextmanager
def _understanding(path: Path) -> Iterator[None]:
    """Turn what a store says of itself and nobody can make sense of into a sentence."""
    try:
        yield
    except (KeyError, TypeError, ValueError):
        raise InputError(f"what {path} says of itself makes no sense; delete it and run dvc repro") from None


def _attributes(path: Path) -> dict[str, Any]:
    """What a store says of itself, from whichever of its two records is unharmed."""
    try:
        return Manifest.read(path).attributes
    except ManifestError:
        pass
    try:
        return attributes_in(path)
    except (OSError, ValueError, KeyError, RecursionError):
        raise InputError(
            f"neither {MANIFEST} nor zarr.json of {path} can be read, so nobody knows how it was made; delete it and "
            "run dvc repro"
        ) from None


def _mend(path: Path, anew: StoreWriter, compute: Callable[[int], Checksum]) -> list[str]:
    """Put right what is wrong with a store, file by file, each in one step.

    ``anew`` is the same store on the same file system, all but its shards; ``compute`` puts a shard into it.
    """
    unlinked: list[str] = []
    try:
        recorded = Manifest.read(path)
    except ManifestError:
        recorded = None
    for name in files_in(path):
        if (path / name).is_dir():  # a link to a folder elsewhere, which stays
            (path / name).unlink()
            unlinked.append(name)
    faulty = {fault.name for fault in verify(path, workers=1).faults}  # as things stand now that nobody else is at it
    suspects = []
    for number in range(len(anew.shards)):
        name = anew.shard_name(number)
        if recorded and name not in faulty:
            anew.add_shard(number, recorded.shards[number])
            continue
        computed = compute(number)
        if recorded and computed != recorded.shards[number]:
            raise _unrepeatable(path, name)
        anew.add_shard(number, computed)
        suspects.append(name)
    anew.finalize()
    small = anew.small_files
    if recorded:
        for name in faulty & small.keys():
            if small[name] != recorded.files[name]:
                raise _unrepeatable(path, name)
        suspects += faulty & small.keys()
    else:
        suspects += [*small, MANIFEST]
    belonging = {*small, MANIFEST, *map(anew.shard_name, range(len(anew.shards)))}
    unexpected = [name for name in files_in(path) if name not in belonging]
    for name in unexpected:
        _move_out(path, name)
    changed = [name for name in suspects if _differ(anew.path / name, path / name)]
    for name in changed:
        _replace(anew.path / name, path / name)
    return sorted([*unlinked, *unexpected, *changed])


def _unrepeatable(path: Path, name: str) -> InputError:
    return InputError(
        f"{name} of {path} came out with other bytes than were recorded; another processor or library makes it "
        f"differently, so delete {path} and run dvc repro"
    )


def _differ(first: Path, second: Path) -> bool:
    return not second.is_file() or checksum(first) != checksum(second)


def _move_out(store: Path, name: str) -> None:
    """Move a file that does not belong in a store to :func:`strays_of` it, or delete it if it is empty or a link."""
    stray = store / name
    if stray.is_symlink() or not stray.stat().st_size:
        stray.unlink()
        return
    beside = strays_of(store) / name
    number = 0
    while beside.exists():
        number += 1
        beside = beside.with_name(f"{Path(name).name}.{number}")
    beside.parent.mkdir(parents=True, exist_ok=True)
    stray.rename(beside)


def _replace(source: Path, target: Path) -> None:
    if target.is_dir():
        for folder in (*sorted(target.rglob("*"), reverse=True), target):
            folder.rmdir()  # the files in it have been moved out
    target.parent.mkdir(parents=True, exist_ok=True)
    source.replace(target)
