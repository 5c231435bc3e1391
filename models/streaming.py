"""Scoring a network on a stream: false alarms an hour against missed words, over the threshold."""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from models.detection import Detector, Event

THRESHOLDS = tuple(round(float(1 / (1 + np.exp(-log_odds))), 4) for log_odds in np.arange(-0.8, 7, 0.1))
"""From 0.31 to 0.999, evenly spaced in log odds."""
FALSE_ALARMS_PER_HOUR = 1.0
"""What the chosen threshold allows."""


@dataclass(frozen=True)
class Spoken:
    """A word that is to be found in a stream."""

    word: int
    start_s: float
    end_s: float
    """Of the clip."""
    speech_end_s: float
    """Where the speech in the clip ends."""


@dataclass(frozen=True)
class Point:
    """What a threshold gives."""

    threshold: float
    false_alarms: int
    false_alarms_per_hour: float
    """In the time in which none of the words to find is spoken."""
    missed: float
    """Share of the words to find that were not reported."""
    delay_s: float
    """Median time from the end of a word to its report; NaN if none was found."""


def match(events: Sequence[Event], spoken: Sequence[Spoken], clip_s: float) -> tuple[int, list[float]]:
    """Count false alarms, and tell the delay of each word that was found.

    A report counts for a word if it comes between the start of its clip and one clip after its end, and it is the
    first. Every other report is a false alarm: of another word, of one that was reported already, in noise.

    Parameters
    ----------
    events : sequence of Event
        In order.
    spoken : sequence of Spoken
        In order, and not overlapping.

    Returns
    -------
    (int, list of float)
        Number of false alarms; seconds from the end of each word found to its report.
    """
    starts = np.array([word.start_s for word in spoken])
    found: set[int] = set()
    delays = []
    false_alarms = 0
    for event in events:
        at_s = event.reported_s(clip_s)
        last = int(np.searchsorted(starts, at_s, side="right")) - 1
        near = [number for number in (last, last - 1) if number >= 0 and at_s <= spoken[number].end_s + clip_s]
        hit = next((number for number in near if spoken[number].word == event.word and number not in found), None)
        if hit is None:
            false_alarms += 1
        else:
            found.add(hit)
            delays.append(at_s - spoken[hit].speech_end_s)
    return false_alarms, delays


def curve(
    averages: NDArray[np.float64],
    spoken: Sequence[Spoken],
    background: Collection[int],
    clip_s: float,
    seconds: float,
) -> list[Point]:
    """What each threshold gives.

    Parameters
    ----------
    averages : float64 array, shape (windows, words)
        As :func:`models.detection.average` returns them.
    spoken : sequence of Spoken
        All words to find.
    background : collection of int
        Labels that are never reported.
    clip_s : float
    seconds : float
        Length of the stream.
    """
    hours = (seconds - len(spoken) * clip_s) / 3600
    points = []
    for threshold in THRESHOLDS:
        detect = Detector(threshold, background)
        detect(averages)
        false_alarms, delays = match(detect.events, spoken, clip_s)
        points.append(
            Point(
                threshold,
                false_alarms,
                false_alarms / hours,
                1 - len(delays) / len(spoken),
                float(np.median(delays)) if delays else float("nan"),
            )
        )
    return points


def choose(points: Sequence[Point]) -> Point:
    """The lowest threshold from which on there is at most one false alarm an hour, or else the highest.

    Examples
    --------
    >>> rates = [9.0, 0.5, 2.0, 1.0, 0.0]
    >>> choose([Point(0.1 * number, 0, rate, 0.0, 0.0) for number, rate in enumerate(rates)]).false_alarms_per_hour
    1.0
    """
    chosen = points[-1]
    for point in reversed(points):
        if point.false_alarms_per_hour > FALSE_ALARMS_PER_HOUR:
            break
        chosen = point
    return chosen


def summary(point: Point, hours: float) -> dict[str, Any]:
    """A point, and the upper end of the one-sided 95 % interval of its false alarms an hour (Poisson)."""
    most = float(chi2.ppf(0.95, 2 * (point.false_alarms + 1)) / 2)
    return {**asdict(point), "false_alarms_per_hour_below": most / hours}
