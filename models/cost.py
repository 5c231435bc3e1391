"""What a network costs: parameters, multiply-adds, time."""

import statistics
import time
from typing import Any

import keras
import numpy as np

from models.predict import Predict

WARM_UP = 3
REPEATS = 20


def multiply_adds(network: keras.Model) -> int:
    """Multiplications with an addition that one input takes in convolutions and dense layers.

    A kernel is used once for each position of its layer's output; that holds for dense, plain, strided, grouped and
    depthwise layers alike. Additions, activations, poolings and normalisation are not counted, as is usual.

    Examples
    --------
    >>> image = keras.Input((8, 8, 3))
    >>> multiply_adds(keras.Model(image, keras.layers.Conv2D(5, 3, padding="same")(image)))
    8640
    """
    total = 0
    for layer in network.layers:
        if isinstance(layer, keras.Model):
            total += multiply_adds(layer)
        else:
            kernels = sum(int(np.prod(weight.shape)) for weight in layer.weights if "kernel" in weight.name)
            total += kernels and kernels * int(np.prod(layer.output.shape[1:-1]))
    return total


def seconds_per_clip(predict: Predict, shape: tuple[int, ...]) -> float:
    """Processor time of one prediction of one clip: how long it takes on one core.

    Parameters
    ----------
    predict : callable
    shape : tuple of int
        Shape of one input.
    """
    clip = np.random.default_rng(0).uniform(0, 0.1, (1, *shape)).astype(np.float32)
    times = []
    for _ in range(WARM_UP + REPEATS):
        started = time.process_time()
        predict(clip)
        times.append(time.process_time() - started)
    return statistics.median(times[WARM_UP:])


def cost_of(network: keras.Model, predict: Predict, shape: tuple[int, ...], clip_seconds: float) -> dict[str, Any]:
    """What a network costs.

    Returns
    -------
    dict
        ``parameters``; ``multiply_adds`` of one clip; ``real_time_factor``, processor time of one clip divided by its
        length, which differs from run to run in its second digit.
    """
    return {
        "parameters": int(network.count_params()),
        "multiply_adds": multiply_adds(network),
        "real_time_factor": float(f"{seconds_per_clip(predict, shape) / clip_seconds:.2g}"),
    }
