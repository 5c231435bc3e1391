"""The first layers of every network: from linear magnitudes to what convolutions learn from."""

import keras
import numpy as np
from keras import KerasTensor, layers
from numpy.typing import NDArray

LOG_OFFSET = 1e-3
"""Magnitude that log compression starts from: 96 dB under the largest magnitude of a full-scale sine, 65."""

NORMALIZE = "normalize"
"""Name of the last layer of a front end."""

Statistics = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Mean and variance of the log magnitudes of each frequency, float32 arrays of shape (frequency,)."""


def compress(magnitudes: KerasTensor, statistics: Statistics | None) -> KerasTensor:
    """Take the log of magnitudes and normalise each frequency; without statistics, pass magnitudes on as they are.

    Parameters
    ----------
    magnitudes : KerasTensor
        float32 (batch, frequency, time, 1), linear.
    statistics : pair of float32 arrays of shape (frequency,), or None
        Over the clips to train on.

    Returns
    -------
    KerasTensor
        float32 (batch, frequency, time, 1).
    """
    if statistics is None:
        return magnitudes
    mean, variance = statistics
    logarithm = keras.ops.log(magnitudes + LOG_OFFSET)
    return layers.Normalization(axis=1, mean=mean, variance=variance, name=NORMALIZE)(logarithm)
