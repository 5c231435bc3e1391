import pytest

from models.precision import choose_precision, processor_flags

# setting, what the processor has | what is taken
CHOICES = [
    ("auto", {"avx512f", "amx_bf16"}, "bfloat16"),
    ("auto", {"avx512f", "avx512_bf16"}, "float32"),
    ("auto", set(), "float32"),
    ("float32", {"amx_bf16"}, "float32"),
    ("bfloat16", set(), "bfloat16"),
]


@pytest.mark.parametrize(("precision", "flags", "taken"), CHOICES)
def test_choice(precision: str, flags: set[str], taken: str) -> None:
    assert choose_precision(precision, frozenset(flags)) == taken  # type: ignore[arg-type]


def test_this_processors_flags_can_be_read() -> None:
    assert processor_flags() == processor_flags()
