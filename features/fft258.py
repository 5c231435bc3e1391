"""Spectra of frames of 258 samples, which is the default; compiled.

258 is 2 x 3 x 43, and general transforms are slow at it because 43 is prime. Here

- Good's algorithm makes of a frame a transform of six samples, for each of 43, and then one of 43, for each of those
  six, without twiddle factors in between, if samples and bins are taken in the right order;
- Rader's makes of a transform of 43 two cyclic convolutions of 21 values with constants: of the sums, and of the
  differences, of what lies as far from the first sample on either side. The powers of 9 modulo 43 are 21 numbers, one
  of each such pair, as -1 is none of them. Bins are taken in the order of its powers, samples in that of its inverse's;
- Good's makes of a cyclic convolution of 21 values one of 3 x 7, and Winograd's needs four products for three, so four
  convolutions of seven do where by rote there were nine.

Frames stand side by side and loops go along them, so bins come to lie as they are stored. No lock of Python's is held.

I. J. Good, "The interaction algorithm and practical Fourier analysis", Journal of the Royal Statistical Society B 20
(1958), 361-372. C. M. Rader, "Discrete Fourier transforms when the number of data samples is prime", Proceedings of the
IEEE 56 (1968), 1107-1108. S. Winograd, "On computing the discrete Fourier transform", Mathematics of Computation 32
(1978), 175-199.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from features.compiled import compiled

N_FFT = 258
"""Length of a frame, in samples."""

_inlined = njit(nogil=True, fastmath={"contract"}, inline="always")
"""Compiles a function as part of the one that calls it; on its own it would be compiled once more."""

_LANES = 64
"""Frames side by side: a multiple of what a processor works on at once, and few enough for its own cache."""
_SEVEN = 7 * _LANES
_L1, _L2, _L3, _L4, _L5 = (np.uint64(_LANES * number) for number in range(1, 6))
"""Where rows of lanes begin. With signs, sums could be negative and count from the end, which no vector can."""


def _powers(sign: int) -> NDArray[np.int64]:
    """0, then powers of 9 (or of its inverse) modulo 43 as convolutions take them, then what is opposite to those.

    The j-th power stands where a table of 3 x 7 has row j modulo 3 and column j modulo 7.
    """
    order = np.zeros(43, np.int64)
    for j in range(21):
        place = 1 + 7 * (j % 3) + j % 7
        order[place] = pow(9, sign * j, 43)
        order[-place] = 43 - order[place]
    return order


def _convolved() -> NDArray[np.float32]:
    """What sums and differences are convolved with: cosines and sines, shape (2, 4, 14), each seven twice over."""
    a, b, c = (2 * np.pi / 43 * _powers(1)[1:22]).reshape(3, 7)
    a, b, c = (np.stack([np.cos(angles), np.sin(angles)]) for angles in (a, b, c))
    return np.tile(np.stack([(a + b + c) / 3, a - c, b - c, a - b], axis=1), 2).astype(np.float32)


def _bins() -> NDArray[np.int64]:
    """Which bin each output is, shape (4, 43). Of six outputs the last two are conjugates of others.

    A bin is known by its remainders: by 6, which of those outputs it comes from, and by 43, which of these.
    """
    every = np.arange(N_FFT)
    bins = np.empty((6, 43), np.int64)
    bins[every % 6, every % 43] = np.minimum(every, N_FFT - every)
    return bins[:4, _powers(1)]


_SAMPLES = (6 * _powers(-1)[:, None] + 43 * np.arange(6)) % N_FFT
"""Which samples meet in each transform of six, shape (43, 6)."""
_CONVOLVED = _convolved()
_BINS = _bins()


def magnitudes_258(
    clips: NDArray[np.float32], window: NDArray[np.float32], hop_length: int, out: NDArray[np.float32]
) -> None:
    """Compute the magnitudes of centred frames of clips that are taken to be zero beyond their ends.

    Parameters
    ----------
    clips : float32 array, shape (clips, samples)
    window : float32 array, shape (258,)
    hop_length : int
        Samples from one frame to the next.
    out : float32 array, shape (clips, 130, time), contiguous
        Is filled.
    """
    hops = np.empty((hop_length, _LANES + (N_FFT - 1) // hop_length), np.float32)
    starts = _SAMPLES % hop_length * hops.shape[1] + _SAMPLES // hop_length
    _compute(clips, starts.astype(np.uint64), window[_SAMPLES], _CONVOLVED, _BINS, hops, out)


@compiled
def _compute(
    clips: NDArray[np.float32],
    starts: NDArray[np.uint64],
    weights: NDArray[np.float32],
    convolved: NDArray[np.float32],
    bins: NDArray[np.int64],
    hops: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None:
    padded = np.empty(hops.size, np.float32)
    sixes = np.empty((2, 6 * _LANES), np.float32)
    folded = np.empty((2, 6, 22 * _LANES), np.float32)
    spectra = np.zeros((2, 6, 22 * _LANES), np.float32)
    bands = spectra.reshape((2, 6, 22, _LANES))
    sums = np.empty(4 * _SEVEN, np.float32)
    products = np.empty(4 * _SEVEN, np.float32)
    for clip in range(len(clips)):
        for first in range(0, out.shape[2], _LANES):
            _lay_out(clips[clip], first * len(hops) - N_FFT // 2, padded, hops)
            _fold(hops.reshape(-1), starts, weights, sixes, folded)
            for which in range(2):
                for part in range(6):
                    _transform_43(folded[which, part], convolved[which], sums, products, spectra[which, part])
                    if which == 0:  # the sines of the 0-th bin are zero
                        _add_up(folded[0, part], sums, spectra[0, part])
            _unfold(bands[0], bands[1], bins, out[clip], first)


@_inlined
def _lay_out(clip: NDArray[np.float32], start: int, padded: NDArray[np.float32], hops: NDArray[np.float32]) -> None:
    """Lay a clip out, from a sample on, so that the same sample of every frame stands in a row."""
    for i in range(padded.size):
        padded[i] = clip[start + i] if 0 <= start + i < clip.size else np.float32(0)
    hop_length, columns = hops.shape
    for row in range(hop_length):
        for column in range(columns):
            hops[row, column] = padded[column * hop_length + row]


@_inlined
def _fold(
    samples: NDArray[np.float32],
    starts: NDArray[np.uint64],
    weights: NDArray[np.float32],
    sixes: NDArray[np.float32],
    folded: NDArray[np.float32],
) -> None:
    """Transform six samples at a time; keep sums and differences of those as far from the first on either side."""
    for m in range(len(starts) // 2 + 1):
        for side in range(2):
            _transform_6(samples, starts[-m if side else m], weights[-m if side else m], sixes[side])
        for part in range(6):
            for t in range(_LANES):
                near, far = sixes[0, part * _LANES + t], sixes[1, part * _LANES + t]
                folded[0, part, m * _LANES + t] = near + far
                folded[1, part, m * _LANES + t] = near - far


@_inlined
def _transform_6(
    samples: NDArray[np.float32], start: NDArray[np.uint64], weight: NDArray[np.float32], out: NDArray[np.float32]
) -> None:
    """Transform six samples. Kept are outputs 0 and 3, which are real, then both parts of 1 and of 2."""
    half, root = np.float32(0.5), np.float32(0.75**0.5)
    s0, s1, s2, s3, s4, s5 = start[0], start[1], start[2], start[3], start[4], start[5]
    w0, w1, w2, w3, w4, w5 = weight[0], weight[1], weight[2], weight[3], weight[4], weight[5]
    for t in range(_L1):
        a0, b0 = samples[s0 + t] * w0, samples[s3 + t] * w3
        a1, b1 = samples[s1 + t] * w1, samples[s4 + t] * w4
        a2, b2 = samples[s2 + t] * w2, samples[s5 + t] * w5
        even0, even1, even2 = a0 + b0, a1 + b1, a2 + b2
        odd0, odd1, odd2 = a0 - b0, a1 - b1, a2 - b2
        out[t] = even0 + (even1 + even2)
        out[_L1 + t] = odd0 - (odd1 - odd2)
        out[_L2 + t] = odd0 + half * (odd1 - odd2)
        out[_L3 + t] = -root * (odd1 + odd2)
        out[_L4 + t] = even0 - half * (even1 + even2)
        out[_L5 + t] = -root * (even1 - even2)


@_inlined
def _transform_43(
    folded: NDArray[np.float32],
    convolved: NDArray[np.float32],
    sums: NDArray[np.float32],
    products: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None:
    """Multiply 22 folded samples by the cosines, or the sines, of each bin but the 0-th, and add them up."""
    a, b, c = folded[_LANES:], folded[_LANES + _SEVEN :], folded[_LANES + 2 * _SEVEN :]
    for i in range(_SEVEN):
        sums[i] = a[i] + b[i] + c[i]
        sums[_SEVEN + i] = a[i] - c[i]
        sums[2 * _SEVEN + i] = b[i] - c[i]
        sums[3 * _SEVEN + i] = a[i] - b[i]
    for which in range(4):
        _convolve_7(convolved[which], sums[which * _SEVEN :], products[which * _SEVEN :])
    half, third = np.float32(1 / 2), np.float32(1 / 3)
    for row in range(7):
        for t in range(_LANES):
            i = row * _LANES + t
            rest0 = products[_SEVEN + i] - products[2 * _SEVEN + i]
            rest1 = products[_SEVEN + i] - products[3 * _SEVEN + i]
            # The first sample is as far from itself on either side, and so was taken twice.
            last = half * folded[t] + products[i] - third * (rest0 + rest1)
            out[_LANES + i] = last + rest0
            out[_LANES + _SEVEN + i] = last + rest1
            out[_LANES + 2 * _SEVEN + i] = last


@_inlined
def _convolve_7(h: NDArray[np.float32], x: NDArray[np.float32], out: NDArray[np.float32]) -> None:
    """Convolve seven values with constants, cyclically."""
    for t in range(_LANES):
        for i in range(7):
            product = np.float32(0)
            for j in range(7):
                product += h[7 + i - j] * x[j * _LANES + t]
            out[i * _LANES + t] = product


@_inlined
def _add_up(folded: NDArray[np.float32], sums: NDArray[np.float32], out: NDArray[np.float32]) -> None:
    """The 0-th bin: all samples, of which threes of pairs were added up already."""
    for t in range(_LANES):
        out[t] = np.float32(1 / 2) * folded[t]
        for j in range(7):
            out[t] += sums[j * _LANES + t]


@_inlined
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
                re, im = cosines[part, k, t], sines[part, k, t]
                magnitudes[t] = np.sqrt(re * re + im * im)
        for part in range(2, 6, 2):
            for sign in range(-1, 2, 2):
                magnitudes = out[bins[part // 2, sign * k], first : first + count]
                for t in range(count):
                    re = cosines[part, k, t] + np.float32(sign) * sines[part + 1, k, t]
                    im = cosines[part + 1, k, t] - np.float32(sign) * sines[part, k, t]
                    magnitudes[t] = np.sqrt(re * re + im * im)
