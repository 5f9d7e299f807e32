"""Money spent and rows finished over the time of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scorer.analysis.course import course
from scorer.counted import counted
from scorer.frames.opened_table import opened
from scorer.plot.style import COLOURS, WIDTH, altair, data, title, tooltips

if TYPE_CHECKING:
    import altair as alt

HEIGHT = 110


def cost(table: Any) -> alt.VConcatChart:
    """Money spent and rows finished so far, over the time at which rows were finished (UTC).

    `table` is an output folder, its run file, or a frame with its columns finished_at and cost_microusd. Money is the
    cost of finished rows; what was spent on requests without a reply is in `scorer.status` alone. Time in which the run
    was stopped is left in. Raises SpecError where no row is finished or the cost of none is known.
    """
    alt = altair()
    frame, _, _ = opened(table, ["cost_microusd"])
    points = course(frame)
    rows = [
        {"at": f"{row['finished_at']:%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z", "rows": row["rows"], "usd": row["usd"]}
        for row in points.to_dicts()
    ]
    time = alt.X("at:T", title="Time (UTC)", scale=alt.Scale(type="utc"))
    says = tooltips({"rows:Q": "Rows finished", "usd:Q": "USD so far"})

    def panel(field: str, label: str, x: Any, colour: str) -> Any:
        line = alt.Chart(data(rows)).mark_area(
            line={"color": colour}, color=colour, opacity=0.25, interpolate="step-after"
        )
        y = alt.Y(f"{field}:Q", title=label, stack=None)  # an area adds the values of one moment up otherwise
        return line.encode(x=x, y=y, tooltip=says).properties(width=WIDTH, height=HEIGHT)

    about = [f"{rows[-1]['usd']:,.4f} USD for {counted(rows[-1]['rows'], 'row')}"]
    return alt.vconcat(
        panel("usd", "USD so far", time.axis(labels=False, title=None), COLOURS[0]),
        panel("rows", "Rows finished", time, COLOURS[2]),
    ).properties(title=title("Cost over time", about))
