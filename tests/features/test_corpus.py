import msgspec
import pytest

from features.corpus import Corpus


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"words": ["yes"]}, "length >= 2"),
        ({"words": ["yes", "yes"]}, "listed twice"),
        ({"words": ["yes", "no "]}, "begins or ends with a space"),
        ({"words": ["yes", "n\no"]}, "character without a shape"),
        ({"words": ["yes", ""]}, "length >= 1"),
        ({"words": ["yes", 1]}, "Expected `str`, got `int`"),
        ({"clip_seconds": 0}, ">= 0.1"),
        ({"sample_rate_hz": 10}, ">= 1000"),
        ({"rate": 8000}, "unknown field"),
    ],
)
def test_bad_settings_are_refused(settings: dict[str, object], said: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=said):
        msgspec.convert(settings, Corpus)


def test_samples_are_whole() -> None:
    assert Corpus(sample_rate_hz=11025, clip_seconds=0.3).clip_samples == 3308
