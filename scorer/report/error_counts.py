"""How many rows of a table ended in each error."""

from __future__ import annotations

import polars as pl

from scorer.report.collecting import collect_all
from scorer.report.run_table import RunTable


def error_counts(table: RunTable) -> dict[str, int]:
    """The errors by name, the most frequent first; of several runs the first one's that has an error."""
    names = [table.of_run(run, "error") for run in table.runs]
    parts = [
        collect_all([frame.select(error=pl.coalesce(names)).drop_nulls().group_by("error").len()])[0]
        for frame in table.parts(names)
    ]
    counts = pl.concat(parts).group_by("error").agg(pl.col("len").sum()).sort("len", "error", descending=[True, False])
    return dict(counts.iter_rows())
