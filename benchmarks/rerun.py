"""What `dvc repro` of the features costs: from an npz alone, with nothing to do, after changes that are to be cheap.

    uv run python benchmarks/rerun.py                       # 50,620 clips; DVC's run cache is off throughout
    uv run python benchmarks/rerun.py --clips 5000 --folder /scratch

The run from nothing is done before and after everything else, because machines do not keep their speed; shares are of
the mean of both. Before each run the disk is left to write what earlier ones gave it.

The table says where the time of the first run from nothing went. What DVC took is what its stages did not. Starting is
measured alone; reading, computing, encoding and hashing on one thread, over a sample, scaled to all clips and to the
threads that the stage uses. What is left of a stage is writing, and waiting for the disk.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec
import numpy as np
from features.heap import steady_heap
from ruamel.yaml import YAML
from xxhash import xxh3_64_hexdigest, xxh3_128_hexdigest

from features.featurize import read_waveforms
from features.sources.npz import open_source
from features.spectrogram import FeatureSpec, transform
from features.split.scan import digests_of
from features.split.sets import SETS
from features.store.layout import WAVEFORM_LAYOUT, StoreSpec, shard_ranges
from features.store.reader import FeatureStore, WaveformStore
from features.store.shard import write_shard

ROOT = Path(__file__).resolve().parent.parent
NPZ = "speech_wav_8000.npz"
SAMPLE_SHARDS = 40
WORKERS = len(os.sched_getaffinity(0))
PARTS = ("start", "read", "compute", "encode", "hash")
STARTS = {
    "split": "import pipeline.split",
    "featurize": (
        "import numpy, pipeline.featurize, dask.base, dask.callbacks, dask.delayed, dask.threaded\n"
        "from features.spectrogram import FeatureSpec, transform\n"
        "spec = FeatureSpec(kind='magnitude', n_fft=258, hop_length=64, window='hann')\n"
        "transform(numpy.zeros((1, 8000), numpy.float32), spec)"
    ),
}
"""What stages import, and compile where they must."""

Result = TypeVar("Result")


def make_repository(folder: Path, clips: int) -> None:
    """A copy of the product under git and DVC, and a user's npz."""
    ignore = shutil.ignore_patterns("__pycache__", "cache", "tmp", "*.local")
    for name in ("pipeline", "features", "models", ".dvc"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignore)
    for name in ("dvc.yaml", "params.yaml", ".gitignore", ".dvcignore"):
        shutil.copy(ROOT / name, folder / name)
    set_param(folder, "synthesize", "clips", clips)
    time_stages(folder)
    run(folder, "pipeline.synthesize")
    (folder / "data/demo/speech_wav_8000.npz").rename(folder / NPZ)
    set_param(folder, "data", "npz", NPZ)
    for command in (
        ["git", "init", "--quiet"],
        ["git", "config", "user.email", "benchmark@example.org"],
        ["git", "config", "user.name", "benchmark"],
        ["git", "add", "pipeline", "features", "models", ".dvc", "dvc.yaml", "params.yaml"],
        ["git", "commit", "--quiet", "--message", "start"],
    ):
        subprocess.run(command, cwd=folder, check=True)


def set_param(folder: Path, section: str, name: str, value: object) -> None:
    """Change one setting."""
    yaml = YAML(typ="safe")
    params = yaml.load(folder / "params.yaml")
    params[section][name] = value
    yaml.dump(params, folder / "params.yaml")


def append(path: Path, text: str) -> None:
    """Edit a module at its end."""
    path.write_text(path.read_text() + text)


def time_stages(folder: Path) -> None:
    """Make a `python` that notes how long each stage takes, for DVC to find first where that is asked for."""
    wrapper = folder / "bin/python"
    wrapper.parent.mkdir()
    wrapper.write_text(
        f'#!/bin/sh\nstart=$(date +%s%N)\n"{sys.executable}" "$@"\ncode=$?\n'
        f'echo "$2 $(($(date +%s%N) - start))" >> "{folder}/stages"\nexit $code\n'
    )
    wrapper.chmod(0o755)


def taken_by_stages(folder: Path) -> dict[str, float]:
    """Seconds that stages took which were timed, by module."""
    taken: dict[str, float] = {}
    for line in (folder / "stages").read_text().splitlines():
        module, nanoseconds = line.split()
        taken[module] = taken.get(module, 0.0) + int(nanoseconds) / 1e9
    return taken


