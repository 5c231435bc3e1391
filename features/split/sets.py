"""Which clip goes to train, validation or test: arithmetic on labels and groups that opens no file."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from features.errors import InputError

SETS = ("train", "validation", "test")


class SplitSpec(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How many clips to set apart for validation and test, and the seed of the choice."""

    test_fraction: Annotated[float, Meta(gt=0, lt=1)]
    validation_fraction: Annotated[float, Meta(gt=0, lt=1)]
    seed: Annotated[int, Meta(ge=0)]
    published: Literal["check", "trust", "ignore"] = "check"
    """What to do with a split that the npz publishes: take it if no speaker and no clip is in two sets; take it in any
    case; or divide anew."""
    leave_out: tuple[Literal["wrong label", "bad audio"], ...] = ("wrong label", "bad audio")
    """Marks of clips to leave out of their sets; see :mod:`features.split.marks`."""

    def __post_init__(self) -> None:
        if self.test_fraction + self.validation_fraction >= 1:
            raise ValueError(
                f"test_fraction {self.test_fraction} and validation_fraction {self.validation_fraction} add up to "
                f"{self.test_fraction + self.validation_fraction:g} and leave an empty train set; expected less than 1"
            )

    @property
    def fractions(self) -> tuple[float, float, float]:
        """Share of each set, in the order of :data:`SETS`."""
        return 1 - self.test_fraction - self.validation_fraction, self.validation_fraction, self.test_fraction


def join_groups(speakers: NDArray[np.str_] | None, digests: NDArray[np.void]) -> NDArray[np.int64]:
    """Number the groups of clips that must stay together: same speaker, same content, or linked by a chain of both.

    Parameters
    ----------
    speakers : text array, shape (clips,), or None
        Who speaks each clip, if known; an empty name is an unknown speaker, and nobody else.
    digests : bytes array, shape (clips,)
        Equal for clips of equal content.

    Returns
    -------
    int64 array, shape (clips,)
        Group numbers from 0, in the order of names or else of first rows, so that editing a clip renumbers no group.

    Examples
    --------
    >>> join_groups(np.array(["ann", "bob", "cid"]), np.array([b"x", b"x", b"y"], "V1"))
    array([0, 0, 1])
    """
    _, content = np.unique(digests, return_inverse=True)
    links, group = [content], np.arange(len(digests))
    if speakers is not None:
        names, group = np.unique(speakers, return_inverse=True)
        unknown = np.flatnonzero(speakers == "")
        group[unknown] = len(names) + np.arange(len(unknown))
        links.append(group)
    before = None
    while before is None or (group != before).any():  # each round follows the chains by one link
        before = group
        for link in links:
            lowest = np.full(link.max() + 1, len(digests))
            np.minimum.at(lowest, link, group)
            group = lowest[link]
    return np.unique(group, return_inverse=True)[1].astype(np.int64)


def target_counts(word_counts: NDArray[np.int64], fractions: tuple[float, ...]) -> NDArray[np.int64]:
    """How many clips of each word each set should get.

    The first set takes what rounding leaves, and every set at least one clip of a word that has as many clips as there
    are sets.

    Parameters
    ----------
    word_counts : int64 array, shape (words,)
    fractions : tuple of float
        Share of each set.

    Returns
    -------
    int64 array, shape (sets, words)
        Sums to ``word_counts``.

    Examples
    --------
    >>> target_counts(np.array([100, 3]), (0.8, 0.1, 0.1)).tolist()
    [[80, 1], [10, 1], [10, 1]]
    """
    at_least = (word_counts >= len(fractions)).astype(np.int64)
    wanted = np.maximum(np.rint(np.outer(fractions, word_counts)).astype(np.int64), at_least)
    wanted[0] = word_counts - wanted[1:].sum(axis=0)
    for word in np.flatnonzero(wanted[0] < at_least):  # rounding left the first set without one
        largest = 1 + int(wanted[1:, word].argmax())
        wanted[largest, word] -= 1 - wanted[0, word]
        wanted[0, word] = 1
    return wanted


def divide(
    labels: NDArray[np.integer[Any]], groups: NDArray[np.int64], words: Sequence[str], spec: SplitSpec
) -> dict[str, NDArray[np.int64]]:
    """Divide clips into train, validation and test sets.

    Whole groups are assigned, the largest first and otherwise in random order, each to the set whose word counts it
    brings closest to their targets, in the spirit of Sechidis et al., "On the stratification of multi-label data"
    (ECML 2011). If every group is one clip, the targets are met exactly.

    Parameters
    ----------
    labels : integer array, shape (clips,)
        Positions in ``words``.
    groups : int64 array, shape (clips,)
        Group number of each clip, from 0; a group stays in one set.

    Returns
    -------
    dict
        Rows of each of :data:`SETS`, int64, in random order.

    Raises
    ------
    InputError
        If a set would be empty, or lack a word that the source has.
    """
    for name, fraction in zip(SETS, spec.fractions, strict=True):
        if round(fraction * len(labels)) == 0:
            raise InputError(
                f"the {name} set would be empty: its fraction of {fraction:g} is less than one of {len(labels)} clips; "
                "expected every set to get some, so choose other fractions under split or bring more clips"
            )
    rng = np.random.default_rng(spec.seed)
    group_words = np.zeros((groups.max() + 1, len(words)), np.int64)
    np.add.at(group_words, (groups, labels), 1)
    word_counts = group_words.sum(axis=0)
    targets = target_counts(word_counts, spec.fractions)
    missing = targets.astype(np.float64)
    weight = 1 / np.maximum(targets, 1)
    chosen = np.zeros(len(group_words), np.int64)
    shuffled = rng.permutation(len(group_words))
    for group in shuffled[np.argsort(-group_words[shuffled].sum(axis=1), kind="stable")]:
        counts = group_words[group]
        gain = (counts * (2 * missing - counts) * weight).sum(axis=1)  # how far squared distance to the targets falls
        best = int(gain.argmax())
        chosen[group] = best
        missing[best] -= counts
    _fill_gaps(group_words, chosen, words)
    set_of_clip = chosen[groups]
    return {name: rng.permutation(np.flatnonzero(set_of_clip == number)) for number, name in enumerate(SETS)}


def _fill_gaps(group_words: NDArray[np.int64], chosen: NDArray[np.int64], words: Sequence[str]) -> None:
    """Give a set that lacks a word the smallest group with that word whose own set keeps all its words without it."""
    for number, name in enumerate(SETS):
        for word in np.flatnonzero(group_words.sum(axis=0)):
            if group_words[chosen == number, word].any():
                continue
            for group in sorted(np.flatnonzero(group_words[:, word]), key=lambda group: group_words[group].sum()):
                left = group_words[chosen == chosen[group]].sum(axis=0) - group_words[group]
                if (left[group_words[group] > 0] > 0).all():
                    chosen[group] = number
                    break
            else:
                clips, in_groups = group_words[:, word].sum(), np.count_nonzero(group_words[:, word])
                raise InputError(
                    f"the word {words[word]!r} has too few clips to split: its {clips} clips lie in {in_groups} groups "
                    f"(speakers or copies, which stay together) and none is left for the {name} set; expected at least "
                    f"one clip in each of {', '.join(SETS)}, so bring more clips or speakers of it or change split.seed"
                )
