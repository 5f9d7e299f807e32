"""Numbers as the page writes them: decimals by the width of their scale, a true minus sign, intervals in brackets."""

from __future__ import annotations

from math import floor, isfinite, log10

from scorer.report.page.data import Interval

NONE = "–"
"""What stands where a value is unknown."""


def decimals(low: float, high: float) -> int:
    """How many decimals show a hundredth of the range from `low` to `high`: 2 for [1, 5] and [0, 1], 1 for [0, 100]."""
    span = high - low
    return 2 if not isfinite(span) or span <= 0 else min(max(2 - floor(log10(span)), 1), 6)


def number(value: float | None, places: int = 2) -> str:
    """The value with so many decimals; a dash where it is None or no number."""
    if value is None or not isfinite(value):
        return NONE
    shown = f"{value:,.{places}f}"
    return shown.replace("-", "−") if float(shown.replace(",", "")) else shown.removeprefix("-")


def bracket(interval: Interval, places: int = 2) -> str:
    """The 95 % interval as `[low, high]`; nothing where there is none."""
    if interval.low is None or interval.high is None:
        return ""
    return f"[{number(interval.low, places)}, {number(interval.high, places)}]"


def count(value: int) -> str:
    """A count with separators of thousands."""
    return f"{value:,}"


def percent(value: float | None) -> str:
    """A share as a percentage: `7 %`, below 10 % with one decimal."""
    if value is None or not isfinite(value):
        return NONE
    return f"{100 * value:.1f} %" if 0 < value < 0.1 else f"{100 * value:.0f} %"


def usd(value: float | None) -> str:
    """US dollars: cents from 1 dollar on, below it three significant digits."""
    if value is None or not isfinite(value):
        return NONE
    if not 1e-9 <= value < 1:
        return f"${value:,.2f}"
    whole, _, cents = f"{value:.{2 - floor(log10(value))}f}".partition(".")
    return f"${whole}.{cents.rstrip('0'):0<2}"


def raw(value: float | None) -> str:
    """A value for a CSV file: five significant digits, above 10,000 to the unit; nothing where it is unknown."""
    if value is None or not isfinite(value):
        return ""
    return f"{value:.5g}" if abs(value) < 10_000 else f"{value:.0f}"
