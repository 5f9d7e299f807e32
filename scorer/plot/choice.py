"""Systems by cost and mean score: which are on the front, which are within the margin of the best, which is chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scorer.analysis.choose_result import Choice
from scorer.errors import SpecError
from scorer.frames import decisions
from scorer.plot.given import needed
from scorer.plot.style import COLOURS, WIDTH, altair, data, numbers_axis, title, tooltips

if TYPE_CHECKING:
    import altair as alt

HEIGHT = 300
BEATEN = "another is as good for less"
MOST_NAMES = 12
"""Of more systems those on the front alone have their names beside them; the others say theirs under the mouse."""
KINDS = {"chosen": COLOURS[1], "on the front": COLOURS[0], BEATEN: COLOURS[5]}
_SAYS = {
    "system:N": "System",
    "cost:Q": "Cost",
    "mean:Q": "Mean score",
    "low:Q": "95 % from",
    "high:Q": "to",
    "behind:Q": "Behind the best",
    "behind_at_most:Q": "Behind, at most",
}


def choice(given: Any, score: str = "score", *, system: str | None = None, **options: Any) -> alt.LayerChart:
    """Mean score against cost: the front, and a broken line as far below the best mean as the margin is.

    `given` is a table with `score`, `system`, `cost` and further options of `scorer.choose`, or its result. The cost is
    the first of its `cost` columns. A system above the line seems to be within the margin; the chosen one surely is.
    Raises SpecError as `scorer.choose` does, and where no cost is given.
    """
    found = given
    if not isinstance(given, Choice):
        found = decisions.choose(given, score, system=needed("system", system, "the column of who answered"), **options)
    if not found.costs:
        raise SpecError(["This chart shows means against costs: give cost=COLUMN."])
    return _chart(found)


def _chart(found: Choice) -> Any:
    alt = altair()
    cost = found.costs[0]
    table = found.systems.drop_nulls(["mean", cost])
    rows = [
        {
            **{key: row[key] for key in ("system", "mean", "low", "high", "behind", "behind_at_most")},
            "cost": float(row[cost]),
            "kind": "chosen" if row["chosen"] else "on the front" if row["on_front"] else BEATEN,
        }
        for row in table.to_dicts()
    ]
    y = alt.Y("mean:Q", title=f"Mean {found.score}", scale=alt.Scale(zero=False, nice=False, padding=14))
    colour = alt.Color(
        "kind:N",
        scale=alt.Scale(domain=list(KINDS), range=list(KINDS.values())),
        legend=alt.Legend(title=None, orient="top", symbolOpacity=1),
    )
    base = alt.Chart(data(rows)).encode(x=numbers_axis("cost", cost), color=colour, tooltip=tooltips(_SAYS))
    rules = base.mark_rule(strokeWidth=2.5, opacity=0.55).encode(y=alt.Y("low:Q"), y2="high:Q")
    points = base.mark_point(filled=True, size=70, opacity=1).encode(y=y)
    names = base.mark_text(align="left", dx=6, dy=-9, limit=140).encode(y=y, text="system:N")
    if len(rows) > MOST_NAMES:
        names = names.transform_filter(alt.datum.kind != BEATEN)
    front = sorted((row for row in rows if row["kind"] != BEATEN), key=lambda row: row["cost"])
    steps = alt.Chart(data(front)).mark_line(interpolate="step-after", opacity=0.5, color=COLOURS[0])
    layers = [steps.encode(x="cost:Q", y=y), rules.transform_filter("isValid(datum.low)"), points, names]
    about = [f"Behind the best by {found.margin:g}: broken line. Lines: 95 % intervals of each mean by itself."]
    if found.margin and rows:
        line = alt.Chart(data([{"at": max(row["mean"] for row in rows) - found.margin}]))
        layers.insert(0, line.mark_rule(strokeDash=[4, 4], color="#808080").encode(y="at:Q"))
    heading = f"Choice: {found.chosen}" if found.chosen is not None else "No system is surely within the margin"
    return alt.layer(*layers).properties(
        width=WIDTH, height=HEIGHT, title=title(heading, about if found.margin else about[1:])
    )
