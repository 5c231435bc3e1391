"""Prediction with a saved network of any form: arrays in, probabilities out."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from models.quiet import quiet
from models.saved import UNREADABLE, Description, form_of, load_keras, read_tflite, unreadable

if TYPE_CHECKING:
    import keras

Predict = Callable[[NDArray[np.float32]], NDArray[np.float64]]
"""From a batch of inputs, float32, to probabilities, float64 (batch, words); rows sum to 1."""


def load_predictor(path: Path, description: Description) -> Predict:
    """Load a saved network.

    Parameters
    ----------
    path : Path
        Of any form; see :mod:`models.saved`.
    description : Description
        Its own.

    Returns
    -------
    callable
        Takes what the network's description says: features (batch, frequency, time, 1) or waveforms (batch, samples).

    Raises
    ------
    SavedError
        If the file is damaged.
    """
    form = form_of(path)
    if form == "keras":
        return predictor_of(load_keras(path), gives_logits=description.input == "features")
    return _tflite(path, description) if form == "tflite" else _saved_model(path)


def softmax(logits: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Probabilities of the logits in the last axis.

    Examples
    --------
    >>> softmax(np.log([[1.0, 3.0]])).round(3)
    array([[0.25, 0.75]])
    """
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


def predictor_of(network: "keras.Model", *, gives_logits: bool = True) -> Predict:
    """Predict with a network of Keras."""
    import tensorflow as tf

    call = tf.function(lambda batch: network(batch, training=False), reduce_retracing=True)

    def predict(batch: NDArray[np.float32]) -> NDArray[np.float64]:
        given = call(tf.constant(batch)).numpy()
        return softmax(given) if gives_logits else given.astype(np.float64)

    return predict


def _saved_model(path: Path) -> Predict:
    import tensorflow as tf

    try:
        with quiet(show=False):
            loaded = tf.saved_model.load(str(path))
            serve = loaded.serve
    except (*UNREADABLE, AttributeError, tf.errors.OpError) as error:
        raise unreadable(error, "cannot be loaded as a SavedModel") from None

    def predict(batch: NDArray[np.float32]) -> NDArray[np.float64]:
        assert loaded  # the function does not keep its weights alive
        return serve(batch).numpy().astype(np.float64)

    return predict


def _tflite(path: Path, description: Description) -> Predict:
    import tensorflow as tf

    content = read_tflite(path, description)  # damage can crash the interpreter
    with quiet():
        interpreter = tf.lite.Interpreter(model_content=content, num_threads=os.cpu_count())
        interpreter.allocate_tensors()
    (taken,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()

    def predict(batch: NDArray[np.float32]) -> NDArray[np.float64]:
        rows = []
        for clip in batch:
            interpreter.set_tensor(taken["index"], clip[np.newaxis])
            interpreter.invoke()
            rows.append(interpreter.get_tensor(given["index"])[0])
        return np.array(rows, np.float64)

    return predict
