"""Featurizing a set: the features of each of its clips, as a store that is filled shard by shard."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from features.build import Outcome, Task, fill, tasks_of
from features.errors import InputError
from features.fingerprint import Version, current_version, settings_hash, shard_key
from features.spectrogram import KINDS, FeatureSpec, transform
from features.store.cache import ShardCache
from features.store.layout import StoreSpec
from features.store.reader import WaveformStore
from features.store.writer import ClipColumns, FeatureAxes, StoreWriter, create_feature_store


@dataclass(frozen=True)
class FeatureMaker:
    """Computes features of a waveform store, on this machine or on another that sees the same files."""

    waveforms: Path
    waveforms_digest: str
    spec: FeatureSpec
    chunk_clips: int
    made_by: Version

    def __call__(self, start: int, stop: int) -> Iterator[NDArray[np.float32]]:
        """Compute the features of clips ``start`` to ``stop``, a chunk at a time, each in the memory of the last.

        Raises
        ------
        InputError
            If the waveforms are damaged, or what is installed here would compute something else.
        """
        installed = current_version()
        if self.made_by != installed:
            raise InputError(
                f"these features are to be computed by {self.made_by}, but what is installed here is "
                f"{installed}; expected the same code and libraries, so install this project's environment on "
                "every worker, or run dvc repro to compute the whole set anew"
            )
        source = _open_waveforms(self.waveforms, self.waveforms_digest)
        chunk = np.empty((self.chunk_clips, *self.spec.shape(*source.shape)), np.float32)
        rate_hz = source.attributes["sample_rate_hz"]
        for clips in cut(waveform_pieces(source, start, stop), self.chunk_clips):
            yield transform(clips, self.spec, chunk[: len(clips)], sample_rate_hz=rate_hz)


@lru_cache(maxsize=1)
def _open_waveforms(path: Path, digest: str) -> WaveformStore:
    """Open a waveform store once for all tasks of a process, if it holds the clips that the digest was taken of."""
    store = WaveformStore.open(path)
    if store.attributes["digest"] != digest:
        raise InputError(f"{path} was made anew while its features were being computed; run this again")
    return store


def attributes_of(source: WaveformStore, spec: FeatureSpec, layout: StoreSpec, made_by: Version) -> dict[str, Any]:
    """How a feature store describes itself."""
    return {
        "features": spec.used,
        "store": msgspec.to_builtins(layout),
        "made_by": msgspec.to_builtins(made_by),
        "unit": KINDS[spec.kind].unit,
        "spec_hash": settings_hash(spec.used, source.attributes["sample_rate_hz"], layout, made_by),
        "source_digest": source.attributes["digest"],
        "split": source.attributes["split"],
        "words": source.attributes["words"],
        "sample_rate_hz": source.attributes["sample_rate_hz"],
        "clip_seconds": source.attributes["clip_seconds"],
        "speakers_known": source.attributes["speakers_known"],
    }


def begin(
    source: WaveformStore, target: Path, spec: FeatureSpec, layout: StoreSpec, made_by: Version, cache: ShardCache
) -> tuple[StoreWriter, list[Task]]:
    """Begin the feature store of a waveform store; the tasks are what it still lacks, one for each shard."""
    (samples,), rate_hz = source.shape, source.attributes["sample_rate_hz"]
    if spec.n_fft > samples:
        raise InputError(
            f"features.n_fft is {spec.n_fft} and a clip has {samples} samples; expected at most that, so lower it in "
            "params.yaml"
        )
    try:
        axes = FeatureAxes(*spec.axes(samples, rate_hz), "coefficient" if spec.kind == "mfcc" else "Hz")
        transform(np.zeros((1, samples), np.float32), spec, sample_rate_hz=rate_hz)
    except ValueError as error:
        raise InputError(f"{error}, in params.yaml") from None
    attributes = attributes_of(source, spec, layout, made_by)
    columns = ClipColumns(source.labels, source.source_rows, source.digests, source.recordings)
    store = create_feature_store(target, axes, layout, columns, attributes)
    keys = [shard_key(attributes["spec_hash"], columns.digests[start:stop]) for start, stop in store.shards]
    waveforms = source.path.absolute()
    make = FeatureMaker(waveforms, attributes["source_digest"], spec, layout.chunk_clips, made_by)
    return store, tasks_of(store, keys, cache, make)


def featurize(
    waveforms: Path,
    target: Path,
    spec: FeatureSpec,
    layout: StoreSpec,
    cache: ShardCache,
    *,
    workers: int,
    scheduler: str | None = None,
    advance: Callable[[int], None] = lambda clips: None,
) -> list[Outcome]:
    """Compute the features of a waveform store into a new feature store, with :func:`features.build.fill`.

    Raises
    ------
    InputError
        If ``waveforms`` is not a waveform store or a shard of it is damaged, or a worker has other code or libraries.
    """
    store, tasks = begin(WaveformStore.open(waveforms), target, spec, layout, current_version(), cache)
    return fill(store, tasks, workers=workers, scheduler=scheduler, advance=advance)


def waveform_pieces(store: WaveformStore, start: int, stop: int) -> Iterator[NDArray[np.float32]]:
    """Read clips ``start`` to ``stop`` in order, in the pieces that they lie in, without copying them.

    Yields
    ------
    float32 array, shape (clips, 8000)
        Not to be written to.

    Raises
    ------
    InputError
        If a shard is not what was written.
    """
    for number in range(start // store.layout.shard_clips, -(-stop // store.layout.shard_clips)):
        for first, chunk in store.read_checked(number):
            piece = chunk[max(start - first, 0) : max(stop - first, 0)]
            if len(piece):
                yield piece


def cut(pieces: Iterable[NDArray[np.float32]], clips: int) -> Iterator[NDArray[np.float32]]:
    """Cut a row of arrays anew, so that each holds ``clips`` clips and the last what is left.

    Copies only where clips of more than one piece come together.

    Examples
    --------
    >>> three, two = np.zeros((3, 1), np.float32), np.ones((2, 1), np.float32)
    >>> [part[:, 0].tolist() for part in cut([three, two], 2)]
    [[0.0, 0.0], [0.0, 1.0], [1.0]]
    """
    held: list[NDArray[np.float32]] = []
    for piece in pieces:
        rest = piece
        while len(rest):
            room = clips - sum(map(len, held))
            held.append(rest[:room])
            rest = rest[room:]
            if len(held[-1]) == room:
                yield held[0] if len(held) == 1 else np.concatenate(held)
                held = []
    if held:
        yield np.concatenate(held)
