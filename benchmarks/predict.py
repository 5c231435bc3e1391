"""Prediction: one recording against loading TensorFlow and the network, and a folder of recordings.

    uv run python benchmarks/predict.py base

takes a trained network of the project and makes its own recordings.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import soundfile

from features.audio.clips import prepare
from pipeline.commands.models.network import find_network
from pipeline.commands.models.predict import BATCH_FILES

ROUNDS = 5
FILES = 1000
RATE_HZ = 16000


def seconds(*command: str) -> float:
    """How long a command takes."""
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - started


def main() -> None:
    """Measure and print."""
    model = sys.argv[1] if len(sys.argv) > 1 else "base"
    predict = (sys.executable, "-m", "pipeline.commands.models", "predict", "--model", model)
    load = (
        "import os; os.environ['TF_CPP_MIN_LOG_LEVEL'] = '3'; import tensorflow, keras; "
        f"keras.models.load_model('artifacts/{model}/model.keras', compile=False)"
    )
    with tempfile.TemporaryDirectory() as folder:
        rng = np.random.default_rng(0)
        for number in range(FILES):
            soundfile.write(Path(folder, f"{number:04}.wav"), rng.uniform(-0.1, 0.1, RATE_HZ), RATE_HZ)
        first = str(Path(folder, "0000.wav"))
        pairs = [(seconds(sys.executable, "-c", load), seconds(*predict, first)) for _ in range(ROUNDS)]
        ratios = [one / loading for loading, one in pairs]
        loading, one = (statistics.median(each) for each in zip(*pairs, strict=True))
        print(f"one recording: {one:.1f} s; importing TensorFlow and loading {model}: {loading:.1f} s")
        print(f"ratio: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}, {ROUNDS} rounds)")
        many = seconds(*predict, "--json", folder) - one
        print(f"{FILES} recordings of 1 s: {FILES / many:,.0f} files/s beyond the start")
        network = find_network(model)
        files = sorted(Path(folder).iterdir())
        started = time.perf_counter()
        with ThreadPoolExecutor() as pool:
            clips = list(pool.map(lambda file: prepare(file.read_bytes(), network.corpus, "loudest")[0], files))
        waves = np.concatenate(clips)
        print(f"  reading and resampling alone: {FILES / (time.perf_counter() - started):,.0f} files/s")
        started = time.perf_counter()
        for start in range(0, FILES, BATCH_FILES):
            network.transform(waves[start : start + BATCH_FILES])
        print(f"  the transform alone: {FILES / (time.perf_counter() - started):,.0f} clips/s")
        classify = network.load()
        classify(waves[:BATCH_FILES])
        started = time.perf_counter()
        for start in range(0, FILES, BATCH_FILES):
            classify(waves[start : start + BATCH_FILES])
        print(f"  transform and network alone: {FILES / (time.perf_counter() - started):,.0f} clips/s")


if __name__ == "__main__":
    main()
