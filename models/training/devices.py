"""Devices: which GPUs there are, how they share the work, and which precision they compute in.

TensorFlow takes seconds to import, so it is asked only where there may be a GPU.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from models.networks.registry import family_of
from models.settings import NetworkSpec, Precision, TrainSpec

if TYPE_CHECKING:
    import tensorflow as tf

BFLOAT16_CAPABILITY = (8, 0)
"""Compute capability from which GPUs multiply bfloat16 in hardware."""
GPU_FILES = ("nvidia[0-9]*", "kfd", "dxg")
"""Device files of GPUs on Linux: NVIDIA's, AMD's, and those that Windows lends to its Linux."""


def may_have_gpu(devices: Path = Path("/dev")) -> bool:
    """Whether TensorFlow could find a GPU; always yes on systems other than Linux, which list no devices there."""
    return sys.platform != "linux" or any(next(devices.glob(name), None) for name in GPU_FILES)


def list_gpus() -> list[Any]:
    """TensorFlow's GPUs; an empty list, without loading TensorFlow, where there can be none."""
    if not may_have_gpu():
        return []
    import tensorflow as tf

    return list(tf.config.list_physical_devices("GPU"))


def count_replicas() -> int:
    """How many devices share a batch under :func:`choose_strategy`."""
    return max(1, len(list_gpus()))


def choose_strategy() -> "tf.distribute.Strategy":
    """All GPUs side by side where there are several; else the one device there is."""
    import tensorflow as tf

    return tf.distribute.MirroredStrategy() if count_replicas() > 1 else tf.distribute.get_strategy()


def precision_of(network: NetworkSpec, spec: TrainSpec) -> Precision:
    """What the bulk of a network's layers computes in: what the settings say, or float32 if its family wants it."""
    return choose_precision(spec.precision) if family_of(network).half else "float32"


def choose_precision(precision: Literal["auto"] | Precision) -> Precision:
    """Resolve ``auto`` for the devices at hand; any other precision is returned as it is."""
    if precision != "auto":
        return precision
    gpus = list_gpus()
    if not gpus:
        return fastest_precision([], has_amx())
    import tensorflow as tf

    details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
    return fastest_precision([each.get("compute_capability") for each in details], has_amx())


def fastest_precision(capabilities: Sequence[tuple[int, int] | None], amx: bool) -> Precision:
    """bfloat16 where every GPU, or without one the processor, multiplies it in hardware; else float32.

    Parameters
    ----------
    capabilities : sequence of (major, minor) or None
        CUDA's compute capability of each GPU; None where it is unknown.
    amx : bool
        Whether the processor has AMX.

    Examples
    --------
    >>> fastest_precision([(9, 0), (7, 5)], amx=True)
    'float32'
    """
    fast = all(each and each >= BFLOAT16_CAPABILITY for each in capabilities) if capabilities else amx
    return "bfloat16" if fast else "float32"


def has_amx(processors: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the processor has AMX for bfloat16, and TensorFlow uses it; no where Linux does not describe it."""
    used = os.environ.get("TF_ENABLE_ONEDNN_OPTS", "1").lower() not in ("0", "false")
    allowed = os.environ.get("ONEDNN_MAX_CPU_ISA", "DEFAULT").upper()
    if not used or (allowed != "DEFAULT" and "AMX" not in allowed):
        return False
    return processors.exists() and "amx_bf16" in processors.read_text().split()
