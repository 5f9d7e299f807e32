"""Panel 4: how far the judge can be trusted: agreement with people, confusion, calibration, biases."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from scorer.analysis.bias import position_of_orders, self_preference
from scorer.analysis.correlation import Codes, Floats
from scorer.errors import SpecError
from scorer.report.page.agreement import Checked, agreement_of, ceiling_of
from scorer.report.page.bins import Bins, bins_of
from scorer.report.page.column_summary import quantiles, summary_of
from scorer.report.page.data import Calibration, Confusion, Judge, Scatter, Statistic
from scorer.report.page.groups import Group, RowsOf, crossed
from scorer.report.page.length_bias import length_bias
from scorer.report.page.means import grouped_means, interval
from scorer.report.page.page_rows import PageRows
from scorer.report.page.population import Population
from scorer.report.page.retest import retest
from scorer.report.page.row_list import Rows

RANGES = 5
"""Ranges of a confusion matrix, where values are too many."""
STEPS = 10
"""Parts of equally many rows in calibration and length."""


def groups(of: Population) -> dict[str, Group]:
    """The rows of a cell of each confusion matrix, of a step of the calibration, and of a length."""
    found = {}
    for name, bins in _sides(of).items():
        column = of.score if name == "judge" else of.human if name == "people" else name
        found[name] = Group(partial(_binned, bins, column), bins.size, bins.where, weight=0.0)
    for name in [name for name in found if name != "judge"]:
        found[f"judge, {name}"] = crossed(found[name], found["judge"], weight=4.0)
    steps = _steps(of)
    if steps is not None:
        found["calibration"] = Group(partial(_binned, steps, of.score), steps.size, steps.where, weight=2.0)
    return found


def _binned(bins: Bins, column: str, part: PageRows) -> Codes:
    return bins.codes(part.floats(column))


def panel(of: Population, known: Checked, rows: RowsOf) -> Judge | None:
    """The panel; None where nothing is known of the judge."""
    agreement = [*agreement_of(of, known), *retest(of)]
    bias, length, notes = _bias(of)
    sides = _sides(of)
    matrices = {name: _confusion(of, name, sides, rows) for name in sides if name != "judge"}
    confusion = matrices.pop("people", None)
    if not (agreement or bias or length or confusion or matrices or known.notes):
        return None
    return Judge(
        agreement=agreement,
        ceiling=ceiling_of(known.people),
        confusion=confusion,
        calibration=list(_calibration(of, rows)),
        bias=bias,
        length=length,
        notes=[*known.notes, *notes],
        between=list(matrices.values()),
    )


def _sides(of: Population) -> dict[str, Bins]:
    """The bins of the scores under "judge", of people's values under "people", of the other judges' by their columns.

    Empty where there are no labels to compare the judge with.
    """
    columns = {**({"people": of.human} if of.people else {}), **{name: name for name in of.columns.scores[1:]}}
    found = {}
    for name, column in columns.items():
        bins = bins_of(of.comparable(column), of.summary(column), ranges=RANGES)
        if bins is not None and any(_both(part, column).any() for part in of.parts()):
            found[name] = bins
    mine = bins_of(of.score, of.summary(of.score), of.scale, ranges=RANGES)
    return {**found, "judge": mine} if found and mine is not None else {}


def _confusion(of: Population, side: str, sides: Mapping[str, Bins], rows: RowsOf) -> Confusion:
    theirs, mine = sides[side], sides["judge"]
    cells = [
        [rows(f"judge, {side}", row * mine.size + code) for code in range(mine.size)] for row in range(theirs.size)
    ]
    people, judge = ([bins.label(code) for code in range(bins.size)] for bins in (theirs, mine))
    return Confusion(", ".join(of.people) if side == "people" else of.run_of(side), people, judge, cells)


def _both(part: PageRows, column: str) -> NDArray[np.bool_]:
    """Which rows have a score and a number in a column."""
    both: NDArray[np.bool_] = np.isfinite(part.scores) & np.isfinite(part.floats(column))
    return both


def _steps(of: Population) -> Bins | None:
    """Bins of rising scores of labelled rows: a value each where few occur, else parts of about equally many rows."""
    if not of.people:
        return None

    def labelled() -> Iterator[Floats]:
        return (part.scores[_both(part, of.human)] for part in of.parts())

    known = summary_of(labelled())
    if not known.rows:
        return None
    few = bins_of(of.score, known)
    if few is not None and few.values:
        return few
    edges = np.unique(quantiles(labelled(), np.linspace(0, 1, STEPS + 1)))
    return Bins(of.score, [float(edge) for edge in edges])


def _calibration(of: Population, rows: RowsOf) -> Iterator[Calibration]:
    if "calibration" not in rows.groups:
        return
    group = rows.groups["calibration"].group

    def codes(part: PageRows) -> Codes:
        return np.where(_both(part, of.human), group.of(part), -1)

    means = grouped_means(of, lambda part: part.scores, codes, group.size)
    values = grouped_means(of, lambda part: part.floats(of.human), codes, group.size)
    for code, (score, value) in enumerate(zip(means, values, strict=True)):
        if score.value is not None and value.n:
            shown: Rows = rows("calibration", code)
            yield Calibration(score.value, value, shown)


def _bias(of: Population) -> tuple[list[Statistic], Scatter | None, list[str]]:
    notes = [of.lengths.note] if of.lengths.note is not None else []
    found: list[Statistic] = []
    for what, measure in (("Position bias", _position), ("Self-preference", _own_kind)):
        try:
            found += measure(of)
        except SpecError as error:
            notes.append(f"{what} is not known: {error}")
    of_length, scatter = length_bias(of)
    return [*found, *of_length], scatter, notes


def _position(of: Population) -> Iterator[Statistic]:
    """Of the first run, where it compared pairs in both orders."""
    first = next(iter(of.table.runs))
    given, swapped = (of.table.of_run(first, name) for name in ("preference_given", "preference_swapped"))
    if given not in of.frame.schema or swapped not in of.frame.schema:
        return
    position = position_of_orders(of.lazy, given, swapped, item=of.columns.item, bootstrap=of.bootstrap)
    yield Statistic(
        "Preference for the first place",
        interval(position.first, position.first_interval, position.pairs),
        "The mean preference for what stands first, over both orders of each pair; 0.5 is no bias.",
        none=0.5,
    )
    yield Statistic(
        "Same verdict in both orders",
        interval(position.same, position.same_interval, position.pairs),
        "1 is no bias: the share of pairs whose verdict does not change with the order.",
    )


def _own_kind(of: Population) -> Iterator[Statistic]:
    """Where systems of the judge's own kind are named."""
    own, system = of.options.own, of.columns.system
    if not own or system is None or not of.people:
        return
    item = of.columns.item
    found = self_preference(of.lazy, of.score, of.human, system, own, item=item, bootstrap=of.bootstrap)
    if found.excess is not None:
        yield Statistic(
            "Self-preference",
            interval(found.excess, found.interval, found.own + found.others),
            f"How much further above people's values the judge puts {', '.join(own)} than the other systems, in "
            "standard deviations; 0 is no bias.",
            none=0.0,
        )
