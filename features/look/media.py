"""A clip for a page: its sound as FLAC, its spectrogram as WebP, its axes as ticks."""

import io
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
import soundfile
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from PIL import Image

from features.look.shades import COLOURS, shades
from features.store.writer import FeatureAxes

QUALITY = 60
"""Of WebP: 3.4 kB a clip instead of 8 kB without loss."""
WIDEST = 1024
"""Pixels; pictures of longer clips are drawn smaller."""
TICKS = 5


def flac(waveform: NDArray[Any], rate_hz: int) -> bytes:
    """Encode a clip without loss, in 16 bits.

    Parameters
    ----------
    waveform : array, shape (samples,)
        In [-1, 1]; values outside are clipped.
    rate_hz : int
    """
    file = io.BytesIO()
    soundfile.write(file, np.clip(waveform, -1, 1), rate_hz, format="FLAC", subtype="PCM_16")
    return file.getvalue()


def webp(features: NDArray[Any], unit: str) -> bytes:
    """Draw a clip, one pixel a value, high frequencies on top.

    Parameters
    ----------
    features : array, shape (frequency, time)
    unit : str
        Of the features.
    """
    values, low, high, _ = shades(features, unit)
    palette = (mpl.colormaps[COLOURS](np.arange(256))[:, :3] * 255).astype(np.uint8)
    levels = np.clip((values - low) / (high - low) * 255, 0, 255).astype(np.uint8)
    file = io.BytesIO()
    image = Image.fromarray(palette[levels[::-1]])
    image.thumbnail((WIDEST, WIDEST))
    image.save(file, "webp", quality=QUALITY)
    return file.getvalue()


@dataclass(frozen=True)
class Ticks:
    """Places along an axis: shares of its length, and what is there."""

    places: list[float]
    labels: list[str]
    name: str


def frequency_ticks(axes: FeatureAxes) -> Ticks:
    """Ticks of rows, from the lowest up: round numbers of linear axes, some bands of others."""
    rows, name = len(axes.frequency), "Hz" if axes.frequency_units == "Hz" else ""
    if axes.frequency[0] == 0 and rows > 1:
        step = axes.frequency[1]
        highest = axes.frequency[-1]
        values = [value for value in MaxNLocator(TICKS).tick_values(0, highest) if value <= highest]
        return Ticks([float((value / step + 0.5) / rows) for value in values], [f"{value:g}" for value in values], name)
    chosen = np.unique(np.linspace(0, rows - 1, min(rows, TICKS)).round().astype(int))
    labels = [f"{axes.frequency[row]:.0f}" for row in chosen]
    return Ticks([float((row + 0.5) / rows) for row in chosen], labels, name)


def time_ticks(clip_seconds: float) -> Ticks:
    """Ticks at the beginning, the middle and the end of a clip."""
    return Ticks([0.0, 0.5, 1.0], [f"{share * clip_seconds:g}" for share in (0.0, 0.5, 1.0)], "s")
