"""Exports: a network with its transform inside, so that it takes a waveform and gives probabilities."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from msgspec.structs import replace
from numpy.typing import NDArray

from models.networks.front_end import NORMALIZE
from models.networks.transform import apply
from models.quiet import quiet
from models.saved import Description, add_description

Clips = NDArray[np.float32]


def with_transform(network: keras.Model, description: Description) -> keras.Model:
    """Put the transform before a network, and the softmax behind it.

    Returns
    -------
    keras.Model
        float32 (batch, samples), in [-1, 1], to float32 (batch, words), probabilities. Keras alone loads it.
    """
    waveform = keras.Input((description.clip_samples,), name="waveform")
    logits = network(apply(description.transform, description.sample_rate_hz, waveform))
    return keras.Model(waveform, layers.Softmax(name="probabilities")(logits))


def write_keras(model: keras.Model, description: Description, path: Path) -> None:
    """Write a Keras file."""
    model.save(path)
    _describe(path, description)


def write_saved_model(model: keras.Model, description: Description, path: Path) -> None:
    """Write a SavedModel folder, whose endpoint ``serve`` takes any number of clips."""
    _save(model, path, clips=None)
    _describe(path, description)


def write_tflite(model: keras.Model, description: Description, path: Path, calibration: Clips | None = None) -> None:
    """Write a TFLite file of built-in operations, which takes one clip at a time.

    Parameters
    ----------
    model : keras.Model
        As :func:`with_transform` gives it.
    calibration : float32 array, shape (clips, samples), optional
        Clips of the training set. With them, the network's convolutions and dense layers compute in int8, weights and
        activations. The transform, the logarithm and the normalisation stay in float32: magnitudes span 96 dB, eight
        bits 48.
    """
    with tempfile.TemporaryDirectory() as folder, quiet():
        saved = Path(folder, "saved")
        _save(model, saved, clips=1)  # from_keras_model aborts the process in TensorFlow 2.16
        content = tf.lite.TFLiteConverter.from_saved_model(str(saved)).convert()
        if calibration is not None:
            content = _quantised(saved, front_end_of(content), calibration)
    path.write_bytes(content)
    _describe(path, description)


def front_end_of(content: bytes) -> list[str]:
    """Tensors of a TFLite model up to the end of the transform, or of the normalisation if there is one."""
    interpreter = tf.lite.Interpreter(model_content=content)
    names = {tensor["index"]: tensor["name"] for tensor in interpreter.get_tensor_details()}
    made = [names[tensor] for operation in _operations(interpreter) for tensor in operation["outputs"]]
    ends = [number for number, name in enumerate(made) if "/features" in name or f"/{NORMALIZE}" in name]
    return made[: ends[-1] + 1]


def operations_of(path: Path) -> list[tuple[str, str]]:
    """A TFLite model's operations in order: their names, and the type of what they give, such as ``int8``."""
    interpreter = tf.lite.Interpreter(str(path))
    types = {tensor["index"]: np.dtype(tensor["dtype"]).name for tensor in interpreter.get_tensor_details()}
    return [(operation["op_name"], types[operation["outputs"][0]]) for operation in _operations(interpreter)]


def _operations(interpreter: tf.lite.Interpreter) -> list[dict[str, Any]]:
    return [each for each in interpreter._get_ops_details() if each["op_name"] != "DELEGATE"]


def _quantised(saved: Path, in_float: list[str], calibration: Clips) -> bytes:
    def clips() -> Iterator[list[Clips]]:
        for clip in calibration:
            yield [clip[np.newaxis]]

    converter = tf.lite.TFLiteConverter.from_saved_model(str(saved))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = clips
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    options = tf.lite.experimental.QuantizationDebugOptions(denylisted_nodes=in_float)
    quantizer = tf.lite.experimental.QuantizationDebugger(
        converter=converter, debug_dataset=clips, debug_options=options
    )
    return quantizer.get_nondebug_quantized_model()


def _save(model: keras.Model, path: Path, clips: int | None) -> None:
    module = tf.Module()  # keras.export.ExportArchive writes every weight twice
    module.weights = [variable.value for variable in model.variables]
    shape = (clips, *model.input_shape[1:])
    module.serve = tf.function(
        lambda waveform: model(waveform, training=False), input_signature=[tf.TensorSpec(shape, tf.float32, "waveform")]
    )
    tf.saved_model.save(module, str(path), signatures={"serving_default": module.serve})


def _describe(path: Path, description: Description) -> None:
    add_description(path, replace(description, input="waveform"))