def run(folder: Path, *command: str, python: Path = Path(sys.executable)) -> tuple[float, str]:
    """Run a module and time it; the stages that it runs find a `python`."""
    environment = {**os.environ, "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # with it every stage compiles every module anew
    command = (sys.executable, "-m", *command)
    started = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    return time.perf_counter() - started, done.stdout


def repro(folder: Path, python: Path = Path(sys.executable)) -> tuple[float, int, int]:
    """Bring features up to date: seconds, shards made and shards reused."""
    os.sync()
    seconds, out = run(folder, "dvc", "repro", "--no-run-cache", "featurize", python=python)
    lines = [line for line in out.splitlines() if line.startswith(("featurize: ", "split: "))]
    made = sum(int(re.search(r"(\d+) shards (computed|written)", line)[1]) for line in lines)
    return seconds, made, sum(int(re.search(r"(\d+) reused", line)[1]) for line in lines)


def forget(folder: Path) -> None:
    """Remove whatever runs left, compiled code too, and make the npz a file that nobody knows."""
    for path in [*folder.rglob("__pycache__"), *map(folder.joinpath, ("data/split", "data/features", ".cache"))]:
        shutil.rmtree(path)
    shutil.rmtree(folder / ".dvc/cache")
    (folder / "dvc.lock").unlink()
    os.utime(folder / NPZ)


def median_run(folder: Path, repeats: int, change: Callable[[], None]) -> tuple[float, int, int]:
    """Change something and bring features up to date, again and again; the run of median time."""
    runs = []
    for _ in range(repeats):
        change()
        runs.append(repro(folder))
    return sorted(runs)[repeats // 2]


class Clock:
    """Seconds by what they were spent on."""

    def __init__(self) -> None:
        self.taken = dict.fromkeys(PARTS, 0.0)

    def spend(self, part: str, work: Callable[[], Result]) -> Result:
        """Do something and add its time to a part."""
        started = time.perf_counter()
        result = work()
        self.taken[part] += time.perf_counter() - started
        return result

    def move(self, start: str, end: str, work: Callable[[], object]) -> None:
        """Do again what was counted as one part, and count it as another."""
        before = self.taken[end]
        self.spend(end, work)
        self.taken[start] -= self.taken[end] - before

    def make_shard(self, chunks: list[np.ndarray], layout: StoreSpec) -> None:
        """Encode and hash a shard, one after the other."""
        sink = Sink()
        self.spend("encode", lambda: write_shard(sink, chunks, layout))
        self.move(
            "encode", "hash", lambda: [(xxh3_128_hexdigest(part), xxh3_64_hexdigest(part)) for part in sink.parts]
        )

    def scaled(self, factor: float) -> dict[str, float]:
        """What all clips take, if these took that."""
        return {part: max(seconds, 0.0) * factor for part, seconds in self.taken.items()}


class Sink:
    """A file that keeps what is written, without a copy."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def write(self, content: bytes) -> None:
        """Keep it."""
        self.parts.append(content)


def parts_of_split(folder: Path) -> dict[str, float]:
    """Where split's time goes: it examines on one thread, and writes on all."""
    examining, writing = Clock(), Clock()
    with open_source(folder / NPZ, folder / "inflated") as source:
        rows = np.random.default_rng(0).permutation(source.clips)
        blocks = source.blocks()
        limit = min(SAMPLE_SHARDS * WAVEFORM_LAYOUT.shard_clips, source.clips)
        looked = 0
        while looked < limit:
            _, block = examining.spend("read", lambda: next(blocks))
            examining.move("read", "hash", lambda block=block: zlib.crc32(block))
            examining.spend("hash", lambda block=block: digests_of(block))
            examining.spend("compute", lambda block=block: np.abs(block).max(axis=1))
            looked += len(block)
        for start, stop in shard_ranges(looked, WAVEFORM_LAYOUT.shard_clips):
            waves = writing.spend("read", lambda start=start, stop=stop: source.read(rows[start:stop]))
            writing.spend("hash", lambda waves=waves: digests_of(waves))
            chunks = [waves[a:b] for a, b in shard_ranges(len(waves), WAVEFORM_LAYOUT.chunk_clips)]
            writing.make_shard(chunks, WAVEFORM_LAYOUT)
        scale = source.clips / looked
    examined, written = examining.scaled(scale), writing.scaled(scale / WORKERS)
    return {part: examined[part] + written[part] for part in PARTS}


def parts_of_featurize(folder: Path) -> dict[str, float]:
    """Where featurize's time goes, on its threads."""
    clock = Clock()
    source = WaveformStore.open(folder / "data/split/train.zarr")
    store = FeatureStore.open(folder / "data/features/train.zarr")
    spec = msgspec.convert(store.attributes["features"], FeatureSpec)
    transform(np.zeros((1, 8000), np.float32), spec)  # compiles
    shards = source.shards[:SAMPLE_SHARDS]
    for start, stop in shards:
        waves = clock.spend("read", lambda start=start, stop=stop: read_waveforms(source, start, stop))
        chunks = [
            clock.spend("compute", lambda a=a, b=b, waves=waves: transform(waves[a:b], spec))
            for a, b in shard_ranges(stop - start, store.layout.chunk_clips)
        ]
        clock.make_shard(chunks, store.layout)
    clips = sum(FeatureStore.open(folder / f"data/features/{name}.zarr").clips for name in SETS)
    return clock.scaled(clips / shards[-1][1] / WORKERS)


def started(folder: Path, stage: str) -> float:
    """Seconds that a stage takes before it does anything, compiling if nothing is compiled."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", STARTS[stage]], cwd=folder, check=True)
    return time.perf_counter() - begun


def table(folder: Path, cold: float, stages: dict[str, float]) -> None:
    """Print where the time of the run from nothing went."""
    steady_heap()
    split, features = parts_of_split(folder), parts_of_featurize(folder)
    for path in folder.rglob("__pycache__"):
        shutil.rmtree(path)
    split["start"] = started(folder, "split")
    features["start"] = sum(started(folder, "featurize") for _ in SETS)
    columns = ((stages["pipeline.split"], split), (stages["pipeline.featurize"], features))
    print(f"\n{'where it went':44} {'split':>8} {'features':>8} {'together':>8}   of {cold:.1f} s")
    for part in PARTS:
        row(part, [known[part] for _, known in columns], cold)
    row("write, and wait for the disk", [whole - sum(known.values()) for whole, known in columns], cold)
    dvc = cold - sum(whole for whole, _ in columns)
    print(f"{'DVC: hashing the npz and the stores, linking':44} {'':8}   {'':8} {dvc:6.1f} s {dvc / cold:8.0%}")


def row(name: str, seconds: list[float], cold: float) -> None:
    """Print a line of the table."""
    print(f"{name:44} {seconds[0]:6.1f} s {seconds[1]:6.1f} s {sum(seconds):6.1f} s {sum(seconds) / cold:8.0%}")


def measure(folder: Path, clips: int, repeats: int) -> None:
    """Measure in a folder and print."""
    make_repository(folder, clips)
    first = repro(folder, folder / "bin/python")
    stages = taken_by_stages(folder)
    runs = {"nothing to do": median_run(folder, repeats, lambda: None)}
    module = folder / "features/spectrogram.py"
    runs["a comment in the transform's module"] = median_run(
        folder, repeats, lambda: append(module, "\n# A comment.\n")
    )
    for what, name in (("new code elsewhere", "store"), ("new code elsewhere that split uses, too", "publish")):
        module = folder / f"features/{name}.py"
        runs[what] = median_run(
            folder, repeats, lambda module=module: append(module, f"\n_UNUSED = {time.time_ns()}\n")
        )
    for what, n_fft in (("n_fft 258 to 512", 512), ("n_fft 512 back to 258", 258)):
        set_param(folder, "features", "n_fft", n_fft)
        runs[what] = repro(folder)
    table(folder, first[0], stages)
    forget(folder)
    last = repro(folder)
    cold = (first[0] + last[0]) / 2
    print(f"\n{clips:,} clips")
    for what, (seconds, made, reused) in {"from an npz": first, "from an npz, at the end": last, **runs}.items():
        print(f"{what:44} {seconds:6.1f} s {seconds / cold:8.1%}  {made:4} made, {reused:4} reused")


def main() -> None:
    """Measure and print."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--clips", type=int, default=50_620)
    arguments.add_argument("--repeats", type=int, default=5, help="runs of what is cheap; the median is told")
    arguments.add_argument("--folder", type=Path, help="where to put the data; a temporary folder by default")
    chosen = arguments.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.folder) as name:
        measure(Path(name), chosen.clips, chosen.repeats)


if __name__ == "__main__":
    main()
