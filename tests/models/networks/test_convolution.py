import ctypes
import json
import os
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from models.networks.convolution import ConvolutionForAmx
from models.training.devices import has_amx

WIDTHS = (61, 126)
LARGEST_ON_HEAP = 31 << 20
"""Bytes; glibc takes larger blocks from the kernel, which fills them with zeros, whatever it is told."""


def gradients(
    layer: layers.Conv2D, width: int, dtype: str, before: Callable[[], None] = lambda: None
) -> list[np.ndarray]:
    """Output, and the gradients of input, kernel and bias."""
    random = np.random.default_rng(0)
    x = tf.constant(random.normal(size=(2, 130, width, 32)), dtype)
    if not layer.built:
        layer.build(x.shape)
    layer.set_weights([random.normal(0, 0.1, (3, 3, 32, 32)), random.normal(0, 0.1, 32)])
    upstream = tf.constant(random.normal(size=x.shape), dtype)

    @tf.function
    def differentiate() -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x)
        return [y, *tape.gradient(y, [x, *layer.trainable_variables], upstream)]

    before()
    return [tf.cast(value, tf.float32).numpy() for value in differentiate()]


@pytest.mark.parametrize("width", [15, *WIDTHS])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("bfloat16", 0.1)])
def test_it_computes_what_a_convolution_does(width: int, dtype: str, tolerance: float) -> None:
    policy = "float32" if dtype == "float32" else "mixed_bfloat16"
    plain = gradients(layers.Conv2D(32, 3, padding="same", activation="relu", dtype="float32"), width, "float32")
    ours = gradients(ConvolutionForAmx(32, dtype=policy), width, dtype)
    for expected, got in zip(plain, ours, strict=True):
        assert np.linalg.norm(got - expected) < tolerance * np.linalg.norm(expected)


def test_where_it_is_needed() -> None:
    """Found by looking for gradients that are no numbers, in memory filled with them, at every width to 260."""
    needed = [width for width in range(1, 130) if ConvolutionForAmx.is_needed(width, 32)]
    assert needed == [61, 62, *range(91, 95), *range(121, 127)]
    assert not ConvolutionForAmx.is_needed(126, 1)


def fill_free_memory_with_no_numbers() -> None:
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    libc.malloc.argtypes = [ctypes.c_size_t]
    libc.free.argtypes = [ctypes.c_void_p]
    sizes = [*[LARGEST_ON_HEAP] * 16, *[1 << 20] * 64, *[1 << 16] * 256]
    blocks = [libc.malloc(size) for size in sizes]
    for block, size in zip(blocks, sizes, strict=True):
        ctypes.memset(block, 0xFF, size)
    for block in blocks:
        libc.free(block)


def main() -> None:
    """Print whether gradients are numbers where free memory holds none."""
    finite: dict[str, list[bool]] = {"plain": [], "ours": []}
    for width in WIDTHS:
        for name, layer in (
            ("plain", layers.Conv2D(32, 3, padding="same", activation="relu", dtype="mixed_bfloat16")),
            ("ours", ConvolutionForAmx(32, dtype="mixed_bfloat16")),
        ):
            values = [
                value
                for _ in range(8)
                for value in gradients(layer, width, "bfloat16", fill_free_memory_with_no_numbers)
            ]
            finite[name].append(all(np.isfinite(value).all() for value in values))
    print(json.dumps(finite))


@pytest.mark.skipif(not has_amx(), reason="the processor has no AMX")
def test_the_kernels_gradient_reads_nothing_beyond_the_input() -> None:
    one_heap = {
        "MALLOC_ARENA_MAX": "1",
        "MALLOC_MMAP_THRESHOLD_": str(LARGEST_ON_HEAP + 4096),
        "MALLOC_TRIM_THRESHOLD_": str(1 << 40),
    }
    result = subprocess.run(
        [sys.executable, __file__], env=os.environ | one_heap, capture_output=True, text=True, check=True
    )
    finite = json.loads(result.stdout)
    assert finite["ours"] == [True] * len(WIDTHS)
    assert not all(finite["plain"]), "TensorFlow no longer reads beyond the input: ConvolutionForAmx can go"


if __name__ == "__main__":
    main()
