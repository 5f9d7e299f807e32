"""Histograms of scores: one over all rows, small ones by system and task, and one table of them all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from scorer.report.html.downloads import csv_link, svg_link
from scorer.report.html.elements import Html, join, name, tag
from scorer.report.html.figures import count, decimals, number
from scorer.report.html.marks import Marks
from scorer.report.html.scale import Axis, axis
from scorer.report.html.svg import drawing, file, word
from scorer.report.html.tables import figure, plain_table
from scorer.report.page.data import Histogram, Systems

TALL, SMALL = 170, 64
LABELLED = 14
"""Up to so many bins have their count above them."""


def figures(values: Systems, marks: Marks) -> Html | None:
    """The histograms of the panel; None where there are none."""
    if not values.histograms:
        return None
    whole = [one for one in values.histograms if one.system is None and one.task is None]
    parts = [one for one in values.histograms if one not in whole]
    places = decimals(*values.scale)
    at = {one.name: number_ for number_, one in enumerate(values.systems)}
    shown = [_whole(one, places, marks) for one in whole] + ([_multiples(parts, at)] if parts else [])
    return join(
        [
            figure(
                f"Rows by {values.score}",
                tag("div", *shown),
                _twin(values.histograms, places),
                [
                    csv_link(
                        "histogram",
                        ["system", "task", "from", "to", "rows"],
                        (
                            (one.system, one.task, float(one.edges[at]), float(one.edges[at + 1]), rows)
                            for one in values.histograms
                            for at, rows in enumerate(one.counts)
                        ),
                    ),
                    *(
                        svg_link(
                            "histogram", file(join([*_bars(one, TALL), _edges(one)]), TALL, f"Rows by {values.score}")
                        )
                        for one in whole
                    ),
                ],
            ),
        ]
    )


def _whole(one: Histogram, places: int, marks: Marks) -> Html:
    edges = [number(edge, places) for edge in one.edges]
    titles = [f"Score {low} to {high}" for low, high in pairwise(edges)]
    bars = [
        marks.link(bar, title, rows)
        for bar, title, rows in zip(_bars(one, TALL, space=True), titles, one.rows, strict=True)
    ]
    return drawing(
        join([*bars, _edges(one)]), TALL, "Histogram of scores; the table below has its numbers", linked=True
    )


def _multiples(parts: Sequence[Histogram], at: Mapping[str, int]) -> Html:
    drawn = (
        tag(
            "div",
            tag("span", join([name(key) for key in (one.system, one.task) if key is not None], ", ")),
            drawing(join(_bars(one, SMALL)), SMALL),
            data_s=None if one.system is None else at.get(one.system),
        )
        for one in parts
    )
    return tag("div", *drawn, class_="multiples")


def _bars(one: Histogram, height: int, space: bool = False) -> list[Html]:
    """A bar for each bin, in a large histogram with its count; with `space` the area above a bar belongs to it."""
    tall = height == TALL
    above, below = (18, 20) if tall else (2, 2)
    most = max(one.counts, default=0) or 1
    shown = _across(one)
    bars = []
    for at, rows in enumerate(one.counts):
        left, right = (shown.percent(edge) for edge in one.edges[at : at + 2])
        x, width = f"{left + 0.15:.2f}%", f"{max(right - left - 0.3, 0.1):.2f}%"
        size = (height - above - below) * rows / most
        top = height - below - size
        room = tag("rect", class_="hit", x=x, width=width, y="0", height=f"{height - below}") if space else None
        bar = tag("rect", class_="b", x=x, width=width, y=f"{top:.1f}", height=f"{size:.1f}")
        labelled = tall and rows and len(one.counts) <= LABELLED
        label = word(count(rows), f"{(left + right) / 2:.2f}%", top - 4, "m") if labelled else None
        bars.append(join([room, bar, label]))
    return bars


def _edges(one: Histogram) -> Html:
    """Labels below a large histogram."""
    shown, ticks = _across(one), axis(one.edges)
    inside = [tick for tick in ticks.ticks if one.edges[0] <= tick <= one.edges[-1]]
    return join(word(ticks.label(tick), shown.x(tick), TALL - 4, "q m") for tick in inside)


def _across(one: Histogram) -> Axis:
    return Axis(one.edges[0], one.edges[-1], tuple(one.edges), 2)


def _twin(histograms: Sequence[Histogram], places: int) -> Html:
    edges = histograms[0].edges
    bins = [f"{number(low, places)} to {number(high, places)}" for low, high in pairwise(edges)]
    rows = [
        [", ".join(key for key in (one.system, one.task) if key is not None) or "All rows", *map(count, one.counts)]
        for one in histograms
        if list(one.edges) == list(edges)
    ]
    return plain_table("Rows by score", ["System", *bins], rows)
