"""Repairing a store: what :mod:`features.store.verify` found broken is computed again from the store's source.

A shard must come out with the checksum that was recorded, so a repaired store is the one that was made, to the byte.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from features.build import fill
from features.errors import InputError
from features.featurize import attributes_of, begin
from features.fingerprint import Version
from features.sources.npz import open_source
from features.spectrogram import FeatureSpec
from features.split.division import divide_source, write_set
from features.split.sets import SETS, SplitSpec
from features.store.cache import ShardCache, link
from features.store.layout import StoreSpec
from features.store.manifest import NAME as MANIFEST
from features.store.manifest import Manifest, ManifestError
from features.store.publish import scratch
from features.store.reader import WaveformStore, attributes_in, files_in
from features.store.shard import checksum
from features.store.writer import StoreWriter


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
    with scratch(path) as anew:
        with _parsing(path):
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
        if {**attributes_of(source, spec, layout, made_by), "clips": source.clips} != attributes:
            raise InputError(f"what {path} says of itself contradicts itself; delete it and run dvc repro")
        store, tasks = begin(source, anew, spec, layout, made_by, cache)
        intact = _take_intact(path, store)
        fill(store, [task for task in tasks if task.number not in intact], workers=1)
        return _replace_damaged(path, anew)


def repair_waveforms(path: Path, npz: Path, cache: ShardCache, advance: Callable[[int], None]) -> list[str]:
    """Take broken shards of a waveform store from the npz again.

    Parameters
    ----------
    path : Path
        A waveform store under the name of its set.
    npz : Path
        The file that it was split from.
    cache : ShardCache
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
    with scratch(path.with_name("samples")) as samples, open_source(npz, samples) as source, scratch(path) as anew:
        with _parsing(path):
            attributes = _attributes(path)
            digest = attributes["digest"]
            spec = msgspec.convert(attributes["split"], SplitSpec)
        division = divide_source(source, spec, advance)
        if division.fingerprint_of(path.stem) != digest:
            raise InputError(
                f"{npz} holds other clips than {path} was split from; expected the same, so run dvc repro instead"
            )
        write_set(anew, path.stem, source, division, cache, workers=1)
        return _replace_damaged(path, anew)


@contextmanager
def _parsing(path: Path) -> Iterator[None]:
    """Turn attributes that cannot be parsed into a sentence."""
    try:
        yield
    except (KeyError, TypeError, ValueError):
        raise InputError(f"what {path} says of itself makes no sense; delete it and run dvc repro") from None


def _attributes(path: Path) -> dict[str, Any]:
    """How a store describes itself: from its manifest, or from zarr.json if the manifest is damaged."""
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


def _manifest(path: Path) -> Manifest | None:
    try:
        return Manifest.read(path)
    except ManifestError:
        return None


def _take_intact(path: Path, store: StoreWriter) -> set[int]:
    """Link shards that are as the manifest records them into the new store; which they are."""
    recorded = _manifest(path)
    intact = set()
    for number, expected in enumerate(recorded.shards if recorded else ()):
        shard = path / store.shard_name(number)
        if shard.is_file() and not shard.parent.is_symlink() and checksum(shard) == expected:
            link(shard, store.shard_path(number))
            store.add_shard(number, expected)
            intact.add(number)
    return intact


def _replace_damaged(path: Path, anew: Path) -> list[str]:
    """Make a damaged store the same as a new one, file by file, each in one step.

    Returns
    -------
    list of str
        Files that were replaced, or moved out because they do not belong there.

    Raises
    ------
    InputError
        If a file came out differently from what the damaged store recorded; nothing is changed then.
    """
    made, recorded = Manifest.read(anew), _manifest(path)
    if recorded:
        differing = [name for name, known in made.files.items() if recorded.files.get(name) != known]
        differing += [str(number) for number, known in enumerate(made.shards) if recorded.shards[number] != known]
        if differing:
            raise _unrepeatable(path, differing[0])
    changed = []
    for name in files_in(path):
        if (path / name).is_dir():  # a link to a folder elsewhere, which stays
            (path / name).unlink()
            changed.append(name)
    wanted = files_in(anew)
    for name in files_in(path):
        if name not in wanted:
            _move_out(path, name)
            changed.append(name)
    for name in wanted:
        if not (path / name).is_file() or checksum(anew / name) != checksum(path / name):
            _replace(anew / name, path / name)
            changed.append(name)
    return sorted(changed)


def _unrepeatable(path: Path, name: str) -> InputError:
    return InputError(
        f"{name} of {path} came out with other bytes than were recorded; another processor or library makes it "
        f"differently, so delete {path} and run dvc repro"
    )


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
