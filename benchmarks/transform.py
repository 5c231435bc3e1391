"""Compare ways to compute the default spectrograms, on one core, in one run.

    uv run --group peers python benchmarks/transform.py

Every round times all of them one after the other, so that they share whatever else the machine does; the figures are
medians over rounds of processor time for 512 clips. Ways that are not installed are left out.
"""

# ruff: noqa: E402  (libraries read the number of threads when they are imported)
import os

for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[threads] = "1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import importlib.util
import time
from collections.abc import Callable

import librosa
import numpy as np
import scipy.fft
from numpy.lib.stride_tricks import sliding_window_view

from features.spectrogram import FeatureSpec, transform

SPEC = FeatureSpec(kind="magnitude", n_fft=258, hop_length=64, window="hann")
BATCH_CLIPS = 32
Way = Callable[[np.ndarray], np.ndarray]


def librosa_loop(clips: np.ndarray) -> np.ndarray:
    """A call for each clip, as the notebook did."""
    return np.stack([np.abs(librosa.stft(clip, n_fft=SPEC.n_fft)) for clip in clips])


def librosa_batched(clips: np.ndarray) -> np.ndarray:
    """A call for a batch."""
    return np.abs(librosa.stft(clips, n_fft=SPEC.n_fft))


def scipy_batched(clips: np.ndarray) -> np.ndarray:
    """Frames by NumPy, transformed by scipy's pocketfft."""
    padded = np.pad(clips, ((0, 0), (SPEC.n_fft // 2, SPEC.n_fft // 2)))
    frames = sliding_window_view(padded, SPEC.n_fft, axis=1)[:, :: SPEC.hop_length]
    window = np.hanning(SPEC.n_fft + 1)[:-1].astype(np.float32)
    return np.ascontiguousarray(np.abs(scipy.fft.rfft(frames * window, axis=2)).transpose(0, 2, 1))


def torch_batched() -> Way:
    """A call for a batch, centred and padded with zeros."""
    import torch

    torch.set_num_threads(1)
    window = torch.hann_window(SPEC.n_fft)

    def way(clips: np.ndarray) -> np.ndarray:
        spectra = torch.stft(
            torch.from_numpy(clips),
            SPEC.n_fft,
            SPEC.hop_length,
            window=window,
            center=True,
            pad_mode="constant",
            return_complex=True,
        )
        return spectra.abs().numpy()

    return way


def tensorflow_batched() -> Way:
    """A call for a batch of padded clips, then a transposition."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)

    @tf.function
    def graph(clips: tf.Tensor) -> tf.Tensor:
        padded = tf.pad(clips, [[0, 0], [SPEC.n_fft // 2, SPEC.n_fft // 2]])
        spectra = tf.signal.stft(padded, SPEC.n_fft, SPEC.hop_length, fft_length=SPEC.n_fft)
        return tf.transpose(tf.abs(spectra), [0, 2, 1])

    return lambda clips: graph(clips).numpy()


def ours(clips: np.ndarray) -> np.ndarray:
    """What featurize runs, into a buffer that is used again."""
    return transform(clips, SPEC, BUFFER[: len(clips)])


BUFFER = np.empty((BATCH_CLIPS, *SPEC.shape(8000)), np.float32)


def ways() -> dict[str, Way]:
    """What is installed."""
    found: dict[str, Way] = {
        "librosa, a call per clip": librosa_loop,
        "librosa, batches": librosa_batched,
        "scipy.fft, batches": scipy_batched,
    }
    if importlib.util.find_spec("torch"):
        found["torch.stft, batches"] = torch_batched()
    found["tf.signal.stft, batches"] = tensorflow_batched()
    found["spoken-words"] = ours
    return found


def main() -> None:
    """Measure and print."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=15)
    chosen = arguments.parse_args()
    clips = np.random.default_rng(0).uniform(-1, 1, (512, 8000)).astype(np.float32)
    reference = librosa_loop(clips[:BATCH_CLIPS])
    found = ways()
    taken: dict[str, list[float]] = {name: [] for name in found}
    errors = {name: np.abs(way(clips[:BATCH_CLIPS]) - reference).max() / reference.max() for name, way in found.items()}
    for _ in range(chosen.rounds):
        for name, way in found.items():
            started = time.process_time()
            for start in range(0, len(clips), BATCH_CLIPS):
                way(clips[start : start + BATCH_CLIPS])
            taken[name].append((time.process_time() - started) / len(clips))
    base = np.median(taken["librosa, a call per clip"])
    print(f"{'on one core':28} {'clips/s':>8} {'times the loop':>15} {'error':>9}")
    for name, seconds in taken.items():
        middle = float(np.median(seconds))
        print(f"{name:28} {1 / middle:8,.0f} {base / middle:15.2f} {errors[name]:9.1e}")


if __name__ == "__main__":
    main()
