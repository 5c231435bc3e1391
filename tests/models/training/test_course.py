"""Which trainings can go on from which: no TensorFlow needed."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from models.history import Epoch
from models.settings import TrainSpec
from models.training.checkpoint import Checkpoint
from models.training.course import Position, continued, course_of, has_more, is_over


def spec(**changes: object) -> TrainSpec:
    settings = {"batch_size": 8, "epochs": 5, "learning_rate": 1e-3, "schedule": "constant", "early_stopping": 0}
    others = {"class_weights": "none", "compression": "log", "precision": "auto", "seed": 0}
    return msgspec.convert({**settings, **others, **changes}, TrainSpec)


def history(*losses: float) -> tuple[Epoch, ...]:
    return tuple(Epoch(number, 1e-3, 1.0, 0.5, loss, 0.5) for number, loss in enumerate(losses, 1))


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"epochs": 9}, True),
        ({"early_stopping": 3}, True),
        ({"stop_after": 3}, True),
        ({"learning_rate": 1e-2}, False),
        ({"seed": 1}, False),
        ({"schedule": "cosine"}, False),
    ],
)
def test_what_only_ends_a_training_is_no_part_of_its_course(change: dict[str, object], same: bool) -> None:
    assert (course_of(spec(**change)) == course_of(spec())) == same


def test_the_cosine_schedule_spans_all_epochs() -> None:
    cosine = {"schedule": "cosine"}
    assert course_of(spec(**cosine, epochs=6)) != course_of(spec(**cosine))
    assert course_of(spec(**cosine, stop_after=2, early_stopping=1)) == course_of(spec(**cosine))


# what was reached                      | settings                 | where that training goes on
CONTINUED = [
    (Position(history(3, 2)),             {},                        Position(history(3, 2))),
    (Position(history(3, 2), 4, 1.5, 9),  {},                        Position(history(3, 2), 4, 1.5, 9)),
    (Position((), 4, 1.5, 9),             {},                        Position((), 4, 1.5, 9)),
    (Position(history(3, 2), 4, 1.5, 9),  {"epochs": 2},             Position(history(3, 2))),
    (Position(history(3, 1, 2)),          {"epochs": 2},             Position(history(3, 1))),
    (Position(history(3, 2, 1)),          {"epochs": 2},             None),
    (Position(history(3, 2, 1)),          {"stop_after": 2},         None),
    (Position(history(1, 2, 3, 4)),       {"early_stopping": 2},     Position(history(1, 2, 3))),
    (Position(history(2, 3, 3, 1)),       {"early_stopping": 2},     None),
    (Position(history(2, 3, 3, 1)),       {"early_stopping": 3},     Position(history(2, 3, 3, 1))),
    (Position(history(2, float("nan"))),  {},                        Position(history(2, float("nan")))),
]  # fmt: skip


@pytest.mark.parametrize(("reached", "change", "expected"), CONTINUED)
def test_where_a_training_goes_on(reached: Position, change: dict[str, object], expected: Position | None) -> None:
    assert repr(continued(reached, spec(**change))) == repr(expected)  # NaN is not equal to itself


def test_what_could_be_trained_on() -> None:
    cosine = spec(schedule="cosine")
    assert has_more(history(3, 2, 1, 1, 1), spec())
    assert not has_more(history(3, 2, 1, 1, 1), cosine)
    assert has_more(history(3, 2, 1), cosine)
    assert is_over(history(3, 2), spec(stop_after=2))
    assert is_over(history(3, 2, 1, 1, 1), spec(stop_after=9))


def test_the_furthest_file_that_helps_is_loaded(tmp_path: Path) -> None:
    """Of other trainings, too; not of another key, nor damaged, nor one whose best epoch comes too late."""
    own, *others = (tmp_path / name for name in ("own", "far", "late", "other", "damaged", "missing"))
    positions = [history(3), history(3, 2, 4), history(3, 2, 4, 1), history(3, 2, 4), history(3, 2, 4, 4)]
    keys = ["k", "k", "k", "x", "k"]
    for path, key, epochs in zip([own, *others], keys, positions, strict=False):
        Checkpoint(path, key).save(Position(epochs), [np.array(len(epochs))], [np.array([1.0])])
    damaged = bytearray(others[3].read_bytes())
    at = damaged.index(b"best 0.npy") + 140  # in the array, so that the position can be read
    damaged[at] ^= 1
    others[3].write_bytes(damaged)
    found = Checkpoint(own, "k", others=tuple(others)).load(spec(epochs=3))
    assert found is not None
    assert found[0] == Position(history(3, 2, 4))
    np.testing.assert_equal(found[1:], ([np.array(3)], [np.array([1.0])]))
    assert Checkpoint(own, "none", others=tuple(others)).load(spec()) is None
