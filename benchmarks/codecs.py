"""What each codec makes of the features in a store: size, and time to compress and decompress a clip, on one core.

uv run python benchmarks/codecs.py data/features/train.zarr
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numcodecs import blosc

from features.store.reader import FeatureStore

CLIPS = 1024
ROUNDS = 5
SHUFFLES = {"byte": blosc.SHUFFLE, "bit": blosc.BITSHUFFLE}
CODECS = [("lz4", 1), ("lz4", 5), ("lz4", 9), ("zstd", 1), ("zstd", 3), ("blosclz", 5)]


def seconds(work: Callable[[], object]) -> float:
    """Median processor time of a few rounds."""
    taken = []
    for _ in range(ROUNDS):
        started = time.process_time()
        work()
        taken.append(time.process_time() - started)
    return statistics.median(taken)


def main() -> None:
    """Measure and print."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("store", type=Path)
    store = FeatureStore.open(arguments.parse_args().store)
    blosc.use_threads = False
    values = store.read(0, min(CLIPS, store.clips)).astype(np.float32)
    print(f"{'dtype':8} {'codec':10} {'shuffle':8} {'size':>7} {'compress':>12} {'decompress':>12}")
    for dtype in ("float32", "float16"):
        size = store.layout.chunk_clips
        chunks = [np.ascontiguousarray(values[at : at + size].astype(dtype)) for at in range(0, len(values), size)]
        raw = sum(chunk.nbytes for chunk in chunks)
        full = values.nbytes
        print(f"{dtype:8} {'none':10} {'':8} {raw / full:7.1%}")
        for codec, level in CODECS:
            for name, shuffle in SHUFFLES.items():
                measure(dtype, codec, level, name, shuffle, chunks, full)


def measure(dtype: str, codec: str, level: int, name: str, shuffle: int, chunks: list[np.ndarray], full: int) -> None:
    """Measure one codec and print a line."""
    clips = sum(map(len, chunks))

    def encode() -> list[bytes]:
        return [blosc.compress(chunk, codec.encode(), level, shuffle) for chunk in chunks]

    encoded = encode()
    room = np.empty_like(chunks[0])
    compress = seconds(encode) / clips
    decompress = seconds(lambda: [blosc.decompress(part, room) for part in encoded[:-1]]) / clips
    print(
        f"{dtype:8} {codec} {level:<{9 - len(codec)}} {name:8} {sum(map(len, encoded)) / full:7.1%} "
        f"{compress * 1e6:6.1f} us/clip {decompress * 1e6:6.1f} us/clip"
    )


if __name__ == "__main__":
    main()
