"""Panel 7: errors with an example each, unread rows by system, tokens and money, and the course of the run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import polars as pl

from scorer.output.limit_history import Sample, curves
from scorer.output.progress_lines import duration, limited_by
from scorer.output.status import Status
from scorer.report.page.conditions import equals
from scorer.report.page.data import ErrorCount, Interval, Rows, RunFacts, Series
from scorer.report.page.groups import Group, RowsOf
from scorer.report.page.means import grouped_means
from scorer.report.page.population import Population
from scorer.report.watch.limiting import NAMES

POINTS = 60
"""Points in time of a series."""
EXAMPLE = 300
"""Characters of an error's example."""


def groups(of: Population) -> dict[str, Group]:
    """The rows of each error, among the rows of the page."""
    column = of.error
    names = list(of.errors)
    place = {name: at for at, name in enumerate(names)}
    codes = of.frame[column].cast(pl.String).replace_strict(place, default=-1, return_dtype=pl.Int64).fill_null(-1)
    return {"error": Group(codes.to_numpy(), len(names), lambda code: equals(column, names[code]), weight=8.0)}


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
    return RunFacts(errors, list(_unread(of)), dict(_totals(states)), [*_series(of), *_limiting(history)])


def _all_of(of: Population, rows: Rows, name: str, count: int) -> Rows:
    """All rows of an error, also those that no other panel counts."""
    return Rows(count, rows.ids, equals(of.error, name))


def _unread(of: Population) -> Iterator[tuple[str, Interval]]:
    """The share of rows without a score, by system."""
    system = of.columns.system
    if system is None or not of.rows:
        return
    names = of.names(system)
    missing = np.where(np.isfinite(of.scores), 0.0, 1.0)
    if not missing.any():
        return
    shares = grouped_means(missing, of.codes(system), len(names), of.drawn)
    yield from sorted(zip(names, shares, strict=True), key=lambda one: -(one[1].value or 0.0))


def _totals(states: Mapping[str, Status]) -> Iterator[tuple[str, str]]:
    for name, state in states.items():
        of = f"{name}: " if name else ""
        yield f"{of}requests", f"{state.requests:,}"
        yield f"{of}tokens in", f"{state.prompt_tokens:,} ({state.cached_tokens:,} cached)"
        yield f"{of}tokens out", f"{state.completion_tokens:,}"
        yield f"{of}cost", f"{state.cost_usd:,.4f} USD"
        if state.maybe_billed_usd:
            yield f"{of}possibly billed", f"{state.maybe_billed_usd:,.4f} USD"
        if state.held_back_by:
            yield f"{of}limited by, in the last minute", limited_by(state.held_back_by)
        if state.copied:
            yield f"{of}rows with another row's answer", f"{state.copied:,}"


def _series(of: Population) -> Iterator[Series]:
    """Figures over the time of the first run, by when its rows were finished; time without a row is left in."""
    finished = of.first("finished_at")
    if finished is None or not of.rows:
        return
    at = finished.dt.epoch("us").cast(pl.Float64).to_numpy() / 1e6
    if np.isnan(at).any() or np.ptp(at) < 1:
        return
    begun, ended = float(at.min()), float(at.max())
    width = (ended - begun) / POINTS
    codes = np.minimum(((at - begun) / width).astype(np.int64), POINTS - 1)
    middle = [round((point + 0.5) * width, 3) for point in range(POINTS)]

    def sums(values: pl.Series) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        known = values.cast(pl.Float64).fill_null(0.0).to_numpy()
        return np.bincount(codes, known, minlength=POINTS).astype(np.float64)

    count = np.bincount(codes, minlength=POINTS).astype(np.float64)
    per = f"in steps of {duration(width) if width >= 1 else f'{width:.2g} s'}"
    yield Series("Rows a second", f"rows/s, {per}", middle, _rounded(count / width))
    tokens = [of.first(name) for name in ("prompt_tokens", "completion_tokens")]
    if all(one is not None and one.count() for one in tokens):
        total = sum((sums(one) for one in tokens if one is not None), np.zeros(POINTS))
        yield Series("Tokens a minute", f"tokens/min, {per}", middle, _rounded(total / width * 60))
    cost = of.first("cost_microusd")
    if cost is not None and (cost > 0).any():
        spent = np.cumsum(sums(cost)) / 1e6
        yield Series("Money spent", "USD so far", middle, _rounded(spent))
    times = {name: of.first(name) for name in ("waited_s", "answered_s")}
    busy = np.maximum(count, 1)
    for name, title in (
        ("answered_s", "Time until the replies to a row came"),
        ("waited_s", "Time a row waited for limits"),
    ):
        values = times[name]
        if values is not None and (values > 0).any():
            yield Series(title, "seconds, mean of the rows", middle, _rounded(sums(values) / busy))


def _limiting(history: Sequence[Sample]) -> Iterator[Series]:
    """What held requests back over the time of the first run, a curve for each limit."""
    if len(history) < 2:
        return
    at = [round(moment - history[0][0], 1) for moment, _ in history]
    for name, shares in curves(history).items():
        yield Series(f"Held back by {NAMES.get(name, name)}", "share of the minute before", at, shares)


def _rounded(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Sequence[float]:
    """Six significant digits: a page of many points is small then."""
    return [float(f"{value:.6g}") for value in values.tolist()]


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
