"""Mean scores by training step or by examples trained on, with their intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scorer.analysis.compare import Compared
from scorer.errors import SpecError
from scorer.frames import system_analyses
from scorer.frames.opened_table import Names
from scorer.plot.given import needed, results
from scorer.plot.style import WIDTH, altair, data, series_colour, stacked, title, tooltips

if TYPE_CHECKING:
    import altair as alt

_MEASURES = {
    "score": "all outputs",
    "score_well_formed": "outputs in the right form",
    "well_formed": "share in the right form",
}
_SAYS = {
    "measure:N": "Of",
    "step:Q": "Step",
    "value:Q": "Value",
    "low:Q": "95 % from",
    "high:Q": "to",
    "rows:Q": "Rows",
    "unread:Q": "Without a score",
}
HEIGHT = 200


def learning_curve(
    given: Any, score: Names = "score", *, variant: str | None = None, **options: Any
) -> alt.LayerChart | alt.VConcatChart:
    """The mean score at each step with its 95 % interval, each step by itself; with `well_formed` the form apart.

    `given` is a table with `score`, `variant` (a column of numbers: steps, examples trained on) and further options of
    `scorer.compare`, or its result. Whether two steps differ is for the paired differences of `scorer.compare`:
    overlapping intervals do not say. Raises SpecError as `scorer.compare` does, and for variants that are no numbers.
    """
    found = results(
        given,
        Compared,
        score if isinstance(score, str) else "score",
        lambda: system_analyses.compare(
            given, score, variant=needed("variant", variant, "the column of the steps"), **options
        ),
    )
    charts = [chart for name, one in found.items() for chart in _charts(name, one)]
    return stacked(charts).resolve_scale(color="independent")


def _charts(name: str, found: Compared) -> list[Any]:
    rows = [
        {**row, "step": _step(row["variant"]), "measure": _MEASURES.get(row["measure"], row["measure"])}
        for row in found.levels.to_dicts()
        if row["task"] is None and row["value"] is not None
    ]
    shares = [row for row in rows if row["measure"] == _MEASURES["well_formed"]]
    scores = [row for row in rows if row not in shares]
    charts = [
        _curve(scores, f"Mean {name}", title(f"{name} by step", ["Bands: 95 % intervals of each step by itself."]))
    ]
    if shares:
        charts.append(_curve(shares, "Share of outputs", title("Outputs in the right form by step")))
    return charts


def _curve(rows: list[dict[str, Any]], label: str, heading: Any) -> Any:
    alt = altair()
    measures = list(dict.fromkeys(row["measure"] for row in rows))
    base = alt.Chart(data(rows)).encode(
        x=alt.X("step:Q", title="Step", scale=alt.Scale(zero=False)), color=series_colour("measure", "Of", measures)
    )
    y = alt.Y("value:Q", title=label, scale=alt.Scale(zero=False))
    band = base.mark_area(opacity=0.2).encode(y=alt.Y("low:Q", title=label), y2="high:Q")
    line = base.mark_line(point={"filled": True, "size": 60}, strokeWidth=2).encode(y=y, tooltip=tooltips(_SAYS))
    known = band.transform_filter("isValid(datum.low) && isValid(datum.high)")
    return (known + line).properties(width=WIDTH, height=HEIGHT, title=heading)


def _step(variant: str) -> float:
    try:
        return float(variant)
    except ValueError:
        raise SpecError(
            [f"A learning curve needs steps that are numbers; {variant!r} is none. scorer.compare compares names."]
        ) from None
