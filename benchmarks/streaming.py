"""Shuffled batches for training: this project against tf.data's usual ways, in one run, on the same features.

    uv run python benchmarks/streaming.py                       # 12,800 clips, five rounds
    uv run python benchmarks/streaming.py --clips 25600 --folder /scratch
    uv run python benchmarks/streaming.py --codec lz4           # of a compressed store

Every way gives batches of 32 float32 features of (130, 126, 1) and int64 labels. The page cache is warm, except in the
last part: there the store's files are dropped from it before each pass, and reading them whole is the ceiling.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import numpy as np
import tensorflow as tf
from end_to_end import LAYOUT, SPEC, WORKERS, read_all, synced, write_waveforms

from features.featurize import featurize
from features.store.cache import ShardCache
from features.store.layout import StoreSpec
from features.store.reader import FeatureStore
from features.stream.batches import training_batches

BATCH = 32
SHUFFLED_CLIPS = 2048
"""Buffer of element-wise shuffling: 134 MB."""
READ_CLIPS = {"from_generator, clip by clip": 2_000}
"""How many clips to measure; all others give one epoch."""


def write_records(store: FeatureStore, folder: Path) -> list[str]:
    """Write the same clips as TFRecord files of serialised examples."""
    folder.mkdir()
    labels = store.labels
    for number, (start, stop) in enumerate(store.shards):
        with tf.io.TFRecordWriter(str(folder / f"{number:05}")) as writer:
            for label, clip in zip(labels[start:stop], store.read(start, stop), strict=True):
                parts = {
                    "features": tf.train.Feature(bytes_list=tf.train.BytesList(value=[clip.tobytes()])),
                    "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[int(label)])),
                }
                writer.write(tf.train.Example(features=tf.train.Features(feature=parts)).SerializeToString())
    return sorted(str(path) for path in folder.iterdir())


def records(files: list[str], shape: tuple[int, ...]) -> tf.data.Dataset:
    """TFRecord: files in random order, a shuffle buffer, whole batches parsed at once."""
    form = {"features": tf.io.FixedLenFeature([], tf.string), "label": tf.io.FixedLenFeature([], tf.int64)}

    def parse(serialized: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        parsed = tf.io.parse_example(serialized, form)
        return tf.reshape(tf.io.decode_raw(parsed["features"], tf.float32), (BATCH, *shape, 1)), parsed["label"]

    dataset = tf.data.Dataset.from_tensor_slices(files).shuffle(len(files)).repeat()
    dataset = dataset.interleave(tf.data.TFRecordDataset, cycle_length=4, num_parallel_calls=tf.data.AUTOTUNE)
    dataset = dataset.shuffle(SHUFFLED_CLIPS).batch(BATCH, drop_remainder=True)
    return dataset.map(parse, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def in_memory(features: np.ndarray, labels: np.ndarray, parallel: int | None) -> tf.data.Dataset:
    """All clips in memory, shuffled whole."""
    dataset = tf.data.Dataset.from_tensor_slices((features, labels)).shuffle(SHUFFLED_CLIPS).repeat()
    return dataset.batch(BATCH, num_parallel_calls=parallel, drop_remainder=True).prefetch(tf.data.AUTOTUNE)


def clip_by_clip(features: np.ndarray, labels: np.ndarray) -> tf.data.Dataset:
    """A Python generator of single clips, of arrays in memory."""

    def clips() -> Iterator[tuple[np.ndarray, np.int64]]:
        while True:
            for clip in np.random.default_rng(0).permutation(len(labels)):
                yield features[clip], labels[clip]

    spec = (tf.TensorSpec(features.shape[1:], tf.float32), tf.TensorSpec((), tf.int64))
    dataset = tf.data.Dataset.from_generator(clips, output_signature=spec)
    return dataset.batch(BATCH, drop_remainder=True).prefetch(tf.data.AUTOTUNE)


def clips_per_second(dataset: tf.data.Dataset, clips: int, warm: int = 20) -> float:
    """Take so many clips, after some batches that do not count."""
    iterator = iter(dataset)
    for _ in range(warm):
        next(iterator)
    started = time.perf_counter()
    for _ in range(clips // BATCH):
        next(iterator)
    rate = (clips // BATCH) * BATCH / (time.perf_counter() - started)
    del iterator  # an endless one must not live when the interpreter ends
    return rate


def forget(folder: Path) -> None:
    """Drop a folder's files from the page cache."""
    synced(folder)
    for path in folder.rglob("*"):
        if path.is_file():
            handle = os.open(path, os.O_RDONLY)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(handle)


def show(taken: dict[str, list[float]], ours: str) -> None:
    """Print a table; the ratio is ours to each, round by round."""
    print(f"{'':34} {'least':>8} {'median':>8} {'most':>8} clips/s   {ours} to it, median (range)")
    for way, rates in taken.items():
        ratios = [mine / each for mine, each in zip(taken[ours], rates, strict=True)]
        print(
            f"{way:34} {min(rates):8,.0f} {statistics.median(rates):8,.0f} {max(rates):8,.0f}           "
            f"{statistics.median(ratios):5.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        )


def measure(folder: Path, clips: int, rounds: int, layout: StoreSpec) -> None:
    """Measure in a folder and print."""
    source = write_waveforms(folder / "w.zarr", clips)
    featurize(source.path, folder / "f.zarr", SPEC, layout, ShardCache(folder / "cache"), workers=WORKERS)
    store = FeatureStore.open(folder / "f.zarr")
    files = write_records(store, folder / "records")
    features, labels = store.read(0, clips)[..., np.newaxis], store.labels.astype(np.int64)
    ways: dict[str, Callable[[], tf.data.Dataset]] = {
        "spoken-words": lambda: training_batches(store.path, BATCH, 0),
        "TFRecord with shuffle": lambda: records(files, store.shape),
        "in memory, batch(AUTOTUNE)": lambda: in_memory(features, labels, tf.data.AUTOTUNE),
        "in memory, batch(2)": lambda: in_memory(features, labels, 2),
        "in memory, batch()": lambda: in_memory(features, labels, None),
        "from_generator, clip by clip": lambda: clip_by_clip(features, labels),
    }
    for way in ways.values():
        clips_per_second(way(), 640)
    warm: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name, way in ways.items():
            warm.setdefault(name, []).append(clips_per_second(way(), READ_CLIPS.get(name, clips)))
    print(f"{clips:,} clips, {WORKERS} processors, page cache warm")
    show(warm, "spoken-words")
    cold: dict[str, list[float]] = {}
    for _ in range(rounds):
        forget(store.path)
        cold.setdefault("spoken-words", []).append(clips_per_second(training_batches(store.path, BATCH, 0), clips, 0))
        forget(store.path)
        started = time.perf_counter()
        read_all(store.path)
        cold.setdefault("reading the store's files", []).append(clips / (time.perf_counter() - started))
    print("from the disk")
    show(cold, "spoken-words")


def main() -> None:
    """Measure and print."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--clips", type=int, default=12_800)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--codec", default=LAYOUT.codec, help="store.codec of the features")
    arguments.add_argument("--folder", type=Path, help="where to put the data; a temporary folder by default")
    chosen = arguments.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.folder) as name:
        layout = msgspec.convert({**msgspec.to_builtins(LAYOUT), "codec": chosen.codec}, StoreSpec)
        measure(Path(name), chosen.clips, chosen.rounds, layout)


if __name__ == "__main__":
    main()
