"""What computes: which devices there are, how they share the work, and in which precision they do it."""

from typing import Literal

import tensorflow as tf

from models.networks import Precision

BFLOAT16_CAPABILITY = (8, 0)
"""Compute capability from which GPUs multiply bfloat16 in hardware."""


def choose_precision(precision: Literal["auto"] | Precision) -> Precision:
    """What to compute in on the devices at hand.

    ``auto`` is bfloat16 where every GPU has it in hardware, and float32 on anything else. On processors, bfloat16 is
    slow without AMX, and with it TensorFlow 2.16 lost most trainings to single broken steps.
    """
    if precision != "auto":
        return precision
    gpus = tf.config.list_physical_devices("GPU")
    capabilities = [tf.config.experimental.get_device_details(gpu).get("compute_capability") for gpu in gpus]
    fit = capabilities and all(each and each >= BFLOAT16_CAPABILITY for each in capabilities)
    return "bfloat16" if fit else "float32"


def adds_up_in_order() -> bool:
    """Whether the devices at hand give the same sum of the same numbers every time, as processors do."""
    return not tf.config.list_physical_devices("GPU")


def choose_strategy() -> tf.distribute.Strategy:
    """All GPUs side by side where there are several; else the one device there is."""
    several = len(tf.config.list_physical_devices("GPU")) > 1
    return tf.distribute.MirroredStrategy() if several else tf.distribute.get_strategy()
