"""What the ear asks of a clip: how loud, how much speech, how long the silence, how much is clipped."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FULL_SCALE = 0.999
"""A sample counts as clipped from this absolute value on."""
CLIPPED_S = 0.001
"""A clip with clipped samples of this length is suspicious."""
FRAME_S = 0.02
SPEECH_DB = 30.0
"""A frame is speech if it is at most this much quieter than the loudest of its clip ..."""
ROOM_DB = -60.0
"""... and louder than this, relative to full scale."""
SILENCE_DB = -120.0
"""Loudness of digital silence."""


@dataclass(frozen=True)
class Measures:
    """Of clips; every array has shape (clips,)."""

    loudness_db: NDArray[np.float32]
    """Root mean square relative to a full-scale square wave, in dB: 0 at most, -120 for digital silence."""
    speech_s: NDArray[np.float32]
    """From the first to the last frame of speech."""
    silence_s: NDArray[np.float32]
    """Of all frames that are not speech."""
    clipped_samples: NDArray[np.int64]
    """Samples at full scale."""
    clipped: NDArray[np.bool_]
    """Whether they are at least a millisecond."""


def count_clipped(waveforms: NDArray[np.float32], rate_hz: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Count the samples at full scale of each clip, (clips, samples), and tell whether they are a millisecond."""
    at_full_scale = (np.abs(waveforms) >= FULL_SCALE).sum(axis=1)
    return at_full_scale, at_full_scale >= CLIPPED_S * rate_hz


def measure(waveforms: NDArray[np.float32], rate_hz: int) -> Measures:
    """Measure clips by the energy of frames of 20 ms.

    Parameters
    ----------
    waveforms : float32 array, shape (clips, samples)
        In [-1, 1].
    rate_hz : int

    Examples
    --------
    >>> found = measure(np.repeat(np.float32([[0, 0.5]]), 4000, axis=1), 8000)
    >>> found.loudness_db.round(1).tolist(), found.speech_s.tolist(), found.silence_s.tolist()
    ([-9.0], [0.5], [0.5])
    """
    clips, samples = waveforms.shape
    size = min(max(round(FRAME_S * rate_hz), 1), samples)
    frames = samples // size
    squares = np.square(waveforms[:, : frames * size].reshape(clips, frames, size)).mean(axis=2)
    floor = 10 ** (SILENCE_DB / 10)
    frame_db = 10 * np.log10(np.maximum(squares, floor))
    speech = (frame_db >= frame_db.max(axis=1, keepdims=True) - SPEECH_DB) & (frame_db > ROOM_DB)
    any_speech = speech.any(axis=1)
    first, last = speech.argmax(axis=1), frames - speech[:, ::-1].argmax(axis=1)
    frame_s = size / rate_hz
    return Measures(
        (10 * np.log10(np.maximum(squares.mean(axis=1), floor))).astype(np.float32),
        np.where(any_speech, (last - first) * frame_s, 0).astype(np.float32),
        ((~speech).sum(axis=1) * frame_s).astype(np.float32),
        *count_clipped(waveforms, rate_hz),
    )
