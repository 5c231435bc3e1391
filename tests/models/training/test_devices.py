import os
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf

from models.training.devices import (
    choose_strategy,
    count_replicas,
    fastest_precision,
    has_amx,
    list_gpus,
    may_have_gpu,
)

FLAGS = "processor\t: 0\nflags\t\t: fpu avx512_bf16 {}amx_tile amx_int8\n\n"


@pytest.mark.parametrize(
    ("listed", "settings", "expected"),
    [
        ("amx_bf16 ", {}, True),
        ("", {}, False),
        ("amx_bf16 ", {"TF_ENABLE_ONEDNN_OPTS": "1", "ONEDNN_MAX_CPU_ISA": "AVX512_CORE_AMX"}, True),
        ("amx_bf16 ", {"TF_ENABLE_ONEDNN_OPTS": "0"}, False),
        ("amx_bf16 ", {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16"}, False),
    ],
)
def test_amx_is_there_and_used(
    listed: str, settings: dict[str, str], expected: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TF_ENABLE_ONEDNN_OPTS", "ONEDNN_MAX_CPU_ISA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "cpuinfo").write_text(FLAGS.format(listed))
    assert has_amx(tmp_path / "cpuinfo") is expected
    assert not has_amx(tmp_path / "elsewhere")


# capabilities of GPUs  | AMX  | fastest precision that is known to learn
FASTEST = [
    ([], False, "float32"),
    ([], True, "bfloat16"),
    ([(9, 0)], False, "bfloat16"),
    ([(8, 0)], False, "bfloat16"),
    ([(7, 5)], True, "float32"),
    ([(9, 0), (7, 5)], True, "float32"),
    ([(9, 0), None], True, "float32"),
]


@pytest.mark.parametrize(("capabilities", "amx", "expected"), FASTEST)
def test_fastest_precision(capabilities: list[tuple[int, int] | None], amx: bool, expected: str) -> None:
    assert fastest_precision(capabilities, amx) == expected


def test_auto_is_float32_on_a_processor_without_hardware_for_less() -> None:
    """In a process that sees no GPU, on whatever machine, and with a oneDNN that leaves AMX alone."""
    asked = "choose_precision('auto'), choose_precision('float16'), len(list_gpus())"
    script = f"from models.training.devices import *; print({asked})"
    settings = {"CUDA_VISIBLE_DEVICES": "", "HIP_VISIBLE_DEVICES": "", "ONEDNN_MAX_CPU_ISA": "AVX2"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=os.environ | settings, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["float32", "float16", "0"]


@pytest.mark.parametrize(
    ("names", "expected"),
    [(["null", "nvidiactl"], False), (["nvidia0"], True), (["nvidia3"], True), (["kfd"], True), (["dxg"], True)],
)
def test_device_files_tell_whether_there_may_be_a_gpu(names: list[str], expected: bool, tmp_path: Path) -> None:
    for name in names:
        (tmp_path / name).touch()
    assert may_have_gpu(tmp_path) is expected


def test_every_gpu_of_tensorflow_has_a_device_file() -> None:
    assert len(list_gpus()) == len(tf.config.list_physical_devices("GPU"))
    assert count_replicas() == choose_strategy().num_replicas_in_sync
