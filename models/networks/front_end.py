"""The first layers of every network: from stored features to what convolutions learn from."""

from typing import NamedTuple

import keras
import numpy as np
from keras import KerasTensor, layers
from numpy.typing import NDArray

LOG_OFFSETS = {"magnitude": 1e-3, "power": 1e-6, "mel": 1e-6}
"""What is added to features of each linear kind before the logarithm: 96 dB under the largest magnitude of a full-scale
sine, 65. Features of other kinds are logarithms or compressed already."""
NORMALIZE = "normalize"
"""Name of the last layer of a front end."""


class Statistics(NamedTuple):
    """What a front end knows of the clips to train on."""

    mean: NDArray[np.float32]
    """Of each frequency, shape (frequency,), after the logarithm if there is one."""
    variance: NDArray[np.float32]
    """The same of the variance."""
    log_offset: float | None
    """What is added before the logarithm; None for no logarithm."""


def compress(features: KerasTensor, statistics: Statistics | None) -> KerasTensor:
    """Take the logarithm of linear features, and normalise each frequency; without statistics, do nothing.

    Parameters
    ----------
    features : KerasTensor
        float32 (batch, frequency, time, 1).
    statistics : Statistics or None
        Over the clips to train on.

    Returns
    -------
    KerasTensor
        float32 (batch, frequency, time, 1).
    """
    if statistics is None:
        return features
    mean, variance, offset = statistics
    values = features if offset is None else keras.ops.log(features + offset)
    return layers.Normalization(axis=1, mean=mean, variance=variance, name=NORMALIZE)(values)
