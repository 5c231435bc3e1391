"""Spectra of frames of 6 b samples by the prime-factor algorithm, where b has no factor in common with 6; compiled.

The default is such a length, 258 = 6 x 43, and general transforms are slow at it because 43 is prime. Here a transform
is one of six samples, for each of b, and then one of b, for each of those six, with nothing in between, if samples and
bins are taken in the right order. The former is written out. The latter is two products of matrices: cosines times
sums, and sines times differences, of what lies as far from the first sample on either side. Every loop goes along
frames, which stand side by side, so bins come to lie as they are stored. No lock of Python's is held.

I. J. Good, "The interaction algorithm and practical Fourier analysis", Journal of the Royal Statistical Society B 20
(1958), 361-372.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import gcd
from typing import Self

import numpy as np
from numba import njit
from numpy.typing import NDArray

_LONGEST = 318
"""Up to this length a general transform was never measured to be quicker."""
_LANES = 64
"""Frames side by side: a multiple of what a processor works on at once, and few enough for its own cache."""
_ROWS, _COLUMNS = 2, 4
"""How much of a matrix is worked on at once, in registers. Matrices are filled up to a multiple with zeros."""


def suits(n_fft: int) -> bool:
    """Whether frames of so many samples can be transformed here, and quicker than by a general transform."""
    return n_fft <= _LONGEST and n_fft % 6 == 0 and gcd(n_fft // 6, 6) == 1


@dataclass(frozen=True, eq=False)
class _Plan:
    """What is the same for all frames of 6 b samples."""

    samples: NDArray[np.int64]
    """Which samples meet in each transform of six, shape (b, 6)."""
    waves: NDArray[np.float32]
    """Cosines and sines, shape (2, b // 2 + 1, b // 2 + 1), filled up."""
    bins: NDArray[np.int64]
    """Which bin each output is, shape (4, b). Of six, the last two are conjugates of others."""

    @classmethod
    @lru_cache(maxsize=4)
    def of(cls, n_fft: int) -> Self:
        b = n_fft // 6
        half = np.arange(b // 2 + 1)
        angles = 2 * np.pi * (np.outer(half, half) % b) / b
        waves = np.zeros((2, _filled_up(half.size, _ROWS), _filled_up(half.size, _COLUMNS)), np.float32)
        waves[:, : half.size, : half.size] = np.cos(angles), np.sin(angles)
        waves[:, :, 0] /= 2  # the first sample is as far from itself on either side, and so comes twice
        # A bin is known by its remainders: by six, which output of those it comes from, and by b, which of these.
        every = np.arange(n_fft)
        bins = np.empty((6, b), np.int64)
        bins[every % 6, every % b] = np.minimum(every, n_fft - every)
        return cls((6 * np.arange(b)[:, None] + b * np.arange(6)) % n_fft, waves, bins[:4])


def _filled_up(count: int, multiple: int) -> int:
    return -(-count // multiple) * multiple


def prime_factor_magnitudes(
    clips: NDArray[np.float32], window: NDArray[np.float32], hop_length: int, out: NDArray[np.float32]
) -> None:
    """Compute the magnitudes of centred frames of clips that are taken to be zero beyond their ends.

    Parameters
    ----------
    clips : float32 array, shape (clips, samples)
    window : float32 array, shape (n_fft,)
        Of a length that :func:`suits`.
    hop_length : int
        Samples from one frame to the next.
    out : float32 array, shape (clips, n_fft // 2 + 1, time), contiguous
        Is filled.
    """
    plan = _Plan.of(window.size)
    hops = np.empty((hop_length, _LANES + (window.size - 1) // hop_length), np.float32)
    starts = plan.samples % hop_length * hops.shape[1] + plan.samples // hop_length
    _compute(clips, starts.astype(np.uint64), window[plan.samples], plan.waves, plan.bins, hops, out)


@njit(nogil=True, cache=True, fastmath={"contract"})
def _compute(
    clips: NDArray[np.float32],
    starts: NDArray[np.uint64],
    weights: NDArray[np.float32],
    waves: NDArray[np.float32],
    bins: NDArray[np.int64],
    hops: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None:
    _, rows, columns = waves.shape
    before = 3 * len(starts)  # samples of a frame before its centre
    padded = np.empty(hops.size, np.float32)
    sixes = np.empty((2, 6, _LANES), np.float32)
    folded = np.zeros((2, columns, 6, _LANES), np.float32)
    spectra = np.empty((2, rows, 6, _LANES), np.float32)
    for clip in range(len(clips)):
        for first in range(0, out.shape[2], _LANES):
            _lay_out(clips[clip], first * len(hops) - before, padded, hops)
            _fold(hops.reshape(-1), starts, weights, sixes, folded)
            for which in range(2):
                _multiply(
                    waves[which],
                    folded[which].reshape((columns, 6 * _LANES)),
                    spectra[which].reshape((rows, 6 * _LANES)),
                )
            _unfold(spectra[0], spectra[1], bins, out[clip], first)


@njit(nogil=True)
def _lay_out(clip: NDArray[np.float32], start: int, padded: NDArray[np.float32], hops: NDArray[np.float32]) -> None:
    """Lay a clip out, from a sample on, so that the same sample of every frame stands in a row."""
    for i in range(padded.size):
        padded[i] = clip[start + i] if 0 <= start + i < clip.size else np.float32(0)
    hop_length, columns = hops.shape
    for row in range(hop_length):
        for column in range(columns):
            hops[row, column] = padded[column * hop_length + row]


@njit(nogil=True, fastmath={"contract"})
def _fold(
    samples: NDArray[np.float32],
    starts: NDArray[np.uint64],
    weights: NDArray[np.float32],
    sixes: NDArray[np.float32],
    folded: NDArray[np.float32],
) -> None:
    """Transform six samples at a time; keep sums and differences of those as far from the first on either side.

    Of the outputs of six these are kept: 0 and 3, which are real, then both parts of 1 and of 2.
    """
    half, root = np.float32(0.5), np.float32(0.75**0.5)
    lanes = np.uint64(_LANES)  # with signs, sums could be negative and count from the end, which no vector can
    for m in range(len(starts) // 2 + 1):
        for side in range(2):
            start, weight, out = starts[-m if side else m], weights[-m if side else m], sixes[side]
            s0, s1, s2, s3, s4, s5 = start[0], start[1], start[2], start[3], start[4], start[5]
            w0, w1, w2, w3, w4, w5 = weight[0], weight[1], weight[2], weight[3], weight[4], weight[5]
            for t in range(lanes):
                x0 = samples[s0 + t] * w0 + samples[s3 + t] * w3
                x1 = samples[s1 + t] * w1 + samples[s4 + t] * w4
                x2 = samples[s2 + t] * w2 + samples[s5 + t] * w5
                out[0, t] = x0 + (x1 + x2)
                out[4, t] = x0 - half * (x1 + x2)
                out[5, t] = -root * (x1 - x2)
            for t in range(lanes):
                x0 = samples[s0 + t] * w0 - samples[s3 + t] * w3
                x1 = samples[s1 + t] * w1 - samples[s4 + t] * w4
                x2 = samples[s2 + t] * w2 - samples[s5 + t] * w5
                out[1, t] = x0 - (x1 - x2)
                out[2, t] = x0 + half * (x1 - x2)
                out[3, t] = -root * (x1 + x2)
        for part in range(6):
            for t in range(_LANES):
                folded[0, m, part, t] = sixes[0, part, t] + sixes[1, part, t]
                folded[1, m, part, t] = sixes[0, part, t] - sixes[1, part, t]


@njit(nogil=True, fastmath={"contract"})
def _multiply(a: NDArray[np.float32], b: NDArray[np.float32], out: NDArray[np.float32]) -> None:
    """Multiply two matrices of which the first is small."""
    out[:] = 0
    for row in range(0, a.shape[0], _ROWS):
        for column in range(0, a.shape[1], _COLUMNS):
            u0, u1, u2, u3 = a[row, column], a[row, column + 1], a[row, column + 2], a[row, column + 3]
            v0, v1, v2, v3 = a[row + 1, column], a[row + 1, column + 1], a[row + 1, column + 2], a[row + 1, column + 3]
            for t in range(6 * _LANES):
                b0, b1, b2, b3 = b[column, t], b[column + 1, t], b[column + 2, t], b[column + 3, t]
                out[row, t] += u0 * b0 + u1 * b1 + u2 * b2 + u3 * b3
                out[row + 1, t] += v0 * b0 + v1 * b1 + v2 * b2 + v3 * b3


@njit(nogil=True, fastmath={"contract"})
def _unfold(
    cosines: NDArray[np.float32],
    sines: NDArray[np.float32],
    bins: NDArray[np.int64],
    out: NDArray[np.float32],
    first: int,
) -> None:
    """Put products with cosines and with sines together to magnitudes, of frames from the first on."""
    count = min(_LANES, out.shape[1] - first)
    for k in range(bins.shape[1] // 2 + 1):
        for part in range(2):
            magnitudes = out[bins[3 * part, k], first : first + count]
            for t in range(count):
                real, imaginary = cosines[k, part, t], sines[k, part, t]
                magnitudes[t] = np.sqrt(real * real + imaginary * imaginary)
        for output in range(1, 3):
            re, im = 2 * output, 2 * output + 1
            for sign in range(-1, 2, 2):
                magnitudes = out[bins[output, sign * k], first : first + count]
                for t in range(count):
                    real = cosines[k, re, t] + np.float32(sign) * sines[k, im, t]
                    imaginary = cosines[k, im, t] - np.float32(sign) * sines[k, re, t]
                    magnitudes[t] = np.sqrt(real * real + imaginary * imaginary)
