"""Spectra of frames of any length: ducc0 transforms frames side by side, compiled loops cut them and take magnitudes.

No lock of Python's is held.
"""

from typing import Any

import numpy as np
from ducc0.fft import r2c
from numpy.typing import NDArray

from features.compiled import compiled

BATCH_CLIPS = 4
"""Clips transformed at once: their frames and spectra stay in the processor's own cache."""


def general_magnitudes(
    clips: NDArray[np.float32], window: NDArray[np.float32], hop_length: int, out: NDArray[np.float32]
) -> None:
    """Compute the magnitudes of centred frames of clips that are taken to be zero beyond their ends.

    Parameters
    ----------
    clips : float32 array, shape (clips, samples)
    window : float32 array, shape (n_fft,)
    hop_length : int
        Samples from one frame to the next.
    out : float32 array, shape (clips, n_fft // 2 + 1, time), contiguous
        Is filled.
    """
    _, frequencies, times = out.shape
    batch_clips = min(BATCH_CLIPS, len(clips))
    frames = np.empty((batch_clips, times, window.size), np.float32)
    spectra = np.empty((batch_clips, frequencies, times), np.complex64)
    for start in range(0, len(clips), BATCH_CLIPS):
        batch = clips[start : start + BATCH_CLIPS]
        count = len(batch)
        _windowed_frames(batch, window, hop_length, frames[:count])
        r2c(frames[:count], axes=(2,), out=spectra[:count].transpose(0, 2, 1), nthreads=1)
        _absolute(spectra[:count], out[start : start + count])


@compiled
def _windowed_frames(
    clips: NDArray[np.float32], window: NDArray[np.float32], hop_length: int, frames: NDArray[np.float32]
) -> None:
    """Cut centred frames out of clips that are taken to be zero beyond their ends, times the window."""
    n_fft, samples = window.size, clips.shape[1]
    for clip in range(clips.shape[0]):
        for time in range(frames.shape[1]):
            first = time * hop_length - n_fft // 2
            frame = frames[clip, time]
            if first >= 0 and first + n_fft <= samples:
                within = clips[clip, first : first + n_fft]
                for sample in range(n_fft):
                    frame[sample] = within[sample] * window[sample]
            else:
                for sample in range(n_fft):
                    at = first + sample
                    frame[sample] = clips[clip, at] * window[sample] if 0 <= at < samples else np.float32(0)


@compiled
def _absolute(spectra: NDArray[np.complex64], out: NDArray[np.float32]) -> None:
    """Take the absolute value of each number; both arrays are contiguous."""
    flat: Any = spectra.reshape(-1)
    flat_out: Any = out.reshape(-1)
    for i in range(flat.size):
        number = flat[i]
        flat_out[i] = np.sqrt(number.real * number.real + number.imag * number.imag)
