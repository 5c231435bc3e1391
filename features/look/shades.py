"""From features to the values that are drawn: loudness in decibels, other features as they are."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

FACTORS = {"magnitude": 20, "power": 10}
"""Decibels of a factor of ten."""
RANGE_DB = 80.0
"""Bins this much quieter than the loudest bin, or more, are black."""
COLOURS = "magma"


def decibels(features: NDArray[Any], unit: str = "magnitude") -> NDArray[np.float64]:
    """Features in dB below the loudest bin, clipped at -80; a silent clip is -80 throughout.

    Parameters
    ----------
    features : array
        In any shape.
    unit : str
        ``magnitude``, ``power``, or ``dB``.

    Examples
    --------
    >>> decibels(np.array([1.0, 0.1, 0.0])).tolist()
    [0.0, -20.0, -80.0]
    >>> decibels(np.array([-10.0, -30.0, -100.0]), "dB").tolist()
    [0.0, -20.0, -80.0]
    """
    values = np.nan_to_num(np.asarray(features, np.float64), posinf=0.0)
    if unit == "dB":
        return np.maximum(values - values.max(), -RANGE_DB)
    factor = FACTORS[unit]
    floor = 10 ** (-RANGE_DB / factor)
    return factor * np.log10(np.maximum(values / max(values.max(), np.finfo(np.float32).tiny), floor))


def shades(features: NDArray[Any], unit: str) -> tuple[NDArray[np.float64], float, float, str]:
    """Values to draw, the lowest and the highest of the colour scale, and what they are.

    Loudness is drawn in dB; other features, such as cepstral coefficients, as they are, from percentile 1 to 99.
    """
    if unit == "dB" or unit in FACTORS:
        return decibels(features, unit), -RANGE_DB, 0.0, "dB relative to the loudest bin"
    values = np.nan_to_num(np.asarray(features, np.float64), posinf=0.0)
    low, high = np.percentile(values, [1, 99])
    return values, float(low), float(max(high, low + np.finfo(np.float32).tiny)), unit
