"""Drawings: the parts of a chart as SVG, and a chart as a file of its own.

Positions across are percentages, so one drawing fits every width without scaling its text; heights are pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil

from scorer.report.html.elements import Html, join, tag
from scorer.report.html.figures import number
from scorer.report.html.scale import CHARACTER, NARROWEST, Axis
from scorer.report.page.data import Interval

TOP, BOTTOM = 18, 34
"""Pixels above and below the plotted range: a title, and labels with the name of the axis."""

TEXT_STYLE = "text{font:12px Helvetica,Arial,sans-serif;fill:#222}.q{fill:#666}.m{text-anchor:middle}"
"""The style sheet of a file that has no chart, only texts."""
_FILE_STYLE = (
    TEXT_STYLE + "line{stroke:#222}.g{stroke:#ddd}.z{stroke:#888;"
    "stroke-dasharray:3 3}.i{stroke:#0b62a8;stroke-width:2}.d{fill:#0b62a8}"
    ".b{fill:#0b62a8;fill-opacity:.72}.band{fill-opacity:.1}.e{text-anchor:end}"
    ".c1{stroke-dasharray:7 3}.c2{stroke-dasharray:2 3}.c3{stroke-dasharray:9 3 2 3}.i{stroke-dasharray:none}"
)
_COLOURS = ("#0072b2", "#d55e00", "#007a5a", "#a3488a", "#846a00", "#444")
"""Of curves and of further judges, by their number."""


@dataclass(frozen=True, slots=True)
class Plot:
    """Two axes and a height: where a pair of values stands."""

    x: Axis
    y: Axis
    height: int = 240

    def top(self, value: float) -> str:
        """The position of a value of the vertical axis."""
        return f"{TOP + (1 - self.y.share(value)) * (self.height - TOP - BOTTOM):.1f}"

    def frame(self, x_name: str, y_name: str) -> Html:
        """The lines of the grid, the labels of both axes and their names."""
        floor = self.height - BOTTOM
        across = [
            tag("line", class_="g", x1="0", x2="100%", y1=self.top(tick), y2=self.top(tick)) for tick in self.y.ticks
        ]
        up = [word(self.y.label(tick), "0", float(self.top(tick)) - 3, "q") for tick in self.y.ticks[:-1]]
        along = [word(self.x.label(tick), self.x.x(tick), floor + 14, "q m") for tick in self.x.ticks]
        names = [word(y_name, "0", 11, "q"), word(x_name, "100%", self.height - 4, "q e")]
        return join([*across, *up, *along, *names])

    def line(self, points: list[tuple[float, float]], style: str) -> Html:
        """Straight lines from each point to the next."""
        return join(
            tag("line", class_=style, x1=self.x.x(a), y1=self.top(b), x2=self.x.x(c), y2=self.top(d))
            for (a, b), (c, d) in pairwise(points)
        )

    def point(self, x: float, interval: Interval, style: str = "", space: bool = False) -> Html:
        """A value with its interval as a vertical line; nothing where it is unknown.

        With `space` the square around it belongs to it, large enough to be hit with a finger (WCAG 2.5.8).
        """
        if interval.value is None:
            return Html()
        at = self.x.x(x)
        corner = {"x": at, "y": f"{float(self.top(interval.value)) - 12:.1f}", "transform": "translate(-12)"}
        room = tag("rect", class_="hit", width="24", height="24", **corner) if space else None
        whisker = (
            tag("line", class_=f"i c{style}", x1=at, x2=at, y1=self.top(interval.low), y2=self.top(interval.high))
            if interval.low is not None and interval.high is not None
            else None
        )
        return join([room, whisker, tag("circle", class_=f"d k{style}", cx=at, cy=self.top(interval.value), r="4")])


def word(label: str, x: str, y: float, style: str = "") -> Html:
    """A text in a drawing."""
    return tag("text", label, class_=style or None, x=x, y=f"{y:g}")


def across(axis: Axis, interval: Interval, y: float = 14, colour: int = 0) -> Html:
    """A value with its interval as a horizontal line: a dot, and with `colour` a square in one of the colours."""
    row, style = f"{y:g}", f" c{colour}" if colour else ""
    parts = []
    if interval.low is not None and interval.high is not None:
        parts.append(tag("line", class_=f"i{style}", x1=axis.x(interval.low), x2=axis.x(interval.high), y1=row, y2=row))
    if interval.value is not None and not colour:
        parts.append(tag("circle", class_="d", cx=axis.x(interval.value), cy=row, r="4"))
    elif interval.value is not None:
        at = {"x": axis.x(interval.value), "y": f"{y - 3.5:g}", "transform": "translate(-3.5)"}
        parts.append(tag("rect", class_=f"k{colour}", width="7", height="7", **at))
    return join(parts)


def rules(axis: Axis, height: float) -> Html:
    """Vertical lines at the ticks of an axis."""
    return join(rule(axis, tick, height, "g") for tick in axis.ticks)


def rule(axis: Axis, value: float, height: float, style: str = "z") -> Html:
    """A vertical line at a value; broken, it is the value that means no effect."""
    return tag("line", class_=style, x1=axis.x(value), x2=axis.x(value), y1="0", y2=f"{height:g}")


def grid(axis: Axis) -> str:
    """The style of a table whose plots have lines at the ticks of an axis: the style sheet draws them."""
    return f"--n:{len(axis.ticks) - 1}"


def labels(axis: Axis, y: float) -> Html:
    """The labels of an axis that runs across; "o" marks those that a narrow chart leaves out, as they would overlap."""
    shown = [axis.label(tick) for tick in axis.ticks]
    every = ceil(CHARACTER * (max(map(len, shown)) + 1) * (len(shown) - 1) / NARROWEST)
    return join(
        word(label, axis.x(tick), y, "q m o" if at % every else "q m")
        for at, (tick, label) in enumerate(zip(axis.ticks, shown, strict=True))
    )


def drawing(body: Html, height: float, label: str | None = None, linked: bool = False) -> Html:
    """The drawing in the page. `label` says what it shows; without one it repeats what stands beside it in words."""
    role = None if label is None else "group" if linked else "img"
    return tag(
        "svg",
        body,
        width="100%",
        height=f"{height:g}",
        role=role,
        aria_label=label,
        aria_hidden=label is None and "true",
    )


def file(body: Html, height: float, title: str, width: int = 640, style: str = _FILE_STYLE) -> str:
    """The drawing as a file: with its own colours, on white, under its title.

    `style` is its style sheet, to which the colours that occur are added.
    """
    for at, colour in enumerate(_COLOURS):
        if f"c{at}" in body or f"k{at}" in body:
            style += f".c{at}{{stroke:{colour};stroke-width:2}}.k{at}{{fill:{colour}}}"
    return tag(
        "svg",
        tag("style", Html(style)),
        tag("rect", width="100%", height="100%", fill="#fff"),
        word(title, "12", 20),
        tag("svg", body, x="12", y="32", width=str(width - 24), height=f"{height:g}"),
        xmlns="http://www.w3.org/2000/svg",
        width=str(width),
        height=f"{height + 44:g}",
    )


def forest(
    rows: list[tuple[str, Interval]], axis: Axis, places: int, none: Sequence[float | None] = ()
) -> tuple[Html, float]:
    """Names, intervals and values one below another, for a file; with the height of the drawing.

    `none` has for each the value that means no effect, which a broken line marks.
    """
    height = 26.0 * len(rows)
    marked = [
        tag("svg", rule(axis, value, 26), y=f"{26 * at}", height="26")
        for at, value in enumerate(none)
        if value is not None
    ]
    intervals = (across(axis, one, 26 * at + 13) for at, (_, one) in enumerate(rows))
    plot = join([rules(axis, height), *marked, *intervals])
    names = [word(name, "0", 26 * at + 17) for at, (name, _) in enumerate(rows)]
    values = [word(number(one.value, places), "100%", 26 * at + 17, "e") for at, (_, one) in enumerate(rows)]
    inner = tag("svg", plot, labels(axis, height + 14), x="30%", width="58%", height=f"{height + 20:g}")
    return join([*names, inner, *values]), height + 24
