"""Which clips a report shows, and which fit into it."""

import numpy as np

from models.predictions import Predictions
from pipeline.pages.galleries import ClipId, Gallery, changed_sides, fit, galleries_of, shown_first

WORDS = ("yes", "no")


def predictions(labels: list[int], sure_of_yes: list[float], rows: list[int] | None = None) -> Predictions:
    yes = np.array(sure_of_yes)
    probabilities = np.stack([yes, 1 - yes], axis=1)
    numbers = np.array(rows if rows is not None else range(len(labels)))
    return Predictions(
        numbers, np.full(len(numbers), ""), np.array(labels), probabilities.argmax(axis=1), probabilities, WORDS
    )


def numbers(gallery: Gallery) -> list[int]:
    return [clip.number for clip in gallery.clips]


def test_mistakes_begin_with_the_surest_and_right_answers_with_the_least_sure() -> None:
    found = galleries_of("base", predictions([0, 0, 0, 1, 1], [0.9, 0.4, 0.1, 0.2, 0.7]))
    assert numbers(found["mistakes-base"]) == [2, 4, 1]
    assert numbers(found["unsure-base"]) == [3, 0]
    assert {name: numbers(gallery) for name, gallery in found.items() if gallery.is_cell} == {
        "cell-base-0-0": [0],
        "cell-base-0-1": [2, 1],
        "cell-base-1-0": [4],
        "cell-base-1-1": [3],
    }


def test_clips_that_changed_sides_are_found_by_their_rows() -> None:
    before = predictions([0, 0, 1, 1], [0.9, 0.1, 0.1, 0.9], rows=[10, 11, 12, 13])
    now = predictions([1, 0, 0, 1], [0.1, 0.2, 0.9, 0.3], rows=[13, 10, 11, 99])
    found = changed_sides("base", before, now)
    assert numbers(found["better-base"]) == [0, 2]  # rows 13 and 11
    assert numbers(found["worse-base"]) == [1]  # row 10; row 99 was not tested before


def test_cells_come_last_and_every_clip_once() -> None:
    first, second, third = (ClipId("test", number) for number in range(3))
    galleries = {
        "cell": Gallery([third, first], is_cell=True),
        "mistakes": Gallery([first, second]),
        "unsure": Gallery([second]),
    }
    assert list(shown_first(galleries)) == [first, second, third]


def test_no_gallery_waits_for_another_to_end() -> None:
    one = [ClipId("test", number) for number in range(10)]
    other = [ClipId("train", number) for number in range(2)]
    order = list(shown_first({"one": Gallery(one), "other": Gallery(other)}))
    assert order[:4] == [one[0], other[0], one[1], other[1]]


def test_clips_are_taken_until_there_is_no_room() -> None:
    clips = [ClipId("test", number) for number in range(5)]
    encoded = fit(clips, lambda clip: {"sound": "x" * 3, "picture": "y"}, budget=9)
    assert list(encoded) == clips[:2]
