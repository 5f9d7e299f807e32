"""Histograms of scores: over all rows, or one for each value of a column."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from scorer.analysis.columns import take
from scorer.analysis.score_range import scale_of
from scorer.counted import counted
from scorer.errors import SpecError
from scorer.escapes import printable_line
from scorer.frames.opened_table import opened
from scorer.plot.style import COLOURS, WIDTH, altair, data, title, tooltips
from scorer.report.page.bins import Bins, bins_of
from scorer.report.page.column_summary import summary_of

if TYPE_CHECKING:
    import altair as alt

MOST_GROUPS = 20
_SAYS = {"group:N": "Of", "bin:N": "Score", "rows:Q": "Rows"}


def distribution(table: Any, score: str = "score", *, by: str | None = None) -> alt.Chart | alt.FacetChart:
    """How many rows have which score. A score that few values occur of has a bar for each value, else 20 ranges.

    `table` is a path, an output folder, several of them, or a frame. With `by`, the column of the system, of the task
    or another one, each of its values has a histogram, the largest 20. Rows without a score are counted in the title.
    Raises SpecError for columns that are missing or cannot serve, and where no row has a score.
    """
    frame, (column, *more), is_named = opened(table, [score])
    if more:
        raise SpecError([f"Of several runs give one score column: {', '.join([column, *more])}."])
    columns = take(frame, [column], [by] if by else [])
    values = columns.floats(column)
    bins = bins_of(column, summary_of([values]), scale_of(table, column) if is_named else None)
    if bins is None:
        raise SpecError([f"No row has a value in {column}; a histogram needs scores."])
    codes, names = columns.codes(by) if by else (np.zeros(len(values), dtype=np.int64), [""])
    largest = [group for group, _ in Counter(codes.tolist()).most_common(MOST_GROUPS)]
    rows = [
        row
        for group in sorted(largest)
        for row in _bars(
            bins,
            np.bincount(bins.codes(values[(codes == group) & np.isfinite(values)]), minlength=bins.size),
            names[group],
        )
    ]
    unread = int(np.isnan(values).sum())
    about = [counted(len(values), "row") + (f", {unread:,} of them without a score" if unread else "")]
    if len(names) > MOST_GROUPS:
        about.append(f"The largest {MOST_GROUPS} of {len(names):,} values of {by}.")
    return _chart(rows, bins, by, title(f"Rows by {column}", about))


def _bars(bins: Bins, counts: Any, group: str) -> list[dict[str, Any]]:
    return [
        {"group": group, "bin": bins.label(at), "from": bins.edges[at], "to": bins.edges[at + 1], "rows": int(count)}
        for at, count in enumerate(counts)
    ]


def _chart(rows: list[dict[str, Any]], bins: Bins, by: str | None, heading: Any) -> Any:
    alt = altair()
    ticks = alt.Axis(values=list(bins.values)) if bins.values else alt.Axis()
    bars = (
        alt.Chart(data(rows))
        .mark_bar(color=COLOURS[0], stroke="white", strokeOpacity=0.4)
        .encode(
            x=alt.X("from:Q", title=printable_line(bins.name), scale=alt.Scale(zero=False, nice=False), axis=ticks),
            x2="to:Q",
            y=alt.Y("rows:Q", title="Rows", axis=alt.Axis(tickMinStep=1, tickCount=4)),
            y2=alt.datum(0),
            tooltip=tooltips(_SAYS if by else {name: label for name, label in _SAYS.items() if name != "group:N"}),
        )
        .properties(width=WIDTH, height=70 if by else 200)
    )
    if by is None:
        return bars.properties(title=heading)
    head = alt.Header(
        labelLimit=WIDTH, labelAngle=0, labelAlign="left", labelOrient="top", labelAnchor="start", labelPadding=2
    )
    return bars.facet(row=alt.Row("group:N", title=None, header=head), spacing=8).properties(title=heading)
