"""Panel 2: the systems, the distribution of their scores, and the differences of pairs."""

from __future__ import annotations

from scorer.report.html import histograms
from scorer.report.html.elements import Html, tag
from scorer.report.html.marks import Marks
from scorer.report.html.panels.board import board
from scorer.report.html.panels.frame import SCORES, panel
from scorer.report.html.panels.pairs import pairs
from scorer.report.page.data import Systems


def systems(values: Systems, first: str, marks: Marks) -> Html:
    """The panel. `first` is the run whose judge gave the scores."""
    return panel(
        "systems",
        tag("p", values.withheld, class_="notice") if values.withheld else None,
        board(values, first, marks) if values.systems else None,
        histograms.figures(values, marks),
        pairs(values) if values.pairs else None,
        title=None if values.systems else SCORES,
    )
