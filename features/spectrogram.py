"""The kinds of features: clips in, spectrograms out. Knows no file.

The reference is librosa: for one clip, ``abs(librosa.stft(clip, n_fft=…, hop_length=…, window=…))``, which the tests
hold every setting against.
"""

from collections.abc import Callable
from typing import Annotated, Literal

import numpy as np
from ducc0.fft import r2c
from msgspec import Meta, Struct
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

WINDOWS: dict[str, Callable[[int], NDArray[np.float64]]] = {
    "hann": np.hanning,
    "hamming": np.hamming,
    "blackman": np.blackman,
    "boxcar": np.ones,
}


class FeatureSpec(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is computed from a clip. ``msgspec.convert`` checks what it is given; made directly, it is trusted."""

    kind: Literal["magnitude"]
    """``magnitude``: the absolute value of the short-time Fourier transform, linear, not compressed."""
    n_fft: Annotated[int, Meta(ge=2)]
    """Length of a frame and of its Fourier transform, in samples."""
    hop_length: Annotated[int, Meta(ge=1)]
    """Distance of one frame from the next, in samples."""
    window: Literal["hann", "hamming", "blackman", "boxcar"]

    def __post_init__(self) -> None:
        if self.hop_length > self.n_fft:
            raise ValueError(
                f"hop_length {self.hop_length} is longer than n_fft {self.n_fft}, so samples between frames would be "
                "lost; expected at most n_fft"
            )

    def shape(self, clip_samples: int) -> tuple[int, int]:
        """Shape of one clip's features: (frequency, time)."""
        centred = clip_samples + 2 * (self.n_fft // 2)
        return self.n_fft // 2 + 1, (centred - self.n_fft) // self.hop_length + 1

    def axes(self, clip_samples: int, sample_rate_hz: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Centre of each bin in Hz, and of each frame in seconds from the start of the clip."""
        bins, frames = self.shape(clip_samples)
        return np.arange(bins) * (sample_rate_hz / self.n_fft), np.arange(frames) * (self.hop_length / sample_rate_hz)


def transform(
    clips: NDArray[np.float32], spec: FeatureSpec, out: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """Compute the features of a batch of clips.

    Frames are centred on multiples of the hop, the clip is padded with zeros at both ends, and the window is periodic,
    as librosa does by default.

    Parameters
    ----------
    clips : float32 array, shape (clips, samples)
        Samples in [-1, 1].
    spec : FeatureSpec
    out : float32 array, shape (clips, frequency, time), optional
        Where to put the result, to save its allocation.

    Returns
    -------
    float32 array, shape (clips, frequency, time)
        Linear magnitudes, 0 or more.

    Raises
    ------
    ValueError
        If an array is of another shape or type.

    Examples
    --------
    >>> spec = FeatureSpec(kind="magnitude", n_fft=258, hop_length=64, window="hann")
    >>> transform(np.zeros((2, 8000), np.float32), spec).shape
    (2, 130, 126)
    """
    if clips.dtype != np.float32 or clips.ndim != 2:
        raise ValueError(f"clips are {clips.dtype} {clips.shape}; expected float32 (clips, samples)")
    samples = clips.shape[1]
    shape = (len(clips), *spec.shape(samples))
    features = np.empty(shape, np.float32) if out is None else out
    if features.dtype != np.float32 or features.shape != shape:
        raise ValueError(f"out is {features.dtype} {features.shape}; expected float32 {shape}")
    window = WINDOWS[spec.window](spec.n_fft + 1)[:-1].astype(np.float32)  # one longer and cut: periodic
    pad = spec.n_fft // 2
    padded = np.zeros(samples + 2 * pad, np.float32)
    # Samples of a frame lie along the first axis and frames along the last, so the result needs no transposing.
    frames = sliding_window_view(padded, spec.n_fft)[:: spec.hop_length].T
    windowed = np.empty(frames.shape, np.float32)
    spectrum = np.empty(shape[1:], np.complex64)
    # Clip by clip, because ducc0 rounds a frame differently depending on how many others it comes with.
    for clip, feature in zip(clips, features, strict=True):
        padded[pad : pad + samples] = clip
        np.multiply(frames, window[:, np.newaxis], out=windowed)
        r2c(windowed, axes=(0,), out=spectrum)
        np.abs(spectrum, out=feature)
    return features
