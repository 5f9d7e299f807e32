"""Axes: a range of values with round ticks, and positions on it as percentages of the width of a chart."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from math import ceil, floor, isfinite, log10

from scorer.report.html.figures import number
from scorer.report.page.data import Interval

LEFT, RIGHT = 4.0, 96.0
"""Where the range begins and ends, in percent of the width; half a label fits on either side."""
LEAST_WIDTH = 300
"""Pixels that a chart has at least: on a phone, or three beside one another."""
NARROWEST = 115
"""Pixels from the first to the last tick of a chart in a table on a phone."""
CHARACTER = 6.7
"""Pixels that a digit of a label is wide, at 12 pixels of Helvetica or Arial."""


@dataclass(frozen=True, slots=True)
class Axis:
    """A range of values, from the first to the last of its `ticks`; `places` are the decimals of their labels.

    `left` is where the range begins, in percent of the width.
    """

    low: float
    high: float
    ticks: tuple[float, ...]
    places: int
    left: float = LEFT

    def share(self, value: float) -> float:
        """Where the value stands between `low` (0) and `high` (1); outside values at the nearer end."""
        return min(max((value - self.low) / (self.high - self.low), 0.0), 1.0)

    def percent(self, value: float) -> float:
        """The position of the value in percent of the width."""
        return self.left + (RIGHT - self.left) * self.share(value)

    def x(self, value: float) -> str:
        """The position of the value as an SVG length."""
        return f"{self.percent(value):.2f}%"

    def label(self, value: float) -> str:
        """The label of a tick."""
        return number(value, self.places)


def axis(values: Iterable[float | None], around: Iterable[float] = (), ticks: int = 5) -> Axis:
    """The axis on which all `values` have their place, and those of `around` too; [0, 1] where there are none."""
    known = [value for value in (*values, *around) if value is not None and isfinite(value)]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    if high - low <= 1e-12 * max(abs(low), abs(high), 1e-300):
        low, high = low - (abs(low) / 2 or 0.5), high + (abs(high) / 2 or 0.5)
    step = _round_step((high - low) / ticks)
    first, last = floor(low / step + 1e-9), ceil(high / step - 1e-9)
    places = max(-floor(log10(step) + 1e-9), 0)
    points = tuple(round(step * at, places + 3) if places < 12 else step * at for at in range(first, last + 1))
    return Axis(points[0], points[-1], points, min(places, 9))


def beside(across: Axis, up: Axis, width: int = LEAST_WIDTH) -> Axis:
    """The axis `across`, begun to the right of the labels of the axis `up` in a chart that is `width` pixels wide."""
    widest = max(len(up.label(tick)) for tick in up.ticks[:-1])  # the last tick has none
    return replace(across, left=max(LEFT, 100 * (CHARACTER * widest + CHARACTER) / width))


def ends(intervals: Iterable[Interval]) -> Iterator[float | None]:
    """The values of intervals and their ends, for `axis`."""
    for interval in intervals:
        yield from (interval.value, interval.low, interval.high)


def _round_step(step: float) -> float:
    """The next of 1, 2, 5 times a power of ten."""
    power = 10.0 ** floor(log10(step))
    return next(round_ * power for round_ in (1, 2, 5, 10) if round_ * power >= step * (1 - 1e-9))
