"""What `dvc repro` of the features costs: from nothing, with nothing to do, after changes that should be nearly free.

    uv run python benchmarks/rerun.py                       # 50,620 clips; DVC's run cache is off throughout
    uv run python benchmarks/rerun.py --clips 5000 --folder /scratch

Then where the time of a run from nothing goes: each part on one thread, over a sample, scaled to all clips and threads.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from ruamel.yaml import YAML

from features.compute import read_waveforms
from features.heap import steady_heap
from features.layout import StoreSpec, shard_ranges
from features.sets import SETS
from features.shard import checksum_of, write_shard
from features.store import FeatureStore, WaveformStore
from features.transform import FeatureSpec, transform

ROOT = Path(__file__).resolve().parent.parent
SAMPLE_SHARDS = 40
WORKERS = len(os.sched_getaffinity(0))


def make_repository(folder: Path, clips: int) -> None:
    """A copy of the product under git and DVC, with its corpus made."""
    ignore = shutil.ignore_patterns("__pycache__", "cache", "tmp", "*.local")
    for name in ("pipeline", "features", "models", ".dvc"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignore)
    for name in ("dvc.yaml", "params.yaml", ".gitignore", ".dvcignore"):
        shutil.copy(ROOT / name, folder / name)
    set_param(folder, "synthesize", "clips", clips)
    for command in (
        ["git", "init", "--quiet"],
        ["git", "config", "user.email", "benchmark@example.org"],
        ["git", "config", "user.name", "benchmark"],
        ["git", "add", "--all"],
        ["git", "commit", "--quiet", "--message", "start"],
    ):
        subprocess.run(command, cwd=folder, check=True)


def set_param(folder: Path, section: str, name: str, value: object) -> None:
    """Change one setting."""
    yaml = YAML(typ="safe")
    params = yaml.load(folder / "params.yaml")
    params[section][name] = value
    yaml.dump(params, folder / "params.yaml")


def run(folder: Path, *command: str) -> tuple[float, str]:
    """Run a module and time it."""
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", *command], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    return time.perf_counter() - started, done.stdout


def repro(folder: Path, what: str, cold: float | None = None) -> float:
    """Bring features up to date and print a line of it, with its share of a cold run."""
    seconds, out = run(folder, "dvc", "repro", "--no-run-cache", *(f"featurize@{name}" for name in SETS))
    lines = [line for line in out.splitlines() if line.startswith("featurize: ")]
    shards = sum(int(line.split(" shards computed")[0].split()[-1]) for line in lines)
    reused = sum(int(line.split(" reused")[0].split()[-1]) for line in lines)
    share = f"{seconds / cold:7.1%}" if cold else ""
    print(f"{what:44} {seconds:6.1f} s  {shards:4} computed, {reused:4} reused {share}", flush=True)
    return seconds


def parts(folder: Path) -> None:
    """Print where the time of a cold featurize goes, on one thread."""
    steady_heap()
    source = WaveformStore.open(folder / "data/split/train.zarr")
    store = FeatureStore.open(folder / "data/features/train.zarr")
    spec = FeatureSpec.model_validate(store.attributes["features"])
    layout: StoreSpec = store.layout
    shards = min(SAMPLE_SHARDS, len(source.shards) - 1)
    taken = {"read and check": 0.0, "transform": 0.0, "encode": 0.0, "write": 0.0, "checksum": 0.0}
    chunk = np.empty((layout.chunk_clips, *spec.shape), np.float32)
    transform(np.zeros((1, 8000), np.float32), spec)
    (folder / "parts").mkdir()

    def spend(name: str, work: Callable[[], object]) -> object:
        started = time.perf_counter()
        result = work()
        taken[name] += time.perf_counter() - started
        return result

    for number in range(shards):
        start, stop = source.shards[number]
        clips = spend("read and check", lambda start=start, stop=stop: read_waveforms(source, start, stop))
        encoded = []
        for first, last in shard_ranges(stop - start, layout.chunk_clips):
            spend("transform", lambda first=first, last=last, clips=clips: transform(clips[first:last], spec, chunk))
            sink = Sink()
            spend("encode", lambda sink=sink: write_shard(sink, [chunk], layout))
            encoded.append(b"".join(sink.parts))
        content = b"".join(encoded)
        spend("checksum", lambda content=content: checksum_of(content))
        path = folder / "parts" / str(number)
        spend("write", lambda content=content, path=path: path.write_bytes(content))
    shutil.rmtree(folder / "parts")
    taken["encode"] -= taken["checksum"]  # writing a shard takes its checksum, too
    clips_all = sum(FeatureStore.open(folder / f"data/features/{name}.zarr").clips for name in SETS)
    scale = clips_all / (shards * layout.shard_clips)
    for name, seconds in taken.items():
        each = seconds * scale
        print(f"  {name:42} {each:6.1f} s on one thread, {each / WORKERS:6.1f} s on {WORKERS}")


class Sink:
    """A file that keeps what is written in memory, without a copy."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def write(self, content: bytes) -> None:
        """Keep it."""
        self.parts.append(content)


def main() -> None:
    """Measure and print."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--clips", type=int, default=50_620)
    arguments.add_argument("--folder", type=Path, help="where to put the data; a temporary folder by default")
    chosen = arguments.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.folder) as name:
        measure(Path(name), chosen.clips)


def measure(folder: Path, clips: int) -> None:
    """Measure in a folder and print."""
    make_repository(folder, clips)
    run(folder, "dvc", "repro", "--no-run-cache", "synthesize")
    split, _ = run(folder, "dvc", "repro", "--no-run-cache", "split")
    print(f"{'split, from nothing':44} {split:6.1f} s")
    features = repro(folder, "features, from nothing")
    cold = split + features
    nothing = repro(folder, "nothing to do", cold)
    path = folder / "features/transform.py"
    path.write_text(path.read_text() + "\n# A comment.\n")
    comment = repro(folder, "a comment in the transform's module", cold)
    path = folder / "features/store.py"
    path.write_text(path.read_text() + "\n\ndef _unused() -> int:\n    return 1\n")
    repro(folder, "new code elsewhere", cold)
    set_param(folder, "features", "n_fft", 512)
    repro(folder, "n_fft 258 to 512", cold)
    set_param(folder, "features", "n_fft", 258)
    repro(folder, "n_fft 512 back to 258", cold)
    print(f"the comment beyond a run with nothing to do: {comment - nothing:.1f} s, {(comment - nothing) / cold:.1%}")
    stages = 0.0
    shutil.rmtree(folder / ".cache")
    for name in SETS:
        shutil.rmtree(folder / f"data/features/{name}.zarr")
        stages += run(folder, "pipeline.featurize", name)[0]
    print(f"of {features:.1f} s of features: the stages alone {stages:.1f} s, DVC {features - stages:.1f} s; in them")
    parts(folder)


if __name__ == "__main__":
    main()
