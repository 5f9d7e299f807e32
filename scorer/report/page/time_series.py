"""Figures over the time of the first run, by when its rows were finished; time without a row is left in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl

from scorer.analysis.correlation import Floats
from scorer.output.progress_lines import duration
from scorer.report.collecting import collect_all
from scorer.report.page.data import Series
from scorer.report.page.population import Population

POINTS = 60
"""Points in time of a series."""
_SUMMED = ("prompt_tokens", "completion_tokens", "cost_microusd", "waited_s", "answered_s")
_STEP, _ROWS = "\0step", "\0rows"


def time_series(of: Population) -> Iterator[Series]:
    """The series of the first run; none where it has fewer than two moments, or rows without one."""
    first = next(iter(of.table.runs))
    finished = of.table.of_run(first, "finished_at")
    if finished not in of.table.schema or not of.rows:
        return
    at = pl.col(finished).dt.epoch("us") / 1e6
    ends = pl.concat(
        collect_all([part.select(low=at.min(), high=at.max(), none=at.null_count())])[0]
        for part in of.again([finished])
    )
    begun, ended = ends["low"].min(), ends["high"].max()
    if not isinstance(begun, float) or not isinstance(ended, float) or ends["none"].sum() or ended - begun < 1:
        return
    width = (ended - begun) / POINTS
    names = {name: of.table.of_run(first, name) for name in _SUMMED}
    there = {name: column for name, column in names.items() if column in of.table.schema}
    sums = dict.fromkeys([_ROWS, *there], np.zeros(POINTS))
    known = dict.fromkeys(there, 0)
    for part in of.again([finished, *there.values()]):
        step = ((at - begun) / width).cast(pl.Int64).clip(0, POINTS - 1).alias(_STEP)
        (found,) = collect_all(
            [
                part.filter(at <= ended)
                .group_by(step)
                .agg(
                    pl.len().alias(_ROWS),
                    *(pl.col(column).sum().cast(pl.Float64).alias(name) for name, column in there.items()),
                    *(pl.col(column).count().alias(f"{_ROWS}{name}") for name, column in there.items()),
                )
            ]
        )
        places = found[_STEP].to_numpy()
        for name in sums:
            sums[name] = sums[name] + np.bincount(places, found[name].to_numpy(), minlength=POINTS)
        known = {name: count + int(found[f"{_ROWS}{name}"].sum()) for name, count in known.items()}
    middle = [round((point + 0.5) * width, 3) for point in range(POINTS)]
    yield from _series(middle, width, sums, {name for name, count in known.items() if count})


def _series(middle: Sequence[float], width: float, sums: dict[str, Floats], known: set[str]) -> Iterator[Series]:
    """The series of sums in steps of `width` seconds; `known` are the columns with a value."""
    per = f"in steps of {duration(width) if width >= 1 else f'{width:.2g} s'}"
    yield Series("Rows a second", f"rows/s, {per}", middle, rounded(sums[_ROWS] / width))
    if known.issuperset(("prompt_tokens", "completion_tokens")):
        total = sums["prompt_tokens"] + sums["completion_tokens"]
        yield Series("Tokens a minute", f"tokens/min, {per}", middle, rounded(total / width * 60))
    if "cost_microusd" in known and sums["cost_microusd"].any():
        yield Series("Money spent", "USD so far", middle, rounded(np.cumsum(sums["cost_microusd"]) / 1e6))
    busy = np.maximum(sums[_ROWS], 1)
    for name, title in (
        ("answered_s", "Time until the replies to a row came"),
        ("waited_s", "Time a row waited for limits"),
    ):
        if name in known and sums[name].any():
            yield Series(title, "seconds, mean of the rows", middle, rounded(sums[name] / busy))


def rounded(values: Floats) -> Sequence[float]:
    """Six significant digits: a page of many points is small then."""
    return [float(f"{value:.6g}") for value in values.tolist()]
