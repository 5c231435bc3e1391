from pathlib import Path

import pytest
import tensorflow as tf

from models.devices import choose_precision, has_amx

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


def test_auto_is_float32_without_hardware_for_less(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not tf.config.list_physical_devices("GPU"), "these tests are written for processors"
    assert choose_precision("auto") == ("bfloat16" if has_amx() else "float32")
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    assert choose_precision("auto") == "float32"
    assert choose_precision("bfloat16") == "bfloat16"
