import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from features.corpus import WORDS, word_counts
from features.errors import InputError
from features.split.sets import SETS, SplitSpec, divide, join_groups, target_counts


def spec(test: float = 0.1, validation: float = 0.1, seed: int = 0) -> SplitSpec:
    return msgspec.convert({"test_fraction": test, "validation_fraction": validation, "seed": seed}, SplitSpec)


def labels_of(per_word: int) -> np.ndarray:
    return np.repeat(np.arange(12, dtype=np.int8), per_word)


@settings(max_examples=40, deadline=None)
@given(
    per_word=st.integers(30, 60),
    speakers=st.integers(100, 200),
    seed=st.integers(0, 99),
    fractions=st.sampled_from([(0.1, 0.1), (0.2, 0.1), (0.25, 0.25)]),
)
def test_every_clip_goes_to_one_set_and_no_group_to_two(
    per_word: int, speakers: int, seed: int, fractions: tuple[float, float]
) -> None:
    labels = labels_of(per_word)
    groups = np.unique(np.random.default_rng(seed).integers(speakers, size=len(labels)), return_inverse=True)[1]
    division = divide(labels, groups, WORDS, spec(*fractions, seed))
    rows = np.concatenate([division[name] for name in SETS])
    assert sorted(rows.tolist()) == list(range(len(labels)))
    held = [set(groups[division[name]].tolist()) for name in SETS]
    assert not held[0] & held[1] | held[0] & held[2] | held[1] & held[2]


def test_without_groups_the_fractions_are_met_exactly() -> None:
    labels = labels_of(100)
    division = divide(labels, np.arange(len(labels)), WORDS, spec(0.2, 0.1))
    for name, expected in (("train", 70), ("validation", 10), ("test", 20)):
        assert set(word_counts(labels[division[name]], WORDS).values()) == {expected}


def test_with_many_speakers_words_come_within_a_fifth_of_their_share() -> None:
    rng = np.random.default_rng(0)
    labels = labels_of(400)
    speakers = rng.zipf(1.5, len(labels)).clip(max=500)  # a few speak much, many little
    groups = np.unique(speakers, return_inverse=True)[1]
    division = divide(labels, groups, WORDS, spec())
    for name, share in zip(SETS, spec().fractions, strict=True):
        counts = np.array(list(word_counts(labels[division[name]], WORDS).values()))
        assert np.abs(counts / (400 * share) - 1).max() < 0.2


def test_rows_lie_shuffled_not_word_by_word() -> None:
    labels = labels_of(100)
    division = divide(labels, np.arange(len(labels)), WORDS, spec())
    changes = np.count_nonzero(np.diff(labels[division["train"]]))
    assert changes > 0.8 * len(division["train"])


def test_the_seed_decides() -> None:
    labels, groups = labels_of(20), np.arange(240)
    first, again, other = (divide(labels, groups, WORDS, spec(seed=seed))["test"].tolist() for seed in (1, 1, 2))
    assert first == again != other


def test_speakers_without_common_copies_are_the_groups() -> None:
    rng = np.random.default_rng(0)
    speakers = np.array([f"s{number}" for number in rng.integers(40, size=200)])
    digests = np.arange(200, dtype="<u8").view("V8")
    groups = join_groups(speakers, digests)
    np.testing.assert_array_equal(groups, np.unique(speakers, return_inverse=True)[1])
    copied = digests.copy()
    copied[np.flatnonzero(speakers == speakers[0])[1]] = copied[0]  # a copy by the same speaker links no other
    np.testing.assert_array_equal(join_groups(speakers, copied), groups)


def test_speakers_and_copies_are_joined_by_chains() -> None:
    speakers = np.array(["ann", "bob", "bob", "cid", "dan"])
    digests = np.array([b"x", b"x", b"y", b"y", b"z"], "V1")
    groups = join_groups(speakers, digests)
    assert len(set(groups[:4].tolist())) == 1
    assert groups[4] != groups[0]


