"""Panel 6: mean scores by training step, a curve for each mix."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from scorer.analysis.correlation import Codes
from scorer.report.page.conditions import equals, together
from scorer.report.page.data import Curve, Training
from scorer.report.page.groups import Group, RowsOf
from scorer.report.page.means import grouped_means
from scorer.report.page.page_rows import PageRows
from scorer.report.page.population import Population

MOST_POINTS = 600
NOTES = (
    "Intervals are of the items alone: another seed of the training may give another curve.",
    "The mean score of a step mixes format and quality: `scorer compare --well-formed COL` tells them apart.",
)


def _points(of: Population) -> tuple[list[float], list[str], Callable[[PageRows], Codes]]:
    """The steps, the mixes, and the point of each row: that of its mix times the steps, plus that of its step."""
    step, mix = of.options.step, of.options.mix
    assert step is not None
    column = step
    steps = np.empty(0)
    for part in of.parts():
        steps = np.union1d(steps, part.floats(column)[np.isfinite(part.floats(column))])

    def codes(part: PageRows) -> Codes:
        values = part.floats(column)
        found = np.where(np.isfinite(values), np.searchsorted(steps, values), -1).astype(np.int64)
        return found if mix is None else np.where(found >= 0, part.codes(mix) * len(steps) + found, -1)

    return steps.tolist(), of.names(mix) or ["all rows"], codes


def groups(of: Population) -> dict[str, Group]:
    """The rows of each point of the curves."""
    step, mix = of.options.step, of.options.mix
    if step is None:
        return {}
    steps, mixes, codes = _points(of)
    size = len(steps) * len(mixes)
    if not 0 < size <= MOST_POINTS:
        return {}
    values = of.values(mix) if mix is not None else {}

    def where(code: int) -> str | None:
        of_mix = equals(mix, values.get(mixes[code // len(steps)])) if mix is not None else ""
        return together([of_mix, equals(of.comparable(step), steps[code % len(steps)])])

    return {"point": Group(codes, size, where, weight=4.0)}


def panel(of: Population, rows: RowsOf) -> Training | None:
    """The panel; None without a column of steps, and where there are too many points."""
    if "point" not in rows.groups or of.options.step is None:
        return None
    steps, mixes, codes = _points(of)
    means = grouped_means(of, lambda part: part.scores, codes, len(steps) * len(mixes))
    curves = []
    for at, mix in enumerate(mixes):
        points = [code for code in range(at * len(steps), (at + 1) * len(steps)) if rows.groups["point"].counts[code]]
        curves.append(
            Curve(
                mix,
                [steps[code % len(steps)] for code in points],
                [means[code] for code in points],
                [rows("point", code) for code in points],
            )
        )
    return Training(of.options.step, curves, of.options.margin, NOTES)
