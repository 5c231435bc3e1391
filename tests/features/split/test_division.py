from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from conftest import make_arrays

from features.corpus import WORDS, Corpus
from features.errors import InputError
from features.sources.npz import open_source
from features.split.division import Division, LeftOut, count_duplicates, divide_source
from features.split.marks import Mark, Marks
from features.split.sets import SETS, SplitSpec

SPEC = SplitSpec(test_fraction=0.2, validation_fraction=0.2, seed=0)
CLIPS = 12


@pytest.fixture
def waves() -> np.ndarray:
    """Ten clips of each word."""
    return make_arrays(10)["wav_vals"]


def scan(folder: Path, waves: np.ndarray, marks: Marks | None = None, spec: SplitSpec = SPEC) -> Division:
    np.savez(folder / "a.npz", **{**make_arrays(10), "wav_vals": waves})
    with open_source(folder / "a.npz", folder / "inflated", Corpus()) as source:
        return divide_source(source, spec, marks or {})


def marks_of(division: Division, rows: Iterable[int], mark: str) -> Marks:
    marked = [Mark(division.digests[row].tobytes().hex(), WORDS[division.labels[row]], row, mark) for row in rows]
    return {(each.digest, each.word): each for each in marked}


def test_equal_clips_and_only_they_have_equal_digests(tmp_path: Path, waves: np.ndarray) -> None:
    waves[4] = waves[1]
    waves[5] = waves[1]
    waves[5, -1] = np.nextafter(waves[5, -1], np.float32(2))
    division = scan(tmp_path, waves)
    assert division.digests[4] == division.digests[1]
    assert len(np.unique(division.digests)) == len(waves) - 1
    assert division.groups[4] == division.groups[1] != division.groups[5]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_refused_with_their_rows(tmp_path: Path, waves: np.ndarray, value: float) -> None:
    waves[[2, 5], 100] = value
    with pytest.raises(InputError, match=r"2 of 120 clips in .*a.npz .*rows 2, 5"):
        scan(tmp_path, waves)


def test_samples_of_another_scale_are_refused(tmp_path: Path, waves: np.ndarray) -> None:
    with pytest.raises(InputError, match="ambiguous"):
        scan(tmp_path, waves * 32768)


def test_a_little_overshoot_is_recorded_not_refused(tmp_path: Path, waves: np.ndarray) -> None:
    waves[3, 0] = -1.25
    waves[4] = 0
    division = scan(tmp_path, waves)
    assert division.peaks[3:5].tolist() == [1.25, 0]


def test_duplicates_are_counted() -> None:
    # content         a     b     a     a     c     c
    digests = np.array([b"a", b"b", b"a", b"a", b"c", b"c"], "V1")
    labels = np.array([0, 0, 0, 3, 1, 1], np.int8)
    assert count_duplicates(digests, labels) == {"contents": 2, "clips": 3, "words_disagree": 1}


def made_up() -> Division:
    digests = np.frombuffer(np.random.default_rng(0).bytes(16 * CLIPS), "V16")
    rows = dict(zip(SETS, np.random.default_rng(1).permutation(CLIPS).reshape(3, -1), strict=True))
    numbers = np.arange(CLIPS)
    return Division(
        SPEC, rows, numbers.astype(np.int8), numbers, digests, np.ones(CLIPS, np.float32), np.full(CLIPS, "")
    )


def names_of_equal_sets(one: Division, other: Division) -> list[str]:
    return [name for name in SETS if one.fingerprint_of(name) == other.fingerprint_of(name)]


def test_another_label_is_another_set() -> None:
    before = made_up()
    labels = before.labels.copy()
    labels[before.rows["test"][2]] += 1
    assert names_of_equal_sets(before, replace(before, labels=labels)) == ["train", "validation"]


def test_other_samples_are_another_set() -> None:
    before = made_up()
    digests = before.digests.copy()
    digests[before.rows["test"][2]] = bytes(16)
    assert names_of_equal_sets(before, replace(before, digests=digests)) == ["train", "validation"]


def test_a_copy_from_another_row_is_another_set() -> None:
    alike = replace(made_up(), labels=np.zeros(CLIPS, np.int8), digests=np.zeros(CLIPS, "V16"))
    rows = {**alike.rows, "test": alike.rows["test"][::-1]}
    assert names_of_equal_sets(alike, replace(alike, rows=rows)) == ["train", "validation"]


def test_marked_clips_leave_and_no_other_clip_moves(tmp_path: Path, waves: np.ndarray) -> None:
    before = scan(tmp_path, waves)
    wrong, bad = before.rows["train"][[3, 40]].tolist(), before.rows["test"][[0]].tolist()
    kept = before.rows["validation"][[1]].tolist()
    marks = marks_of(before, wrong, "wrong label") | marks_of(before, bad, "bad audio") | marks_of(before, kept, "keep")
    marks |= marks_of(replace(before, labels=(before.labels + 1) % 12), kept, "bad audio")  # of another word
    after = scan(tmp_path, waves, marks)
    assert set(after.left_out) == {
        LeftOut(wrong[0], "train", "wrong label"),
        LeftOut(wrong[1], "train", "wrong label"),
        LeftOut(bad[0], "test", "bad audio"),
    }
    assert [each.row for each in after.left_out] == sorted(wrong + bad)
    assert after.unmatched_marks == 1
    for name in SETS:
        rows = before.rows[name]
        assert (np.diff(rows) < 0).any(), "in random order"
        np.testing.assert_array_equal(after.rows[name], rows[~np.isin(rows, wrong + bad)])
    np.testing.assert_array_equal(after.kept, np.setdiff1d(np.arange(120), wrong + bad))
    spec = msgspec.structs.replace(SPEC, leave_out=("bad audio",))
    assert [each.row for each in scan(tmp_path, waves, marks, spec).left_out] == bad


def test_copies_of_a_marked_clip_leave_if_they_have_its_word(tmp_path: Path, waves: np.ndarray) -> None:
    waves[[4, 5, 25]] = waves[1]  # ten clips of each word, sorted by word
    before = scan(tmp_path, waves)
    after = scan(tmp_path, waves, marks_of(before, [4], "wrong label"))
    assert [each.row for each in after.left_out] == [1, 4, 5]
    assert after.unmatched_marks == 0


def test_a_set_of_marked_clips_alone_is_refused(tmp_path: Path, waves: np.ndarray) -> None:
    before = scan(tmp_path, waves)
    marks = marks_of(before, before.rows["validation"].tolist(), "bad audio")
    with pytest.raises(InputError, match="all clips of the validation set are marked as bad audio; expected one that"):
        scan(tmp_path, waves, marks)


def test_a_word_that_a_set_lost_is_found(tmp_path: Path, waves: np.ndarray) -> None:
    before = scan(tmp_path, waves)
    test = before.rows["test"]
    one, other = (test[before.labels[test] == label] for label in (2, 7))
    after = scan(tmp_path, waves, marks_of(before, [*one.tolist(), other[0]], "bad audio"))
    assert len(other) > 1, "one is left"
    assert [after.lost_labels(name) for name in SETS] == [[], [], [2]]
