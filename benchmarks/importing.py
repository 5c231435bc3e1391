"""Importing a folder of recordings, against decoding the same files with soundfile alone on as many processes.

uv run python benchmarks/importing.py                   # 100,000 files of one second at 16 kHz; 3.3 GB of disk
uv run python benchmarks/importing.py --rate 8000       # the same, resampled to 8 kHz
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import soundfile

ROOT = Path(__file__).resolve().parent.parent
WORKERS = len(os.sched_getaffinity(0))
WORDS = ("yes", "no", "up", "down")
PARAMS = "corpus: {{words: [yes, 'no', up, down], sample_rate_hz: {rate}, clip_seconds: 1.0}}\n"


def make(folder: Path, files: int) -> None:
    """Files of noise that differ in their first samples."""
    sound = np.random.default_rng(0).uniform(-0.3, 0.3, 16000)
    for word in WORDS:
        (folder / word).mkdir(parents=True, exist_ok=True)
    for number in range(files):
        sound[0] = number / files
        soundfile.write(folder / WORDS[number % len(WORDS)] / f"{number // 40:05x}_nohash_{number}.wav", sound, 16000)


def decode(paths: list[str]) -> int:
    """Frames of all files."""
    return sum(len(soundfile.read(path, dtype="float32")[0]) for path in paths)


def decoding_s(folder: Path) -> float:
    """Seconds to decode every file."""
    paths = sorted(map(str, folder.rglob("*.wav")))
    batches = [paths[at : at + 64] for at in range(0, len(paths), 64)]
    started = time.perf_counter()
    with ProcessPoolExecutor(WORKERS) as pool:
        assert sum(pool.map(decode, batches)) == 16000 * len(paths)
    return time.perf_counter() - started


def importing(folder: Path, work: Path, rate: int) -> tuple[float, float]:
    """Seconds, and the largest process in MiB."""
    (work / "params.yaml").write_text(PARAMS.format(rate=rate))
    command = [sys.executable, "-m", "pipeline.import_recordings", str(folder), "out.npz", "--force"]
    started = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=work, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    assert status == 0
    return seconds, usage.ru_maxrss / 1024  # of the process and those it started


def main() -> None:
    """Make files, then time both ways."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--rate", type=int, default=16000, help="of the corpus, in Hz")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="where to make the files; a temporary folder by default")
    arguments = parser.parse_args()
    work = Path(tempfile.mkdtemp(dir=arguments.folder))
    try:
        print(f"{WORKERS} processes, files of one second at 16 kHz, corpus at {arguments.rate} Hz")
        for files in (arguments.files // 10, arguments.files):
            make(work / str(files), files)
            for _ in range(arguments.rounds):
                alone = decoding_s(work / str(files))
                seconds, peak = importing(work / str(files), work, arguments.rate)
                print(
                    f"{files:>7,} files  soundfile alone {files / alone:7,.0f}/s  import {files / seconds:7,.0f}/s "
                    f"({alone / seconds:.2f} of it)  {peak:.0f} MiB"
                )
    finally:
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
