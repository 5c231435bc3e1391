import numpy as np
import pytest

from models.detection import WINDOWS_PER_CLIP, Event
from models.streaming import Point, Spoken, choose, curve, match, summary

CLIP_S = 1.0
SPOKEN = [Spoken(0, 10, 11, 10.7), Spoken(1, 12.5, 13.5, 13.2), Spoken(0, 20, 21, 20.8)]


def event(word: int, at_s: float) -> Event:
    """An event that is reported at a time."""
    return Event(word, round((at_s - CLIP_S) * WINDOWS_PER_CLIP), 0, 0.9)


@pytest.mark.parametrize(
    ("events", "false_alarms", "delays"),
    [
        ([], 0, []),
        ([(0, 10.75)], 0, [0.05]),
        ([(1, 10.75)], 1, []),  # another word
        ([(0, 9.75)], 1, []),  # before the word
        ([(0, 12.0)], 0, [1.3]),  # up to a clip after its end
        ([(0, 12.25)], 1, []),  # later than that
        ([(0, 10.75), (0, 11.75)], 1, [0.05]),  # a second time
        ([(0, 13.0)], 1, []),  # while another word is spoken
        ([(0, 10.75), (1, 13.5), (0, 21.0)], 0, [0.05, 0.3, 0.2]),
        ([(0, 15.0)], 1, []),  # in noise
    ],
)
def test_match(events: list[tuple[int, float]], false_alarms: int, delays: list[float]) -> None:
    counted, found = match([event(*each) for each in events], SPOKEN, CLIP_S)
    assert counted == false_alarms
    assert found == pytest.approx(delays)


def test_a_word_may_be_reported_after_the_next_one_began() -> None:
    near = [Spoken(0, 10, 11, 10.7), Spoken(1, 11.2, 12.2, 12)]
    assert match([event(0, 11.5), event(1, 12.0)], near, CLIP_S)[0] == 0


def test_curve_counts_what_each_threshold_gives() -> None:
    """One word found with 0.8, and one false alarm with 0.5, in ten seconds."""
    averages = np.full((40, 2), 0.1)
    averages[5, 0] = 0.8
    averages[30, 0] = 0.5
    (word,) = [Spoken(0, 1.2, 2.2, 2.0)]
    points = curve(averages, [word], [1], CLIP_S, 10)

    def at(threshold: float) -> Point:
        return min(points, key=lambda point: abs(point.threshold - threshold))

    assert at(0.4).false_alarms == 1
    assert at(0.4).false_alarms_per_hour == pytest.approx(3600 / 9)
    assert (at(0.6).false_alarms, at(0.6).missed) == (0, 0)
    assert at(0.6).delay_s == pytest.approx(0.25)
    assert (at(0.9).false_alarms, at(0.9).missed) == (0, 1)
    assert np.isnan(at(0.9).delay_s)


def test_choose_takes_the_highest_threshold_where_none_is_quiet_enough() -> None:
    points = [Point(threshold, 9, 9.0, 0.1, 0.1) for threshold in (0.5, 0.9)]
    assert choose(points).threshold == 0.9


def test_the_interval_of_no_false_alarm_is_the_rule_of_three() -> None:
    assert summary(Point(0.5, 0, 0.0, 0.1, 0.1), hours=2)["false_alarms_per_hour_below"] == pytest.approx(1.5, abs=0.01)
