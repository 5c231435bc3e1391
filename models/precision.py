"""Which precision the convolutions are trained in. Opens nothing but /proc/cpuinfo; loads no TensorFlow."""

from pathlib import Path
from typing import Literal

Precision = Literal["auto", "float32", "bfloat16"]

TRUNK_POLICY = {"float32": "float32", "bfloat16": "mixed_bfloat16"}
"""Keras dtype policy of the convolutions in each precision; variables are float32 in both."""


def processor_flags() -> frozenset[str]:
    """Instruction sets of this machine's first processor; none where Linux does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return frozenset()
    return next((frozenset(line.split(":", 1)[1].split()) for line in lines if line.startswith("flags")), frozenset())


def choose_precision(precision: Precision, flags: frozenset[str]) -> Literal["float32", "bfloat16"]:
    """Settle on a precision.

    ``auto`` takes bfloat16 where the processor multiplies bfloat16 matrices in hardware (AMX), which is several times
    as fast there, and float32 elsewhere.

    Examples
    --------
    >>> choose_precision("auto", frozenset({"avx2"}))
    'float32'
    """
    if precision == "auto":
        return "bfloat16" if "amx_bf16" in flags else "float32"
    return precision
