"""Settings of a training. Importing this loads neither TensorFlow nor Keras."""

import sys
from typing import Annotated, Literal

from msgspec import Meta, Struct

Precision = Literal["float32", "bfloat16", "float16"]


CHECKPOINT_S = 30.0
"""Seconds between two checkpoints: the most that a kill costs."""


class TrainSpec(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a network is trained."""

    batch_size: Annotated[int, Meta(ge=2)]
    epochs: Annotated[int, Meta(ge=1)]
    learning_rate: Annotated[float, Meta(gt=0, le=sys.float_info.max)]
    """Adam's step size; with the cosine schedule, the largest."""
    schedule: Literal["cosine", "constant"]
    """``cosine`` rises from 0 in the first tenth of the steps and falls towards 0 in the others."""
    early_stopping: Annotated[int, Meta(ge=0)]
    """Epochs without a smaller validation loss after which training ends; 0 trains to the last."""
    class_weights: Literal["none", "balanced"]
    """``balanced``: each word counts the same in the loss, however many clips of it there are."""
    compression: Literal["log", "none"]
    """``log``: the network's first layers take the log of linear features and normalise each frequency."""
    precision: Literal["auto", "float32", "bfloat16", "float16"]
    """``auto``: the fastest known to learn on the device; see :func:`models.training.devices.choose_precision`."""
    seed: Annotated[int, Meta(ge=0, lt=2**32)]
