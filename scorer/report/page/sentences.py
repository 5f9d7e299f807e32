"""Numbers and names within a sentence of the page."""

from __future__ import annotations

from collections.abc import Sequence

from scorer.report.page.data import Interval


def number(value: float | None) -> str:
    """Two decimals; three of small numbers, and four digits of large ones. With a true minus sign."""
    if value is None:
        return "unknown"
    if value < 0:
        return f"−{number(-value)}" if number(-value) != "0.00" else "0.00"
    if value < 1e-9:
        return "0.00"
    if value >= 1000:
        return f"{value:.4g}"
    decimals = 2 if value >= 0.01 else 3
    return f"{value:.{decimals}f}" if value >= 0.0005 else f"{value:.1g}"


def within(one: Interval) -> str:
    """ " [0.03, 0.21]", or nothing where there is no interval."""
    return "" if one.low is None or one.high is None else f" [{number(one.low)}, {number(one.high)}]"


def listed(names: Sequence[str], most: int = 4) -> str:
    """ "A", "A and B", "A, B and C"; of many the first, and how many more there are."""
    if len(names) > most:
        return f"{', '.join(names[: most - 1])} and {len(names) - most + 1} more"
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)
