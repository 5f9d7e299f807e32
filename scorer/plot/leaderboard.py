"""Systems by their mean score, each with its interval and its ranks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scorer.analysis.leaderboard import Leaderboard
from scorer.counted import counted
from scorer.frames import system_analyses
from scorer.frames.opened_table import Names
from scorer.plot.given import needed, results
from scorer.plot.style import WIDTH, intervals, names_axis, numbers_axis, stacked, title

if TYPE_CHECKING:
    import altair as alt

_SAYS = {
    "system:N": "System",
    "ranks:N": "Rank",
    "value:Q": "Mean score",
    "low:Q": "95 % from",
    "high:Q": "to",
    "rows:Q": "Rows",
    "unread:Q": "Without a score",
}
STEP = 22
"""Pixels of a line."""


def leaderboard(
    given: Any, score: Names = "score", *, system: str | None = None, **options: Any
) -> alt.LayerChart | alt.VConcatChart:
    """Systems one below the other, best first: mean score, its 95 % interval, and the ranks that a system may have.

    `given` is a table with `score`, `system` and further options of `scorer.leaderboard`, or its result. Intervals that
    overlap say little about which system is better; the ranks do, and two that share one are not told apart.
    Several score columns have a chart each. Raises SpecError as `scorer.leaderboard` does.
    """
    found = results(
        given,
        Leaderboard,
        score if isinstance(score, str) else "score",
        lambda: system_analyses.leaderboard(
            given, score, system=needed("system", system, "the column of who answered"), **options
        ),
    )
    return stacked([_chart(name, one) for name, one in found.items()])


def _chart(name: str, board: Leaderboard) -> Any:
    rows = [
        {
            "label": f"{_ranks(row['rank'], row['rank_last'])}   {row['system']}",
            "ranks": _ranks(row["rank"], row["rank_last"]),
            "value": row["mean"],
            **{key: row[key] for key in ("system", "low", "high", "rows", "unread")},
        }
        for row in board.systems.to_dicts()
    ]
    y = names_axis("label", [row["label"] for row in rows])
    has_intervals = any(row["low"] is not None for row in rows)
    about = [
        f"{counted(sum(row['rows'] for row in rows), 'row')} with a score, of {counted(len(rows), 'system')}"
        + (f"; {unread:,} without one" if (unread := sum(row["unread"] for row in rows)) else ""),
        *(["Lines: 95 % intervals. Before each name: the ranks that the system may have."] if has_intervals else []),
    ]
    across = numbers_axis("value", f"Mean {name}")
    return intervals(rows, across, y, _SAYS).properties(
        width=WIDTH, height={"step": STEP}, title=title(f"Systems by mean {name}", about)
    )


def _ranks(first: int | None, last: int | None) -> str:
    if first is None:
        return "–"
    return f"{first}" if last in (None, first) else f"{first}–{last}"
