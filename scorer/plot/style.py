"""What all charts share: Altair, loaded at the first chart; sizes, colours, axes; marks with intervals.

Marks have a contrast of 3 and more on white and on the dark themes of Altair (WCAG 1.4.11), and differ for people who
are colour-blind (after Okabe and Ito 2008, "Color universal design"). Background and words are the theme's:
`altair.theme.enable("dark")` makes dark charts.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from scorer.errors import SpecError
from scorer.escapes import printable_line

if TYPE_CHECKING:
    import altair as alt

WIDTH = 480
"""Pixels of a chart's plotted area: with its labels it fits a notebook's cell."""
COLOURS = ("#1f84c8", "#d55e00", "#009e73", "#b76a9a", "#948300", "#808080")
MOST_SERIES = len(COLOURS)
LABEL_PIXELS = 220
"""The longest label of an axis; a longer one ends in an ellipsis, and the tooltip has all of it."""

Rows = Sequence[Mapping[str, Any]]


def altair() -> Any:
    """The module. Raises SpecError where it is not installed."""
    try:
        return importlib.import_module("altair")
    except ImportError as error:
        raise SpecError(
            [f"scorer.plot needs Altair, which is not installed ({error.name}): pip install 'batch-scorer[plots]'."]
        ) from error


def data(rows: Iterable[Mapping[str, Any]]) -> Any:
    """The rows inside the chart, texts with invisible characters escaped."""
    shown = [{k: printable_line(v) if isinstance(v, str) else v for k, v in row.items()} for row in rows]
    return altair().InlineData(values=shown)


def title(text: str, subtitle: Sequence[str] = ()) -> Any:
    """The title of a chart, and below it, in smaller letters, what it is computed from."""
    lines = [printable_line(line) for line in subtitle]
    return altair().Title(printable_line(text), anchor="start", **({"subtitle": lines} if lines else {}))


def names_axis(field: str, order: Sequence[str], label: str = "") -> Any:
    """A vertical axis of names in this order."""
    alt = altair()
    words = alt.Axis(labelLimit=LABEL_PIXELS, labelPadding=8, ticks=False, domain=False, title=label or None)
    return alt.Y(f"{field}:N", sort=[printable_line(name) for name in order], axis=words)


def numbers_axis(field: str, label: str, low: float | None = None, high: float | None = None) -> Any:
    """A horizontal axis of numbers, from `low` to `high` where both are given."""
    alt = altair()
    reach: dict[str, Any] = {"padding": 14} if low is None or high is None else {"domain": [low, high]}
    scale = alt.Scale(zero=False, nice=False, **reach)
    return alt.X(f"{field}:Q", title=printable_line(label), scale=scale)


def series_colour(field: str, label: str, names: Sequence[str]) -> Any:
    """A colour for each series; without a legend where there is one. Raises SpecError for more than there are."""
    alt = altair()
    if len(names) > MOST_SERIES:
        raise SpecError([f"{len(names)} series are too many for one chart; give at most {MOST_SERIES} at a time."])
    shown = [printable_line(name) for name in names]
    legend = alt.Legend(title=label, orient="top", symbolOpacity=1, labelLimit=LABEL_PIXELS) if len(names) > 1 else None
    return alt.Color(f"{field}:N", scale=alt.Scale(domain=shown, range=list(COLOURS[: len(names)])), legend=legend)


def tooltips(fields: Mapping[str, str]) -> list[Any]:
    """What a mark says under the mouse: the fields by their names of the data, each with its label."""
    alt = altair()
    forms = {"Q": {"format": ".4~g"}}
    return [alt.Tooltip(name, title=label, **forms.get(name.rpartition(":")[2], {})) for name, label in fields.items()]


def intervals(rows: Rows, x: Any, y: Any, says: Mapping[str, str], **encoding: Any) -> alt.LayerChart:
    """A point at `value` for each row with its interval from `low` to `high`, where that is known."""
    alt = altair()
    colour = {"color": alt.value(COLOURS[0]), **encoding}
    base = alt.Chart(data(rows)).encode(y=y, tooltip=tooltips(says), **colour)
    rules = base.mark_rule(strokeWidth=2.5, opacity=0.55).encode(x=alt.X("low:Q"), x2="high:Q")
    points = base.mark_point(filled=True, size=70, opacity=1).encode(x=x)
    return points + rules.transform_filter("isValid(datum.low) && isValid(datum.high)")


def broken_line(value: float) -> Any:
    """A vertical broken line at the value that means no effect."""
    alt = altair()
    return alt.Chart(data([{"at": value}])).mark_rule(strokeDash=[4, 4], color="#808080").encode(x="at:Q")


def stacked(charts: Sequence[Any]) -> Any:
    """One chart, or several one below the other."""
    return charts[0] if len(charts) == 1 else altair().vconcat(*charts)
