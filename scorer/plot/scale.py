"""Whether a judge uses one scale in all tasks: shift and spread of its scores by task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scorer.analysis.scale_across_tasks import Scale
from scorer.counted import counted
from scorer.frames import judge_analyses
from scorer.frames.opened_table import Names
from scorer.plot.given import needed, results
from scorer.plot.style import altair, broken_line, intervals, names_axis, numbers_axis, stacked, title

if TYPE_CHECKING:
    import altair as alt

PANEL = 220
"""Pixels of one of the two panels."""
LEAST = 0.5
"""Each panel reaches at least so far to both sides of its broken line: a small deviation looks small."""
_SAYS = {"task:N": "Task", "n:Q": "Rows", "mean_score:Q": "Mean score", "mean_human:Q": "Mean human value"}


def scale(
    given: Any, score: Names = "score", *, human: str | None = None, task: str | None = None, **options: Any
) -> alt.HConcatChart | alt.VConcatChart:
    """Shift and spread of the scores in each task; on one coherent scale every point is on its broken line.

    The shift is the mean score less the mean human value, in standard deviations over all tasks. The spread is the
    standard deviation of scores over that of human values. Neither has an interval. `given` is a table with `score`,
    `human`, `task` and further options of `scorer.scale`, or its result. Raises SpecError as `scorer.scale` does.
    """
    found = results(
        given,
        Scale,
        score if isinstance(score, str) else "score",
        lambda: judge_analyses.scale(
            given,
            score,
            human=needed("human", human, "the human values"),
            task=needed("task", task, "the column of the task"),
            **options,
        ),
    )
    return stacked([_chart(name, one) for name, one in found.items()])


def _chart(name: str, found: Scale) -> Any:
    alt = altair()
    tasks = sorted(found.frame.to_dicts(), key=lambda row: row["shift"] or 0.0)
    order = [row["task"] for row in tasks]

    def panel(figure: str, label: str, coherent: float, first: bool) -> Any:
        farthest = max([LEAST, *(abs(row[figure] - coherent) for row in tasks if row[figure] is not None)]) * 1.1
        rows = [{**row, "value": row[figure], "low": None, "high": None} for row in tasks]
        says = {**_SAYS, "value:Q": figure.capitalize()}
        y = names_axis("task", order) if first else names_axis("task", order).axis(None)
        drawn = intervals(rows, numbers_axis("value", label, coherent - farthest, coherent + farthest), y, says)
        return (broken_line(coherent) + drawn).properties(width=PANEL, height={"step": 24})

    about = [
        f"{counted(found.n, 'row')} with a score and a human value"
        + (f", {found.unread:,} unread" if found.unread else ""),
        "On one scale every point is on its broken line.",
    ]
    return alt.hconcat(
        panel("shift", "Shift (standard deviations)", 0.0, True),
        panel("spread", "Spread (1 = that of people)", 1.0, False),
    ).properties(title=title(f"Scale of {name} by task", about))
