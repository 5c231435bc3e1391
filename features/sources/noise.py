"""Background noises; each function returns one clip's length of noise with a root mean square of 1."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from features.corpus import CLIP_SAMPLES, SAMPLE_RATE_HZ

Noise = NDArray[np.float32]


def _unit_power(noise: NDArray[np.float64]) -> Noise:
    return (noise / np.sqrt(np.mean(np.square(noise)))).astype(np.float32)


def _coloured(rng: np.random.Generator, exponent: float, band_hz: tuple[float, float]) -> NDArray[np.float64]:
    """Noise whose power falls with ``frequency ** exponent`` inside a band and is zero outside it."""
    frequency = np.fft.rfftfreq(CLIP_SAMPLES, 1 / SAMPLE_RATE_HZ)
    inside = (frequency >= band_hz[0]) & (frequency <= band_hz[1])
    amplitude = np.where(inside, np.maximum(frequency, 1) ** (-exponent / 2), 0)
    phase = rng.uniform(0, 2 * np.pi, frequency.size)
    return np.fft.irfft(amplitude * np.exp(1j * phase), CLIP_SAMPLES)


def white(rng: np.random.Generator) -> Noise:
    """Hiss: equal power at every frequency."""
    return _unit_power(rng.standard_normal(CLIP_SAMPLES))


def pink(rng: np.random.Generator) -> Noise:
    """A room: power falls by 3 dB an octave."""
    return _unit_power(_coloured(rng, 1, (20, SAMPLE_RATE_HZ / 2)))


def brown(rng: np.random.Generator) -> Noise:
    """Rumble: power falls by 6 dB an octave."""
    return _unit_power(_coloured(rng, 2, (20, SAMPLE_RATE_HZ / 2)))


def hum(rng: np.random.Generator) -> Noise:
    """Mains: 50 or 60 Hz and its harmonics, over a little hiss."""
    time = np.arange(CLIP_SAMPLES) / SAMPLE_RATE_HZ
    harmonics = np.arange(1, 12)
    amplitude = rng.uniform(0.2, 1, harmonics.size) / harmonics
    phase = rng.uniform(0, 2 * np.pi, harmonics.size)
    angle = 2 * np.pi * rng.choice([50, 60]) * np.outer(time, harmonics) + phase
    return _unit_power(np.sin(angle) @ amplitude + 0.05 * rng.standard_normal(CLIP_SAMPLES))


def fan(rng: np.random.Generator) -> Noise:
    """A machine: a band of noise that swells and fades with each turn."""
    centre = rng.uniform(300, 2500)
    time = np.arange(CLIP_SAMPLES) / SAMPLE_RATE_HZ
    swell = 1 + rng.uniform(0.2, 0.8) * np.sin(2 * np.pi * rng.uniform(2, 20) * time + rng.uniform(0, 2 * np.pi))
    return _unit_power(swell * _coloured(rng, 1, (centre / 2, centre * 1.5)))


def crackle(rng: np.random.Generator) -> Noise:
    """A bad line: short decaying clicks at random instants, over hiss."""
    clicks = np.zeros(CLIP_SAMPLES)
    at = rng.integers(0, CLIP_SAMPLES, rng.integers(5, 60))
    np.add.at(clicks, at, rng.normal(0, 1, at.size))
    decay = np.exp(-np.arange(80) / rng.uniform(3, 20))
    return _unit_power(np.convolve(clicks, decay)[:CLIP_SAMPLES] + 0.02 * rng.standard_normal(CLIP_SAMPLES))


KINDS: tuple[Callable[[np.random.Generator], Noise], ...] = (white, pink, brown, hum, fan, crackle)
