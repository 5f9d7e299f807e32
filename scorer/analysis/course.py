"""Rows finished and money spent over the time of a run, from its results."""

from __future__ import annotations

import polars as pl

from scorer.analysis.columns import require
from scorer.analysis.reading import collected
from scorer.errors import SpecError

POINTS = 300
"""The most points in time."""


def course(frame: pl.LazyFrame) -> pl.DataFrame:
    """Up to 300 points in time, the first and the last among them: finished_at, rows and usd so far.

    Columns of the results: finished_at (a time), cost_microusd (null counts as 0). Raises SpecError where one is
    missing, no row is finished, or no cost is known.
    """
    schema = frame.collect_schema()
    require(schema, ["finished_at", "cost_microusd"])
    if not isinstance(schema["finished_at"], pl.Datetime):
        raise SpecError(
            [f"Column finished_at holds {schema['finished_at']}, not times; take it as the results have it."]
        )
    rows = collected(frame.select("finished_at", "cost_microusd").drop_nulls("finished_at").sort("finished_at"))
    if not rows.height:
        raise SpecError(["No row is finished: there is nothing to draw over time."])
    if not rows["cost_microusd"].count():
        raise SpecError(["The cost of no row is known: no price is known for the judge's model. Add model.price."])
    so_far = rows.select(
        "finished_at",
        rows=pl.int_range(1, pl.len() + 1, dtype=pl.Int64),
        usd=pl.col("cost_microusd").fill_null(0).cum_sum() / 1e6,
    )
    step = -(-so_far.height // (POINTS - 1))
    last = so_far.height - 1
    return so_far.filter((pl.int_range(pl.len()) % step == 0) | (pl.int_range(pl.len()) == last))
