"""Panel 7: errors with an example each, unread rows by system, tokens and money, and the course of the run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import numpy as np
import polars as pl

from scorer.analysis.correlation import Codes
from scorer.output.cost_text import cost_sentence
from scorer.output.limit_history import Sample, curves
from scorer.output.progress_lines import limited_by
from scorer.output.status import Status
from scorer.report.page.conditions import equals
from scorer.report.page.data import ErrorCount, Interval, RunFacts, Series
from scorer.report.page.groups import Group, RowsOf
from scorer.report.page.means import grouped_means
from scorer.report.page.page_rows import PageRows
from scorer.report.page.population import Population
from scorer.report.page.row_list import Rows
from scorer.report.page.time_series import time_series
from scorer.report.watch.limiting import NAMES

EXAMPLE = 300
"""Characters of an error's example."""


def groups(of: Population) -> dict[str, Group]:
    """The rows of each error, among the rows of the page."""
    column = of.error
    names = list(of.errors)
    place = {name: at for at, name in enumerate(names)}
    number_of = np.array([*(place.get(name, -1) for name in of.names(column)), -1], dtype=np.int64)

    def codes(part: PageRows) -> Codes:
        return number_of[part.codes(column)]

    return {"error": Group(codes, len(names), lambda code: equals(column, names[code]), weight=8.0)}


def facts(
    of: Population,
    rows: RowsOf,
    states: Mapping[str, Status],
    examples: Mapping[str, str],
    history: Sequence[Sample] = (),
) -> RunFacts:
    """The panel.

    `states` are the states of the runs by their names, `examples` a message for each error, `history` what held the
    first run back over its time.
    """
    errors = [
        ErrorCount(name, _all_of(of, rows("error", at), name, count), examples.get(name, "")[:EXAMPLE])
        for at, (name, count) in enumerate(of.errors.items())
    ]
    return RunFacts(errors, list(_unread(of)), dict(_totals(states)), [*time_series(of), *_limiting(history)])


def _all_of(of: Population, rows: Rows, name: str, count: int) -> Rows:
    """All rows of an error, also those that no other panel counts."""
    return Rows(count, rows.ids, equals(of.error, name))


def _unread(of: Population) -> Iterator[tuple[str, Interval]]:
    """The share of rows without a score, by system."""
    system = of.columns.system
    if system is None or not of.rows:
        return
    names = of.names(system)
    if of.summary(of.score).rows == of.rows:
        return
    shares = grouped_means(
        of,
        lambda part: np.where(np.isfinite(part.scores), 0.0, 1.0),
        partial(PageRows.codes, name=system),
        len(names),
    )
    yield from sorted(zip(names, shares, strict=True), key=lambda one: -(one[1].value or 0.0))


def _totals(states: Mapping[str, Status]) -> Iterator[tuple[str, str]]:
    for name, state in states.items():
        of = f"{name}: " if name else ""
        yield f"{of}requests", f"{state.requests:,}"
        yield f"{of}tokens in", f"{state.prompt_tokens:,} ({state.cached_tokens:,} cached)"
        yield f"{of}tokens out", f"{state.completion_tokens:,}"
        yield f"{of}cost", cost_sentence(state.cost_usd, priced=state.priced)
        if state.maybe_billed_usd:
            yield f"{of}possibly billed", f"{state.maybe_billed_usd:,.4f} USD"
        if state.held_back_by:
            yield f"{of}limited by, in the last minute", limited_by(state.held_back_by)
        if state.copied:
            yield f"{of}rows with another row's answer", f"{state.copied:,}"


def _limiting(history: Sequence[Sample]) -> Iterator[Series]:
    """What held requests back over the time of the first run, a curve for each limit."""
    if len(history) < 2:
        return
    at = [round(moment - history[0][0], 1) for moment, _ in history]
    for name, shares in curves(history).items():
        yield Series(f"Held back by {NAMES.get(name, name)}", "share of the minute before", at, shares)


def examples(of: Population) -> dict[str, str]:
    """A message of each error, from the results."""
    first = next(iter(of.table.runs))
    detail = of.table.of_run(first, "error_detail")
    if not of.errors or detail not in of.table.results.collect_schema():
        return {}
    found = (
        of.table.results.filter(pl.col(of.error).is_not_null())
        .group_by(pl.col(of.error).cast(pl.String))
        .agg(pl.col(detail).str.head(EXAMPLE).min())
        .collect(engine="streaming")
    )
    return {name: said or "" for name, said in found.iter_rows()}
