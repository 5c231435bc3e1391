"""Measure each stage at full size: wall time, bytes written and peak memory, each in a process of its own.

    uv run python benchmarks/full_size.py                          # 50,620 and 12,000 clips, stored and deflated
    uv run python benchmarks/full_size.py --clips 2000 --folder /scratch

Needs about 15 GB in the folder at full size. Memory is the kernel's peak resident set of the process, the figure that
`/usr/bin/time -v` prints.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parent.parent
SETS = ("train", "validation", "test")
STREAM = """
import pipeline, resource
from pathlib import Path
import tensorflow as tf
from features.store.reader import FeatureStore
from features.stream.batches import training_batches

def peak_mib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

list(tf.data.Dataset.range(2).map(lambda number: tf.numpy_function(lambda n: n, (number,), tf.int64)))
before = peak_mib()
path = Path("data/features/train.zarr")
batches = iter(training_batches(path, 32, 0))
marks = []
for epoch in range(3):
    for _ in range(FeatureStore.open(path).clips // 32):
        next(batches)
    marks.append(f"{peak_mib() - before:.0f}")
del batches
print(f"{before:.0f} MiB with TensorFlow; {', '.join(marks)} MiB more at the most, after one, two and three epochs")
"""


@dataclass(frozen=True)
class Measured:
    """How one process went."""

    seconds: float
    peak_mib: float
    out: str


def measure(folder: Path, *command: str) -> Measured:
    """Run a command in a folder and ask the kernel what it took."""
    started = time.monotonic()
    with tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen([sys.executable, *command], cwd=folder, stdout=out)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        printed = out.read().strip()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed with exit code {process.returncode}")
    return Measured(time.monotonic() - started, usage.ru_maxrss / 1024, printed)


def size(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    return sum(file.stat().st_size for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file())


def deflate(source: Path, target: Path) -> None:
    """Write the same npz with compressed members."""
    with zipfile.ZipFile(source) as stored, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as out:
        for info in stored.infolist():
            with stored.open(info) as member, out.open(info.filename, "w", force_zip64=True) as written:
                shutil.copyfileobj(member, written, 1 << 22)


def row(name: str, clips: int, measured: Measured, written: int) -> None:
    """Print one line of the table."""
    print(
        f"{name:22} {clips:7,} {measured.seconds:8.1f} s {written / 1e6:8,.0f} MB {measured.peak_mib:6,.0f} MiB",
        flush=True,
    )


def run(folder: Path, clips: int) -> None:
    """Measure the stages on a corpus of so many clips."""
    for name in ("pipeline", "features", "models"):
        (folder / name).symlink_to(ROOT / name)
    params = YAML(typ="safe").load(ROOT / "params.yaml")
    params["synthesize"]["clips"] = clips
    stored = Path(params["data"]["npz"])
    deflated = stored.with_name("deflated.npz")

    def set_npz(path: Path) -> None:
        params["data"]["npz"] = str(path)
        YAML(typ="safe").dump(params, folder / "params.yaml")

    set_npz(stored)
    row("synthesize", clips, measure(folder, "-m", "pipeline.synthesize"), size(folder / stored))
    deflate(folder / stored, folder / deflated)
    set_npz(deflated)
    row("split, deflated npz", clips, measure(folder, "-m", "pipeline.split"), size(folder / "data/split"))
    (folder / deflated).unlink()
    shutil.rmtree(folder / ".cache")
    set_npz(stored)
    row("split, stored npz", clips, measure(folder, "-m", "pipeline.split"), size(folder / "data/split"))
    for name in SETS:
        measured = measure(folder, "-m", "pipeline.featurize", name)
        row(f"featurize {name}", clips, measured, size(folder / f"data/features/{name}.zarr"))
    if clips >= 30_000:
        print(f"streaming {clips:,} clips: {measure(folder, '-c', STREAM).out}")


def main() -> None:
    """Measure and print."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--clips", type=int, nargs="+", default=[12_000, 50_620])
    arguments.add_argument("--folder", type=Path, help="where to put the data; a temporary folder by default")
    chosen = arguments.parse_args()
    print(f"{'stage':22} {'clips':>7} {'wall':>10} {'written':>11} {'peak memory':>10}")
    for clips in chosen.clips:
        with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
            run(Path(folder), clips)


if __name__ == "__main__":
    main()
