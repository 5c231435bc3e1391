"""Labelled clips to score a network on, from any source."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.corpus import Corpus
from features.errors import InputError
from features.sources.npz import open_source
from features.sources.recordings import Other, Rules, read_recordings
from features.store.reader import WaveformStore
from pipeline.shell.progress import progress
from pipeline.shell.stage import counted, default_workers, warn

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
            with open_source(source, scratch / "samples", corpus) as npz:
                for remark in npz.warnings:
                    warn(remark)
                yield Labelled([f"row {row}" for row in range(npz.clips)], npz.labels, npz.read)
        else:
            yield _of_recordings(source, scratch, corpus, other)


def _of_store(path: Path, corpus: Corpus) -> Labelled:
    store = WaveformStore.open(path)
    about = store.attributes
    found = (tuple(about["words"]), about["sample_rate_hz"], *store.shape)
    if found != (corpus.words, corpus.sample_rate_hz, corpus.clip_samples):
        raise InputError(
            f"the clips of {path} are not those that the network was trained for (words, rate or length differ); run "
            "dvc repro, or name other clips"
        )
    names = [f"row {row}" for row in store.source_rows]
    return Labelled(
        names, store.labels, lambda clips: np.concatenate([store.read(at, at + 1) for at in clips.tolist()])
    )


def _of_recordings(source: Path, scratch: Path, corpus: Corpus, other: Other) -> Labelled:
    with progress("reading", None, "files") as advance:
        rules = Rules(other=other)
        journal = read_recordings(source, scratch, corpus, rules, workers=default_workers(), advance=advance, warn=warn)
    names: list[str] = []
    labels: list[int] = []
    places: list[tuple[int, int]] = []
    unusable: list[str] = []
    left_out = 0
    for entry in journal:
        left_out += not entry.clips
        if entry.refused:
            unusable.append(f"{entry.path} {entry.why}")
        for clip in range(entry.clips):
            names.append(entry.path)
            labels.append(corpus.words.index(entry.word))
            places.append((entry.part, entry.first + clip))
    if unusable:
        warn(f"{counted(len(unusable), 'recording')} cannot be used: {'; '.join(unusable[:LISTED])}")
    if left_out:
        warn(f"{counted(left_out, 'file')} of {source} left out: no recordings, or not of the network's words")
    if not labels:
        raise InputError(
            f"{source} gives no clip; expected recordings in a folder for each word, such as {corpus.words[0]}/"
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
