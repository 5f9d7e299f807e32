"""How far a judge agrees with people: coefficients with intervals, and the rows by both values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from scorer.analysis.agree_result import Agreement
from scorer.analysis.columns import take
from scorer.analysis.inter_judge import InterJudge
from scorer.analysis.score_range import scale_of
from scorer.counted import counted
from scorer.errors import SpecError
from scorer.frames import judge_analyses
from scorer.frames.opened_table import Names, opened
from scorer.plot.style import (
    COLOURS,
    WIDTH,
    altair,
    data,
    intervals,
    names_axis,
    numbers_axis,
    series_colour,
    title,
    tooltips,
)
from scorer.report.page.bins import Bins, bins_of
from scorer.report.page.column_summary import summary_of

if TYPE_CHECKING:
    import altair as alt

STATISTICS = {
    "pearson": "Pearson's r",
    "spearman": "Spearman's rho",
    "kendall": "Kendall's tau-b",
    "pairwise_accuracy": "Pairwise accuracy",
}
_LEVELS = {"dataset": "over all rows", "item": "within items", "system": "over systems"}
_SAYS = {
    "series:N": "Scores",
    "part:N": "Where",
    "value:Q": "Value",
    "low:Q": "95 % from",
    "high:Q": "to",
    "n:Q": "Rows",
    "unread:Q": "Without a score",
}
_JOINT = {"human_bin:N": "Human value", "score_bin:N": "Score", "rows:Q": "Rows"}
RANGES = 10
"""Ranges of each side where there are many values."""
SIDE = 320
"""Pixels of the square of judge against human."""


def agreement(
    given: Any,
    score: Names = "score",
    human: Names = (),
    *,
    statistic: str = "spearman",
    **options: Any,
) -> alt.LayerChart:
    """A coefficient with its 95 % interval over all rows, within items and over systems, and by task over its rows.

    `given` is a table with the arguments of `scorer.agree`, or its result; without `human`, judges with each other.
    `statistic` is pearson, spearman, kendall or pairwise_accuracy. Levels for which it is undefined are left out.
    Raises SpecError as `scorer.agree` does, and where no value is defined.
    """
    if statistic not in STATISTICS:
        raise SpecError([f"statistic = {statistic!r} is none of {', '.join(STATISTICS)}."])
    result = (
        given if isinstance(given, Agreement | InterJudge) else judge_analyses.agree(given, score, human, **options)
    )
    rows = [
        {
            **row,
            "series": row["score"] if "score" in row else f"{row['first']} and {row['second']}",
            "part": _LEVELS[row["level"]] if row["task"] is None else f"task {row['task']}",
        }
        for row in result.frame.filter(statistic=statistic).to_dicts()
        if row["value"] is not None and (row["task"] is None or row["level"] == "dataset")
    ]
    if not rows:
        raise SpecError([f"{STATISTICS[statistic]} is undefined everywhere: one side is constant."])
    series = list(dict.fromkeys(row["series"] for row in rows))
    parts = list(dict.fromkeys(row["part"] for row in rows))
    low = min(0.0, *(min(row["value"], row["low"] or 0.0) for row in rows))
    alt = altair()
    encoding = {"color": series_colour("series", "Scores", series)}
    if len(series) > 1:
        encoding["yOffset"] = alt.YOffset("series:N", sort=series)
    who = "human values" if isinstance(result, Agreement) else "each other"
    counts = sorted({row["n"] for row in rows if row["task"] is None})
    about = [" to ".join(f"{n:,}" for n in {counts[0]: 0, counts[-1]: 0}) + " rows with both. Lines: 95 % intervals."]
    across = numbers_axis("value", STATISTICS[statistic], low, 1.0)
    return intervals(rows, across, names_axis("part", parts), _SAYS, **encoding).properties(
        width=WIDTH, height={"step": 24}, title=title(f"Agreement of scores with {who}", about)
    )


def judge_against_human(table: Any, score: str = "score", human: str = "human") -> alt.LayerChart:
    """Rows by score and human value, as dots whose area is the number of rows; on the line both are the same.

    The line is there where both sides have the same range. `table` is a path, an output folder, or a frame. Columns of
    many values are in ten ranges. Raises SpecError for columns that are missing or cannot serve, and where no row has
    both values.
    """
    frame, (column, *more), is_named = opened(table, [score])
    if more:
        raise SpecError([f"Of several runs give one score column: {', '.join([column, *more])}."])
    columns = take(frame, [column, human])
    x, y = columns.floats(human), columns.floats(column)
    both = np.isfinite(x) & np.isfinite(y)
    of_x = bins_of(human, summary_of([x[both]]), ranges=RANGES)
    of_y = bins_of(column, summary_of([y[both]]), scale_of(table, column) if is_named else None, ranges=RANGES)
    if of_x is None or of_y is None:
        raise SpecError([f"No row has both {column} and {human}."])
    rows = _joint(of_x, of_y, of_x.codes(x[both]), of_y.codes(y[both]))
    unread = int((np.isfinite(x) & ~np.isfinite(y)).sum())
    about = [
        f"{counted(int(both.sum()), 'row')} with both" + (f", {unread:,} with a human value alone" if unread else "")
    ]
    return _square(rows, (of_x, of_y), title(f"{column} against {human}", about))


def _joint(of_x: Bins, of_y: Bins, x: Any, y: Any) -> list[dict[str, Any]]:
    counts = np.bincount(x * of_y.size + y, minlength=of_x.size * of_y.size)
    return [
        {
            "human": _middle(of_x, at // of_y.size),
            "score": _middle(of_y, at % of_y.size),
            "human_bin": of_x.label(at // of_y.size),
            "score_bin": of_y.label(at % of_y.size),
            "rows": int(counts[at]),
        }
        for at in np.flatnonzero(counts).tolist()
    ]


def _middle(bins: Bins, at: int) -> float:
    return bins.values[at] if bins.values else (bins.edges[at] + bins.edges[at + 1]) / 2


def _square(rows: list[dict[str, Any]], sides: tuple[Bins, Bins], heading: Any) -> Any:
    alt = altair()
    of_x, of_y = sides
    ends = [(bins.edges[0], bins.edges[-1]) for bins in sides]
    alike = ends[0][0] < ends[1][1] and ends[1][0] < ends[0][1] and _ratio(ends) < 2
    if alike:
        ends = [(min(low for low, _ in ends), max(high for _, high in ends))] * 2
    x, y = (
        axis(f"{field}:Q", title=name, scale=alt.Scale(domain=list(end), nice=False, zero=False))
        for axis, field, name, end in ((alt.X, "human", of_x.name, ends[0]), (alt.Y, "score", of_y.name, ends[1]))
    )
    most = max(row["rows"] for row in rows)
    legend = alt.Legend(values=sorted({1, (most + 1) // 2, most}), format="d")
    size = alt.Size("rows:Q", title="Rows", scale=alt.Scale(rangeMin=15, rangeMax=700, zero=True), legend=legend)
    dots = (
        alt.Chart(data(rows))
        .mark_circle(color=COLOURS[0], opacity=0.75)
        .encode(x=x, y=y, size=size, tooltip=tooltips(_JOINT))
    )
    same = [{"human": end, "score": end} for end in ends[0]] if alike else []
    line = alt.Chart(data(same)).mark_line(strokeDash=[4, 4], color="#808080", strokeWidth=1).encode(x=x, y=y)
    return ((line + dots) if alike else alt.layer(dots)).properties(width=SIDE, height=SIDE, title=heading)


def _ratio(ends: list[tuple[float, float]]) -> float:
    """How many times wider one range is than the other."""
    (a, b), (c, d) = ends
    return max((b - a) / (d - c), (d - c) / (b - a))
