"""Waveforms on disk to features on disk: against the notebook's loop, against writing as many bytes, in one run.

    uv run python benchmarks/end_to_end.py                       # 50,620 clips
    uv run python benchmarks/end_to_end.py --clips 8000 --folder /scratch

Each round measures everything once, one after the other, with fsync of every file inside the time. The notebook's loop
holds every spectrogram in memory, twice at the end: 6.6 GB at 50,620 clips.
"""

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import librosa
import numpy as np

from features.corpus import Corpus
from features.featurize import featurize
from features.spectrogram import FeatureSpec, transform
from features.store.cache import ShardCache
from features.store.layout import StoreSpec
from features.store.reader import FeatureStore, WaveformStore
from features.store.shard import checksum
from features.store.verify import verify
from features.store.writer import ClipColumns, create_waveform_store

SPEC = FeatureSpec(kind="magnitude", n_fft=258, hop_length=64, window="hann")
LAYOUT = StoreSpec(dtype="float32", chunk_clips=32, shard_clips=256, codec="none")
WORKERS = len(os.sched_getaffinity(0))


def speech_like(clips: int, rng: np.random.Generator) -> np.ndarray:
    """Clips that compress about as recorded speech does: bursts of coloured noise over a quiet background."""
    noise = rng.standard_normal((clips, Corpus().clip_samples)).astype(np.float32)
    coloured = np.cumsum(noise, axis=1)
    coloured -= coloured.mean(axis=1, keepdims=True)
    coloured /= np.abs(coloured).max(axis=1, keepdims=True)
    envelope = np.exp(-(((np.arange(Corpus().clip_samples) - rng.uniform(2500, 5500, (clips, 1))) / 1500) ** 2))
    return (0.5 * coloured * envelope + 0.002 * noise).astype(np.float32)


def write_waveforms(path: Path, clips: int) -> WaveformStore:
    """A waveform store of so many clips."""
    rng = np.random.default_rng(0)
    columns = ClipColumns(
        rng.integers(12, size=clips).astype(np.int8),
        np.arange(clips),
        rng.integers(256, size=(clips, 16)).astype(np.uint8),
    )
    draft = create_waveform_store(path, columns, "benchmark", {}, Corpus())
    for number, (start, stop) in enumerate(draft.shards):
        draft.write(number, speech_like(stop - start, rng))
    draft.finalize()
    return WaveformStore.open(path)


def synced(folder: Path) -> None:
    """Wait until every file of a folder is on the disk."""
    for path in [folder, *folder.rglob("*")]:
        handle = os.open(path, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)


def timed(work: Callable[[], object]) -> float:
    """Seconds that something takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def notebook(source: WaveformStore, folder: Path) -> None:
    """A librosa call for each clip, all kept in a list, saved at the end."""
    folder.mkdir()
    spectrograms = []
    for start, stop in source.shards:
        spectrograms += [np.abs(librosa.stft(wave, n_fft=SPEC.n_fft)) for wave in source.read(start, stop)]
    np.save(folder / "features.npy", np.array(spectrograms))
    synced(folder)


def ours(source: WaveformStore, folder: Path) -> None:
    """What the stage does, with an empty cache."""
    cache = ShardCache(folder / "cache")
    featurize(source.path, folder / "f.zarr", SPEC, LAYOUT, cache, workers=WORKERS)
    synced(folder)


def raw(sizes: list[int], folder: Path) -> None:
    """Write the same files, of bytes that are there already."""
    folder.mkdir()
    content = np.random.default_rng(0).bytes(max(sizes))
    for number, size in enumerate(sizes):
        with open(folder / str(number), "wb", buffering=0) as file:
            file.write(memoryview(content)[:size])
    synced(folder)


def read_all(folder: Path) -> None:
    """Read every file, a mebibyte at a time."""
    block = bytearray(1 << 20)
    for path in folder.rglob("*"):
        if path.is_file():
            with open(path, "rb", buffering=0) as file:
                while file.readinto(block):
                    pass


def main() -> None:
    """Measure and print."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--clips", type=int, default=50_620)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--folder", type=Path, help="where to put the data; a temporary folder by default")
    chosen = arguments.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.folder) as name:
        measure(Path(name), chosen.clips, chosen.rounds)


def measure(folder: Path, clips: int, rounds: int) -> None:
    """Measure in a folder and print."""
    source = write_waveforms(folder / "w.zarr", clips)
    synced(folder)
    transform(source.read(0, 1), SPEC)  # compiles
    ours(source, folder / "kept")
    store = FeatureStore.open(folder / "kept/f.zarr")
    sizes = [part.size for part in store.manifest.shards]
    taken: dict[str, list[float]] = {}
    for _ in range(rounds):
        ways: dict[str, Callable[[Path], None]] = {
            "raw bytes": lambda path: raw(sizes, path),
            "spoken-words": lambda path: ours(source, path),
            "the notebook's loop": lambda path: notebook(source, path),
        }
        for way, work in ways.items():
            place = folder / "round"
            taken.setdefault(way, []).append(timed(lambda work=work, place=place: work(place)))
            shutil.rmtree(place)
        taken.setdefault("reading it", []).append(timed(lambda: read_all(store.path)))
        taken.setdefault("verifying it", []).append(timed(lambda: verify(store.path, workers=WORKERS)))
        assert checksum(store.shard_path(0)) == store.manifest.shards[0]
    base = statistics.median(taken["spoken-words"])
    print(f"{clips:,} clips, {sum(sizes) / 1e6:,.0f} MB stored, {WORKERS} threads")
    print(
        f"{'':22} {'least':>8} {'median':>8} {'most':>8}   {'clips/s':>8} {'MB/s':>8}   of spoken-words, round by round"
    )
    for way, seconds in taken.items():
        middle = statistics.median(seconds)
        ratios = [each / mine for each, mine in zip(seconds, taken["spoken-words"], strict=True)]
        print(
            f"{way:22} {min(seconds):6.2f} s {middle:6.2f} s {max(seconds):6.2f} s   {clips / middle:8,.0f} "
            f"{sum(sizes) / middle / 1e6:8,.0f}   {middle / base:5.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        )


if __name__ == "__main__":
    main()
