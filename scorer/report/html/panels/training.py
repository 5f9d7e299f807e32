"""Panel 6: scores by training step, a curve for each mix, and the band that counts as no difference."""

from __future__ import annotations

from collections.abc import Sequence

from scorer.report.html.downloads import csv_link, svg_link
from scorer.report.html.elements import Html, join, tag
from scorer.report.html.figures import bracket, count, number
from scorer.report.html.marks import Marks
from scorer.report.html.panels.frame import notes, panel
from scorer.report.html.scale import axis, ends
from scorer.report.html.svg import Plot, drawing, file, word
from scorer.report.html.tables import figure, plain_table
from scorer.report.page.data import Curve, Training

COLOURS = 6


def training(values: Training, marks: Marks) -> Html:
    """The panel."""
    curves = values.curves
    plot = Plot(
        axis(step for curve in curves for step in curve.steps),
        axis(ends(one for curve in curves for one in curve.scores)),
        300,
    )
    bands = [_band(plot, curve, values.margin, at) for at, curve in enumerate(curves)] if values.margin else []
    frame = join([*bands, plot.frame(values.step, "Mean score")])
    bare = [_curve(plot, curve, at) for at, curve in enumerate(curves)]
    linked = [_curve(plot, curve, at, marks) for at, curve in enumerate(curves)]
    meaning = (
        [f"A band holds the values within {number(values.margin)} of the last of its curve."] if values.margin else []
    )
    twin = plain_table(
        "Mean score by step",
        ["Mix", values.step, "Mean score", "95 % interval", "Rows"],
        (
            (
                curve.mix,
                number(step, 0),
                number(one.value),
                bracket(one),
                marks.link(count(one.n), f"{curve.mix}, {values.step} {number(step, 0)}", rows),
            )
            for curve in curves
            for step, one, rows in zip(curve.steps, curve.scores, curve.rows, strict=True)
        ),
    )
    saves = [
        csv_link(
            "training",
            ["mix", "step", "mean", "low", "high", "n"],
            (
                (curve.mix, step, one.value, one.low, one.high, one.n)
                for curve in curves
                for step, one in zip(curve.steps, curve.scores, strict=True)
            ),
        ),
        svg_link("training", file(join([frame, *bare, *_legend(curves)]), plot.height, f"Mean score by {values.step}")),
    ]
    key = tag(
        "p",
        *(tag("span", tag("i", class_=f"c{at % COLOURS}"), curve.mix) for at, curve in enumerate(curves)),
        class_="key lines",
    )
    shown = join([key, drawing(join([frame, *linked]), plot.height, f"Mean score by {values.step}", linked=True)])
    return panel(
        "training", figure(f"Mean score by {values.step}", shown, twin, saves), notes([*meaning, *values.notes])
    )


def _curve(plot: Plot, curve: Curve, at: int, marks: Marks | None = None) -> Html:
    style = str(at % COLOURS)
    known = [(step, one.value) for step, one in zip(curve.steps, curve.scores, strict=True) if one.value is not None]
    points = []
    for step, one, rows in zip(curve.steps, curve.scores, curve.rows, strict=True):
        point = plot.point(step, one, style, space=marks is not None)
        if marks and point:
            point = marks.link(point, f"{curve.mix}, {number(step, 0)}", rows)
        points.append(point)
    return join([plot.line(known, f"c{style}"), *points])


def _band(plot: Plot, curve: Curve, margin: float, at: int) -> Html:
    """The values that differ by no more than the margin from the last of a curve."""
    last = next((one.value for one in reversed(curve.scores) if one.value is not None), None)
    if last is None:
        return Html()
    top, bottom = float(plot.top(last + margin)), float(plot.top(last - margin))
    return tag(
        "rect", class_=f"band k{at % COLOURS}", x="0", width="100%", y=f"{top:.1f}", height=f"{bottom - top:.1f}"
    )


def _legend(curves: Sequence[Curve]) -> list[Html]:
    return [word(curve.mix, f"{100 - 18 * at}%", 11, f"e k{at % COLOURS}") for at, curve in enumerate(curves)]
