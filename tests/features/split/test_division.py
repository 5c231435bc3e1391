from dataclasses import replace

import numpy as np

from features.split.division import Divided
from features.split.scan import Audit
from features.split.sets import SETS, Division

CLIPS = 12


def divided() -> Divided:
    digests = np.frombuffer(np.random.default_rng(0).bytes(16 * CLIPS), "V16")
    rows = dict(zip(SETS, np.random.default_rng(1).permutation(CLIPS).reshape(3, -1), strict=True))
    return Divided(Audit(digests, 0, 0), Division(rows, dict.fromkeys(SETS, 4)), np.arange(CLIPS, dtype=np.int8))


def names_of_equal_sets(one: Divided, other: Divided) -> list[str]:
    return [name for name in SETS if one.fingerprint_of(name) == other.fingerprint_of(name)]


def test_another_label_is_another_set() -> None:
    before = divided()
    labels = before.labels.copy()
    labels[before.division.rows["test"][2]] += 1
    assert names_of_equal_sets(before, replace(before, labels=labels)) == ["train", "validation"]


def test_other_samples_are_another_set() -> None:
    before = divided()
    digests = before.audit.digests.copy()
    digests[before.division.rows["test"][2]] = bytes(16)
    after = replace(before, audit=replace(before.audit, digests=digests))
    assert names_of_equal_sets(before, after) == ["train", "validation"]


def test_a_copy_from_another_row_is_another_set() -> None:
    alike = replace(divided(), labels=np.zeros(CLIPS, np.int8), audit=Audit(np.zeros(CLIPS, "V16"), 0, 0))
    rows = {**alike.division.rows, "test": alike.division.rows["test"][::-1]}
    after = replace(alike, division=replace(alike.division, rows=rows))
    assert names_of_equal_sets(alike, after) == ["train", "validation"]
