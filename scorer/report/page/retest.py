"""How far the judge agrees with itself, where it was asked twice: two samples of a row, or two runs of one judge."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from scorer.analysis.inter_judge import inter_judge
from scorer.errors import SpecError
from scorer.report.page.data import Statistic
from scorer.report.page.means import interval
from scorer.report.page.population import Population
from scorer.report.row_hash import row_hash
from scorer.report.sample_spread import POOL, sampled_runs

FIRST, SECOND = "first sample", "second sample"


def retest(of: Population) -> Iterator[Statistic]:
    """Pearson's correlation of the first two samples of a row, over at most `POOL` rows drawn by chance.

    Nothing where the first run asked one sample a row or kept no replies. A row counts where two of its replies were
    read.
    """
    first = next(iter(of.table.runs))
    raw = of.table.of_run(first, "raw")
    if first not in sampled_runs(of.table) or raw not in of.table.results.collect_schema() or not of.rows:
        return
    pairs = _pairs(of, first, raw)
    try:
        (pair,) = inter_judge(
            pairs, [FIRST, SECOND], item=None if of.columns.item is None else "item", bootstrap=of.bootstrap
        ).pairs
    except SpecError:  # too few rows have two readings
        return
    whole = pair.agreement.whole.dataset
    value = whole.statistics.get("pearson")
    if value is not None:
        drawn = "" if of.rows <= POOL else f" Measured on {POOL:,} rows drawn by chance."
        yield Statistic(
            "Retest: two samples of a row",
            interval(value, whole.intervals.get("pearson"), pair.agreement.whole.n),
            "1 is perfect: Pearson's correlation of the first two samples of a row. A single sample agrees with "
            f"nothing better than with itself.{drawn}",
        )


def same_judge(of: Population, first: str, second: str) -> bool:
    """Whether two scores are by one judge, asked twice: everything that their scores depend on is the same."""
    runs = [of.table.runs.get(of.run_of(name)) for name in (first, second)]
    prints = {None if run is None else run.manifest.fingerprint for run in runs}
    return len(prints) == 1 and None not in prints


def _pairs(of: Population, run: str, raw: str) -> pl.LazyFrame:
    item = [] if of.columns.item is None else [pl.col(of.columns.item).alias("item")]
    rows = of.lazy.select(pl.col("shard").cast(pl.String), "row", *item)
    rows = rows.with_columns(row_hash(of.table, "retest", 0).alias("order")).bottom_k(POOL, by="order")
    drawn = rows.sort("order").drop("order").collect(engine="streaming")
    found = (
        of.table.results.select("shard", "row", pl.col(raw).alias("raw"))
        .join(drawn.lazy(), on=["shard", "row"])
        .sort("shard", "row")
        .collect(engine="streaming")
    )
    judge = of.table.judges[run]
    readings = [judge.readings(replies or ()) for replies in found["raw"].to_list()]
    values = [(some[0], some[1]) if len(some) > 1 else (None, None) for some in readings]
    read = pl.DataFrame(values, schema={FIRST: pl.Float64, SECOND: pl.Float64}, orient="row")
    return found.drop("raw").hstack(read).lazy()
