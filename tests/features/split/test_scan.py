from pathlib import Path

import numpy as np
import pytest

from features.corpus import CLIP_SAMPLES
from features.errors import InputError
from features.split.scan import count_duplicates, examine

PATH = Path("a.npz")


def clips(count: int = 6) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (count, CLIP_SAMPLES)).astype(np.float32)


def test_equal_clips_and_only_they_have_equal_digests() -> None:
    made = clips()
    made[4] = made[1]
    made[5] = made[1]
    made[5, -1] = np.nextafter(made[5, -1], np.float32(2))
    audit = examine(PATH, 6, [(0, made[:4]), (4, made[4:])])
    assert audit.digests[4] == audit.digests[1]
    assert len(np.unique(audit.digests)) == 5


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_refused_with_their_rows(value: float) -> None:
    made = clips()
    made[[2, 5], 100] = value
    with pytest.raises(InputError, match=r"2 of 6 clips .*rows 2, 5"):
        examine(PATH, 6, [(0, made[:3]), (3, made[3:])])


def test_samples_of_another_scale_are_refused() -> None:
    made = clips() * 32768
    with pytest.raises(InputError, match="ambiguous"):
        examine(PATH, 6, [(0, made)])


def test_a_little_overshoot_is_counted_not_refused() -> None:
    made = clips()
    made[3, 0] = -1.2
    made[4] = 0
    audit = examine(PATH, 6, [(0, made)])
    assert (audit.beyond_full_scale, audit.silent) == (1, 1)


def test_duplicates_are_counted() -> None:
    # content         a     b     a     a     c     c
    digests = np.array([b"a", b"b", b"a", b"a", b"c", b"c"], "V1")
    labels = np.array([0, 0, 0, 3, 1, 1], np.int8)
    duplicates = count_duplicates(digests, labels)
    assert (duplicates.contents, duplicates.clips, duplicates.words_disagree) == (2, 3, 1)
