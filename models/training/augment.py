"""Augmentation: clips varied anew each time the network hears them, in training alone.

What a front end gives is varied, a batch at a time, inside the training step. Every draw is a function of seed and
step, so a resumed training hears what it would have heard. Noise is added to the power of a clip, and gain to its
decibels. Two small matrices a clip, whose rows interpolate linearly, move values in time, for shift and speed (Ko et
al., Interspeech 2015), and in frequency, for the speaker's size (Jaitly and Hinton, "Vocal tract length perturbation",
2013). Masks are SpecAugment's (Park et al., Interspeech 2019).
"""

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from models.networks.front_end import FrontEnd, Statistics
from models.settings import AugmentSpec

NEPERS = np.log(10) / 10
"""Natural logarithm of a power for each decibel."""
SMALLEST_POWER = 1e-12
"""Added before logarithms."""


class Augment:
    """Varies batches of what a front end gives.

    Parameters
    ----------
    spec : AugmentSpec
    front_end : FrontEnd
    statistics : Statistics or None
        What the front end normalises by.
    noise : float32 array, shape (clips, frequency, time, 1)
        What the front end gives for clips of noise; none for no noise.
    seed : int
    """

    def __init__(
        self,
        spec: AugmentSpec,
        front_end: FrontEnd,
        statistics: Statistics | None,
        noise: NDArray[np.float32],
        seed: int,
    ) -> None:
        self._spec, self._seed = spec, seed
        self._frame_s = front_end.transform.hop_length / front_end.sample_rate_hz
        self._scale: _Scale | None = None
        self._noise: tf.Tensor | None = None
        if statistics is not None and front_end.decibels is not None:
            self._scale = _Scale(statistics, front_end.decibels)
            if spec.noise and len(noise):
                power = _power(self._scale.decibels(tf.constant(noise)))
                self._noise = power / tf.reduce_mean(power, axis=(1, 2, 3), keepdims=True)

    def __call__(self, values: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        """Vary a batch, float32 (batch, frequency, time, 1); ``step`` is an integer that decides how."""
        spec = self._spec
        draw = _Draws(self._seed, step, tf.shape(values)[0])
        if self._scale is not None and (spec.gain_db or self._noise is not None):
            decibels = self._noisier(self._scale.decibels(values), draw)
            gain = draw.uniform(-spec.gain_db, spec.gain_db)
            values = self._scale.normalized(decibels + gain[:, tf.newaxis, tf.newaxis, tf.newaxis])
        values = values[..., 0]
        _, bins, frames = values.shape
        if spec.shift_s or spec.stretch:
            pace = draw.uniform(1 - spec.stretch, 1 + spec.stretch)
            shift = draw.uniform(-spec.shift_s, spec.shift_s) / self._frame_s
            middle = (frames - 1) / 2
            values = tf.matmul(values, _interpolation(frames, pace, middle + shift - middle * pace), transpose_b=True)
        if spec.warp and self._scale is not None:
            scale = draw.uniform(1 - spec.warp, 1 + spec.warp)
            values = tf.matmul(_interpolation(bins, scale, tf.zeros_like(scale)), values)
        for _ in range(spec.time_masks):
            values *= draw.gap(frames, spec.time_mask_s / self._frame_s)[:, tf.newaxis, :]
        for _ in range(spec.frequency_masks):
            values *= draw.gap(bins, spec.frequency_mask * bins)[:, :, tf.newaxis]
        return values[..., tf.newaxis]

    def _noisier(self, decibels: tf.Tensor, draw: "_Draws") -> tf.Tensor:
        if self._noise is None:
            return decibels
        power = _power(decibels)
        ratio = tf.exp(-draw.uniform(*self._spec.noise_snr_db) * NEPERS)
        ratio = tf.where(draw.uniform(0, 1) < self._spec.noise, ratio, 0.0)[:, tf.newaxis, tf.newaxis, tf.newaxis]
        level = tf.reduce_mean(power, axis=(1, 2, 3), keepdims=True) * ratio
        return tf.math.log(power + level * tf.gather(self._noise, draw.integers(len(self._noise)))) / NEPERS


class _Scale:
    """Between normalised values and decibels."""

    def __init__(self, statistics: Statistics, decibels: float) -> None:
        deviation = np.sqrt(statistics.variance)[:, np.newaxis, np.newaxis]
        self._slope = tf.constant(deviation * decibels, tf.float32)
        self._offset = tf.constant(statistics.mean[:, np.newaxis, np.newaxis] * decibels, tf.float32)

    def decibels(self, values: tf.Tensor) -> tf.Tensor:
        return values * self._slope + self._offset

    def normalized(self, decibels: tf.Tensor) -> tf.Tensor:
        return (decibels - self._offset) / self._slope


def _power(decibels: tf.Tensor) -> tf.Tensor:
    return tf.exp(decibels * NEPERS) + SMALLEST_POWER


class _Draws:
    """Random numbers, one for each clip of a batch, that depend on seed, step and order alone."""

    def __init__(self, seed: int, step: tf.Tensor, clips: tf.Tensor) -> None:
        self._seed = tf.stack([tf.constant(seed, tf.int64), tf.cast(step, tf.int64)])
        self._clips, self._drawn = clips, 0

    def _next(self) -> tf.Tensor:
        self._drawn += 1
        return tf.random.experimental.stateless_fold_in(self._seed, self._drawn)

    def uniform(self, low: float, high: float) -> tf.Tensor:
        return tf.random.stateless_uniform([self._clips], self._next(), low, high)

    def integers(self, below: int) -> tf.Tensor:
        return tf.random.stateless_uniform([self._clips], self._next(), 0, below, tf.int32)

    def gap(self, length: int, widest: float) -> tf.Tensor:
        """Ones with a range of zeros, (clips, length): 0 to ``widest`` long, somewhere inside."""
        width = tf.floor(self.uniform(0, min(widest, length - 1) + 1))
        start = tf.floor(self.uniform(0, 1) * (length - width + 1))
        place = tf.range(length, dtype=tf.float32)
        after = place >= start[:, tf.newaxis]
        return 1 - tf.cast(after & (place < (start + width)[:, tf.newaxis]), tf.float32)


def _interpolation(length: int, scale: tf.Tensor, offset: tf.Tensor) -> tf.Tensor:
    """Matrices (clips, length, length) that take output i from place ``scale * i + offset``; the ends repeat."""
    places = tf.range(length, dtype=tf.float32)
    wanted = tf.clip_by_value(scale[:, tf.newaxis] * places + offset[:, tf.newaxis], 0, length - 1)
    return tf.nn.relu(1 - tf.abs(wanted[:, :, tf.newaxis] - places))