@settings(max_examples=60, deadline=None)
@given(links=st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=1, max_size=30))
def test_groups_are_the_connected_components(links: list[tuple[int, int]]) -> None:
    people, contents = np.array(links).T
    _, expected = connected_components(
        coo_array((np.ones(len(links)), (people, 13 + contents)), shape=(26, 26)), directed=False
    )
    groups = join_groups(people.astype(str), contents.astype("<u8").view("V8"))
    assert len(set(zip(groups.tolist(), expected[people].tolist(), strict=True))) == len(set(expected[people].tolist()))
    assert sorted(set(groups.tolist())) == list(range(groups.max() + 1))


def test_without_speakers_copies_are_groups() -> None:
    groups = join_groups(None, np.array([b"x\0", b"y\0", b"x\0", b"x\1"], "V2"))
    assert groups[0] == groups[2]
    assert len(set(groups.tolist())) == 3


@pytest.mark.parametrize("known", [True, False])
def test_editing_a_clip_moves_no_other(known: bool) -> None:
    """Else one edited clip would assign all clips anew, and every feature would be computed again."""
    rng = np.random.default_rng(0)
    labels = labels_of(50)
    speakers = np.array([f"s{number}" for number in rng.integers(90, size=len(labels))]) if known else None
    digests = rng.integers(256, size=(len(labels), 16)).astype(np.uint8)
    before = divide(labels, join_groups(speakers, digests.view("V16").reshape(-1)), WORDS, spec())
    for row in (0, 17, len(labels) - 1):
        digests[row] = 255 - digests[row]
        after = divide(labels, join_groups(speakers, digests.view("V16").reshape(-1)), WORDS, spec())
        for name in SETS:
            np.testing.assert_array_equal(before[name], after[name])


def test_few_speakers_still_give_every_set_every_word() -> None:
    for seed in range(50):
        labels = labels_of(10)
        groups = np.random.default_rng(seed).integers(20, size=len(labels))
        division = divide(labels, np.unique(groups, return_inverse=True)[1], WORDS, spec(seed=seed))
        for name in SETS:
            assert min(word_counts(labels[division[name]], WORDS).values()) > 0
            assert len(division[name]) < 0.35 * len(labels) or name == "train"


# clips of a word, fractions          | clips for train, validation, test
TARGETS = [
    (100, (0.8, 0.1, 0.1), (80, 10, 10)),
    (3, (0.8, 0.1, 0.1), (1, 1, 1)),
    (4, (0.1, 0.45, 0.45), (1, 1, 2)),
    (2, (0.8, 0.1, 0.1), (2, 0, 0)),
    (0, (0.8, 0.1, 0.1), (0, 0, 0)),
]


@pytest.mark.parametrize(("clips", "fractions", "expected"), TARGETS)
def test_target_counts(clips: int, fractions: tuple[float, ...], expected: tuple[int, ...]) -> None:
    counts = target_counts(np.array([clips]), fractions)[:, 0]
    assert counts.sum() == clips
    assert sorted(counts.tolist()) == sorted(expected)
    assert counts[0] == expected[0]


@pytest.mark.parametrize("clips", [1, 2])
def test_a_word_with_too_few_clips_is_named(clips: int) -> None:
    labels = np.concatenate([labels_of(20), np.full(clips, 0, np.int8)])[20:]  # few of yes
    with pytest.raises(InputError, match=rf"'yes' has too few clips to split: its {clips} clips"):
        divide(labels, np.arange(len(labels)), WORDS, spec())


def test_a_word_of_one_speaker_is_named() -> None:
    labels = labels_of(20)
    groups = np.arange(len(labels))
    groups[labels == WORDS.index("go")] = 0
    with pytest.raises(InputError, match="'go' has too few clips to split: its 20 clips lie in 1 groups"):
        divide(labels, np.unique(groups, return_inverse=True)[1], WORDS, spec())


def test_fractions_that_leave_an_empty_set() -> None:
    with pytest.raises(InputError, match="test set would be empty"):
        divide(labels_of(5), np.arange(60), WORDS, spec(test=0.001))


@pytest.mark.parametrize("fractions", [(0.5, 0.5), (0.9, 0.3), (0.0, 0.1), (1.0, 0.1), (-0.1, 0.1)])
def test_impossible_fractions(fractions: tuple[float, float]) -> None:
    with pytest.raises(msgspec.ValidationError):
        spec(*fractions)
