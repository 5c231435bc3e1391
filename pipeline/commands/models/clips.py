"""Labelled clips to score a network on, from any source."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.audio.decode import SCALED_PEAK
from features.corpus import Corpus, name_of_clip
from features.errors import InputError
from features.sources.npz import Source, open_source
from features.sources.recordings import Other, Rules, read_recordings
from features.store.reader import WaveformStore
from pipeline.shell.progress import progress
from pipeline.shell.stage import counted, default_workers, warn

TEST = Path("data/split/test.zarr")
LISTED = 5


@dataclass(frozen=True)
class Labelled:
    """Clips and their words."""

    names: list[str]
    """The file, or the row of the npz or store, of each clip."""
    labels: NDArray[np.integer[Any]]
    """Shape (clips,)."""
    read: Callable[[NDArray[np.int64]], NDArray[np.float32]]
    """From numbers of clips, shape (k,), to float32 (k, samples)."""


@contextmanager
def open_clips(source: Path, corpus: Corpus, other: Other) -> Iterator[Labelled]:
    """Open labelled clips: an npz, a waveform store, or a folder or archive of recordings.

    Raises
    ------
    InputError
        If the source cannot be read, or its clips are not those of the corpus.
    """
    with tempfile.TemporaryDirectory(prefix="clips-") as folder:
        scratch = Path(folder)
        if source.suffix == ".zarr":
            yield _of_store(source, corpus)
        elif source.suffix == ".npz":
            with _without_advice(), open_source(source, scratch / "samples", corpus) as npz:
                yield _of_npz(npz)
        else:
            yield _of_recordings(source, scratch, corpus, other)


@contextmanager
def _without_advice() -> Iterator[None]:
    """Leave out what an error advises to set in params.yaml, which a trained network does not read."""
    try:
        yield
    except InputError as error:
        sentence = str(error)
        if "params.yaml" in sentence:
            sentence = f"{sentence.partition(', so ')[0]}, which is what the network was trained for"
        raise InputError(sentence) from None


def _of_store(path: Path, corpus: Corpus) -> Labelled:
    store = WaveformStore.open(path)
    about = store.attributes
    found = (tuple(about["words"]), about["sample_rate_hz"], *store.shape)
    if found != (corpus.words, corpus.sample_rate_hz, corpus.clip_samples):
        raise InputError(
            f"the clips of {path} are not those that the network was trained for (words, rate or length differ); run "
            "dvc repro, or name other clips"
        )
    names = [name_of_clip(*clip) for clip in zip(store.source_rows.tolist(), store.recordings.tolist(), strict=True)]
    return Labelled(
        names, store.labels, lambda clips: np.concatenate([store.read(at, at + 1) for at in clips.tolist()])
    )


def _of_npz(npz: Source) -> Labelled:
    for remark in npz.warnings:
        warn(remark)
    with progress("examining", npz.clips) as advance:
        for start, block in npz.blocks():  # which compares the zip's checksum, too
            peaks = np.abs(block).max(axis=1)
            faulty = np.flatnonzero(~(peaks <= SCALED_PEAK))
            if faulty.size:
                raise InputError(
                    f"{npz.name_of(int(start + faulty[0]))} of {npz.path} holds NaN, or samples up to "
                    f"{peaks[faulty[0]]:g}; expected samples in [-1, 1], so divide them by their full scale or leave "
                    "the clip out"
                )
            advance(len(block))
    return Labelled([npz.name_of(row) for row in range(npz.clips)], npz.labels, npz.read)


def _of_recordings(source: Path, scratch: Path, corpus: Corpus, other: Other) -> Labelled:
    # Words that the corpus lacks are refused here, because this corpus is not that of params.yaml.
    rules = Rules(other="own" if other == "refuse" else other)
    with progress("reading", None, "files") as advance:
        journal = read_recordings(source, scratch, corpus, rules, workers=default_workers(), advance=advance, warn=warn)
    names: list[str] = []
    labels: list[int] = []
    places: list[tuple[int, int]] = []
    unusable: list[str] = []
    strange: set[str] = set()
    left_out = 0
    for entry in journal:
        if entry.refused:
            unusable.append(f"{entry.path} {entry.why}")
        else:
            left_out += not entry.clips
        for clip in range(entry.clips):
            if entry.word not in corpus.words:
                strange.add(entry.word)
                break
            names.append(entry.path)
            labels.append(corpus.words.index(entry.word))
            places.append((entry.part, entry.first + clip))
    if strange:
        raise InputError(
            f"{source} has words that the network does not know: {', '.join(sorted(strange)[:LISTED])}; expected "
            f"{', '.join(corpus.words)}, so choose --other unknown or leave-out"
        )
    if unusable:
        more = f"; and {len(unusable) - LISTED} more" if len(unusable) > LISTED else ""
        warn(f"{counted(len(unusable), 'recording')} cannot be used: {'; '.join(unusable[:LISTED])}{more}")
    if left_out:
        warn(f"{counted(left_out, 'file')} of {source} left out: no recordings, or not of the network's words")
    if not labels:
        raise InputError(
            f"{source} gives no clip; expected recordings in a folder for each word, such as {corpus.words[0]}/1.wav"
        )

    def read(clips: NDArray[np.int64]) -> NDArray[np.float32]:
        samples = corpus.clip_samples
        return np.stack(
            [
                np.fromfile(scratch / str(part), "<f4", samples, offset=4 * samples * at)
                for part, at in (places[clip] for clip in clips.tolist())
            ]
        )

    return Labelled(names, np.array(labels), read)
