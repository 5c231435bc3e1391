"""Peak memory of featurize at several sizes, two threads, each in a process of its own.

    uv run python benchmarks/memory.py                          # 5,000, 50,620 and 200,000 clips; 15 GB of disk
    uv run python benchmarks/memory.py --clips 1000 5000

Memory is the kernel's peak resident set of the process, the figure that `/usr/bin/time -v` prints. All shards of the
waveforms are links to one, so that making them costs nothing; every shard of features is computed all the same.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from features.corpus import Corpus
from features.store.writer import ClipColumns, create_waveform_store

ROOT = Path(__file__).resolve().parent.parent


def write_waveforms(path: Path, clips: int) -> None:
    """A waveform store whose whole shards are one and the same file."""
    rng = np.random.default_rng(0)
    columns = ClipColumns(
        rng.integers(12, size=clips).astype(np.int8),
        np.arange(clips),
        rng.integers(256, size=(clips, 16)).astype(np.uint8),
    )
    draft = create_waveform_store(path, columns, "benchmark", {}, Corpus())
    start, stop = draft.shards[0]
    waves = rng.uniform(-0.5, 0.5, (stop - start, 8000)).astype(np.float32)
    written = draft.write(0, waves)
    for number, (start, stop) in enumerate(draft.shards[1:], 1):
        if stop - start < len(waves):
            draft.write(number, waves[: stop - start])
        else:
            os.link(draft.shard_path(0), draft.shard_path(number))
            draft.add_shard(number, written)
    draft.finalize()


def main() -> None:
    """Measure and print."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--clips", type=int, nargs="+", default=[5_000, 50_620, 200_000])
    arguments.add_argument("--folder", type=Path, help="where to put the data; a temporary folder by default")
    chosen = arguments.parse_args()
    print(f"{'clips':>9} {'wall':>8} {'peak memory':>14}")
    for clips in chosen.clips:
        with tempfile.TemporaryDirectory(dir=chosen.folder) as name:
            folder = Path(name)
            shutil.copy(ROOT / "params.yaml", folder)
            (folder / "data/split").mkdir(parents=True)
            write_waveforms(folder / "data/split/train.zarr", clips)
            started = time.perf_counter()
            command = [sys.executable, "-m", "pipeline.featurize", "train", "--workers", "2"]
            environment = {**os.environ, "PYTHONPATH": str(ROOT)}
            process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode:
                raise SystemExit(f"featurize failed with exit code {process.returncode}")
            seconds = time.perf_counter() - started
            print(f"{clips:9,} {seconds:6.1f} s {usage.ru_maxrss / 1024:10,.0f} MiB", flush=True)


if __name__ == "__main__":
    main()
