"""Charts as numbers: where lines, points and ticks lie in a drawing of 480 by 260 units. A template draws them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.ticker import LogLocator, MaxNLocator

WIDTH, HEIGHT = 480, 260
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 12, 44
TICKS = 5
HEADROOM = 0.08
"""Share of the height above 100 %, where names are written."""


@dataclass(frozen=True)
class Tick:
    """A place on an axis, and what it is called."""

    place: float
    label: str


@dataclass(frozen=True)
class Series:
    """A line through points, or points with intervals."""

    name: str
    number: int
    """Of its colour, from 0."""
    points: list[tuple[float, float]]
    intervals: list[tuple[float, float]] = field(default_factory=list)
    """Ends of a vertical bar at each point, from top to bottom."""
    titles: list[str] = field(default_factory=list)
    """What each point says when it is pointed at."""
    is_faint: bool = False
    label_down: int = -6
    """How far below a point its name is written, so that names of neighbours do not lie on each other."""

    @property
    def path(self) -> str:
        """The points as SVG writes a line."""
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in self.points)


@dataclass(frozen=True)
class Chart:
    """Everything a drawing needs."""

    title: str
    x_name: str
    y_name: str
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    series: list[Series]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


@dataclass(frozen=True)
class _Axis:
    low: float
    high: float
    start: float
    end: float
    is_log: bool = False

    def place(self, value: float) -> float:
        low, high, value = np.log10([self.low, self.high, value]) if self.is_log else (self.low, self.high, value)
        share = (value - low) / (high - low) if high > low else 0.5
        return float(self.start + share * (self.end - self.start))


@dataclass(frozen=True)
class Rated:
    """A network as a point: what it costs and how good it is."""

    name: str
    cost: float
    accuracy: float
    low: float
    high: float


def cost_chart(networks: Sequence[Rated]) -> Chart:
    """Accuracy with its interval over multiply-adds, which have a logarithmic axis."""
    costs = [network.cost for network in networks]
    x = _Axis(min(costs) / 2, max(costs) * 2, LEFT, WIDTH - RIGHT, is_log=True)
    lowest = max(0.0, min(network.low for network in networks) - 0.02)
    y = _Axis(lowest, 1.0 + HEADROOM * (1 - lowest), HEIGHT - BOTTOM, TOP)
    series = [
        Series(
            network.name,
            number,
            [(x.place(network.cost), y.place(network.accuracy))],
            [(y.place(network.high), y.place(network.low))],
            [f"{network.name}: {network.accuracy:.1%} right, {network.cost / 1e6:,.1f} million multiply-adds"],
            label_down=16 if number % 2 else -6,
        )
        for number, network in enumerate(networks)
    ]
    decades = [value for value in LogLocator().tick_values(x.low, x.high) if x.low <= value <= x.high]
    if len(decades) < 2:
        decades = sorted(set(costs))
    return Chart(
        "Accuracy and cost of each network",
        "multiply-adds a clip, in millions",
        "right on the test set",
        [Tick(x.place(value), _rounded(value / 1e6)) for value in decades],
        [tick for tick in _percent_ticks(y) if tick.place >= y.place(1.0)],
        series,
    )


def curves(
    title: str, y_name: str, lines: Sequence[tuple[str, int, Sequence[float], bool]], *, as_percent: bool
) -> Chart:
    """A value of each epoch, a line a network.

    Parameters
    ----------
    lines : sequence of (name, colour number, value of each epoch, whether the line is faint)
        Values that are not finite are left out.
    """
    longest = max((len(values) for _, _, values, _ in lines), default=1)
    finite = [value for _, _, values, _ in lines for value in values if np.isfinite(value)] or [0.0]
    margin = 0.05 * (max(finite) - min(finite)) or 0.05
    x = _Axis(1, max(longest, 2), LEFT, WIDTH - RIGHT)
    y = _Axis(min(finite) - margin, max(finite) + margin, HEIGHT - BOTTOM, TOP)
    series = []
    for name, number, values, is_faint in lines:
        known = [(epoch, value) for epoch, value in enumerate(values, 1) if np.isfinite(value)]
        titles = [f"{name}, epoch {epoch}: {format(value, '.1%' if as_percent else '.3f')}" for epoch, value in known]
        points = [(x.place(epoch), y.place(value)) for epoch, value in known]
        series.append(Series(name, number, points, [], titles, is_faint))
    epochs = MaxNLocator(TICKS, integer=True).tick_values(1, longest)
    return Chart(
        title,
        "epoch",
        y_name,
        [Tick(x.place(value), f"{value:g}") for value in epochs if 1 <= value <= longest],
        _percent_ticks(y) if as_percent else _ticks(y),
        series,
    )


def _rounded(value: float) -> str:
    """Three digits, without an exponent.

    Examples
    --------
    >>> _rounded(1000), _rounded(0.0031234), _rounded(1.5)
    ('1000', '0.00312', '1.5')
    """
    return f"{float(f'{value:.3g}'):g}"


def _percent_ticks(axis: _Axis) -> list[Tick]:
    return [Tick(tick.place, f"{100 * float(tick.label):g} %") for tick in _ticks(axis)]


def _ticks(axis: _Axis) -> list[Tick]:
    values = MaxNLocator(TICKS).tick_values(axis.low, axis.high)
    return [Tick(axis.place(value), f"{value:.6g}") for value in values if axis.low <= value <= axis.high]
