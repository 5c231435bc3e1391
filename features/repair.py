"""Repairing a store: what :mod:`features.store.verify` found broken is made again from the store's source.

The whole store is made anew, from its intact shards and the shard cache where they have them. It takes the place of the
damaged one only if it has the checksums that were recorded, so a repaired store is the one that was made, to the byte.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from features.build import fill
from features.corpus import Corpus
from features.errors import InputError
from features.featurize import attributes_of, begin
from features.fingerprint import Version
from features.sources.npz import open_source
from features.spectrogram import FeatureSpec
from features.split.division import divide_source, write_set
from features.split.marks import Marks
from features.split.sets import SETS, SplitSpec
from features.store.cache import ShardCache, link
from features.store.layout import FEATURES, StoreSpec
from features.store.manifest import NAME as MANIFEST
from features.store.manifest import Manifest, ManifestError
from features.store.publish import publish, scratch
from features.store.reader import WaveformStore
from features.store.shard import checksum
from features.store.verify import files_in
from features.store.writer import StoreWriter

REPLACE = "delete it and run dvc repro, or copy it again if it is a copy"
"""What to do about a store that cannot be repaired."""


def strays_of(store: Path) -> Path:
    """Folder beside a store for files that were found in it and do not belong there."""
    return store.with_name(f"{store.name}.strays")


class _Featurized(msgspec.Struct):
    """What a feature store records of how it was made, as far as it takes to make it again."""

    source_digest: str
    features: FeatureSpec
    store: StoreSpec
    made_by: Version


class _Split(msgspec.Struct):
    """What a waveform store records of how it was made, as far as it takes to make it again."""

    digest: str
    split: SplitSpec
    words: tuple[str, ...]
    sample_rate_hz: int
    clip_seconds: float

    @property
    def corpus(self) -> Corpus:
        return Corpus(words=self.words, sample_rate_hz=self.sample_rate_hz, clip_seconds=self.clip_seconds)


Record = TypeVar("Record", _Featurized, _Split)


def repair_features(path: Path, waveforms: Path, cache: ShardCache) -> list[str]:
    """Make a feature store again from the waveform store that it was computed from.

    Returns
    -------
    list of str
        Files that were made again or removed.

    Raises
    ------
    InputError
        If the waveforms are others or damaged, or the store does not come out as it was recorded.
    """
    source = WaveformStore.open(waveforms)
    with _replacing(path) as (anew, changed):
        attributes = _attributes(path)
        made = _parsed(path, attributes, _Featurized)
        if source.attributes["digest"] != made.source_digest:
            raise InputError(
                f"{waveforms} holds other clips than {path} was computed from; expected the same, so {REPLACE}"
            )
        expected = attributes_of(source, made.features, made.store, made.made_by)
        if {**expected, "clips": source.clips} != attributes:
            raise InputError(f"the attributes of {path} contradict each other; {REPLACE}")
        store, tasks = begin(source, anew, made.features, made.store, made.made_by, cache)
        intact = _take_intact(path, store)
        fill(store, [task for task in tasks if task.number not in intact], workers=1)
    return changed


def repair_waveforms(
    path: Path, npz: Path, marks: Marks, cache: ShardCache, advance: Callable[[int], None]
) -> list[str]:
    """Make a waveform store, named after its set, again from the npz and the marks that it was split by.

    Parameters
    ----------
    path : Path
    npz : Path
    marks : dict
    cache : ShardCache
    advance : callable
        Told the number of clips of each block of the npz that was looked at.

    Returns
    -------
    list of str
        Files that were made again or removed.

    Raises
    ------
    InputError
        If the npz or the marks are others now, or the store is not named after a set.
    """
    if path.stem not in SETS:
        raise InputError(f"{path} is not named after a set; expected one of {', '.join(SETS)}, so rename it")
    made = _parsed(path, _attributes(path), _Split)
    with (
        scratch(path.with_name("samples")) as samples,
        open_source(npz, samples, made.corpus) as source,
        _replacing(path) as (anew, changed),
    ):
        division = divide_source(source, made.split, marks, advance)
        if division.fingerprint_of(path.stem) != made.digest:
            raise InputError(
                f"{npz} holds other clips than {path} was split from, or other clips are marked; expected the same, so "
                f"{REPLACE}"
            )
        write_set(anew, path.stem, source, division, cache, workers=1)
    return changed


def _attributes(path: Path) -> dict[str, Any]:
    """How a store was made: from its manifest, or from zarr.json if the manifest is damaged."""
    recorded = _manifest(path)
    if recorded:
        return recorded.attributes
    try:
        return dict(json.loads((path / "zarr.json").read_text())["attributes"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise InputError(
            f"neither {MANIFEST} nor zarr.json of {path} can be read, so how it was made is unknown; {REPLACE}"
        ) from None


def _parsed(path: Path, attributes: dict[str, Any], record: type[Record]) -> Record:
    try:
        return msgspec.convert(attributes, record)
    except msgspec.ValidationError:
        raise InputError(
            f"the attributes of {path} cannot be parsed, so how it was made is unknown; {REPLACE}"
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
        shard = path / FEATURES.shard_name(number)
        if shard.is_file() and checksum(shard) == expected:
            link(shard.resolve(), store.shard_path(number))
            store.add_shard(number, expected)
            intact.add(number)
    return intact


@contextmanager
def _replacing(path: Path) -> Iterator[tuple[Path, list[str]]]:
    """Give a path for a new store, which takes the place of a damaged one at the end.

    Yields
    ------
    Path
        Where to make it.
    list of str
        Empty; at the end, the files that the damaged store lacked, had otherwise, or had without being its own.

    Raises
    ------
    InputError
        If the new store is not what the damaged one recorded; nothing is changed then.
    """
    changed: list[str] = []
    with publish(path, guard=lambda target: None) as (anew,):
        yield anew, changed
        recorded = _manifest(path)
        if recorded and recorded != Manifest.read(anew):
            raise InputError(
                f"{path} came out with other bytes than were recorded; another processor or library makes it "
                f"differently, so {REPLACE}"
            )
        wanted = files_in(anew)
        strays = [name for name in files_in(path) if name not in wanted]
        differing = [
            name for name in wanted if not (path / name).is_file() or checksum(anew / name) != checksum(path / name)
        ]
        changed += sorted(strays + differing)
        for name in strays:
            _keep_stray(path, name)


def _keep_stray(store: Path, name: str) -> None:
    """Move a file that does not belong in a store to :func:`strays_of` it, unless it is empty or a link."""
    stray = store / name
    if stray.is_symlink() or not stray.stat().st_size:
        return
    beside = strays_of(store) / name
    number = 0
    while beside.exists():
        number += 1
        beside = beside.with_name(f"{Path(name).name}.{number}")
    beside.parent.mkdir(parents=True, exist_ok=True)
    stray.rename(beside)
