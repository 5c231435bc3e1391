"""What computes: which devices there are, how they share the work, and in which precision they do it."""

import os
from pathlib import Path
from typing import Literal

import tensorflow as tf

from models.networks.cnn import Precision

BFLOAT16_CAPABILITY = (8, 0)
"""Compute capability from which GPUs multiply bfloat16 in hardware."""


def choose_precision(precision: Literal["auto"] | Precision) -> Precision:
    """What to compute in on the devices at hand.

    ``auto`` is bfloat16 where every GPU, or without one the processor, multiplies it in hardware; else float32.
    """
    if precision != "auto":
        return precision
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return "bfloat16" if has_amx() else "float32"
    capabilities = [tf.config.experimental.get_device_details(gpu).get("compute_capability") for gpu in gpus]
    return "bfloat16" if all(each and each >= BFLOAT16_CAPABILITY for each in capabilities) else "float32"


def has_amx(processors: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the processor has AMX for bfloat16, and TensorFlow uses it.

    Parameters
    ----------
    processors : Path
        What Linux says of the processors; elsewhere there is no such file and the answer is no.
    """
    used = os.environ.get("TF_ENABLE_ONEDNN_OPTS", "1").lower() not in ("0", "false")
    allowed = os.environ.get("ONEDNN_MAX_CPU_ISA", "DEFAULT").upper()
    if not used or (allowed != "DEFAULT" and "AMX" not in allowed):
        return False
    return processors.exists() and "amx_bf16" in processors.read_text().split()


def adds_up_in_order() -> bool:
    """Whether the devices at hand give the same sum of the same numbers every time, as processors do."""
    return not tf.config.list_physical_devices("GPU")


def choose_strategy() -> tf.distribute.Strategy:
    """All GPUs side by side where there are several; else the one device there is."""
    several = len(tf.config.list_physical_devices("GPU")) > 1
    return tf.distribute.MirroredStrategy() if several else tf.distribute.get_strategy()
