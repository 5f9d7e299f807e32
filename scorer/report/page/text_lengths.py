"""The lengths of the responses, where reading them costs little: they are the only texts that a panel needs."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from scorer.report.run_table import RunTable

LENGTH = "\0length"
"""Characters of the response."""
MOST_BYTES = 500_000_000
"""Of larger inputs the texts are not read."""


def with_lengths(table: RunTable, columns: Sequence[str]) -> tuple[pl.LazyFrame, str | None]:
    """The rows with these columns and, where it can be had, LENGTH; and a sentence where it was left out."""
    response = table.columns.response
    item = [table.columns.item] if table.columns.item is not None else []
    plain = table.rows(["shard", "row", *columns, *item])
    if response is None or table.schema.get(response) != pl.String:
        return plain, None
    size = sum(shard.size for shard in table.at.values())
    if size > MOST_BYTES:
        return plain, (
            f"Length against score is left out, since the input has {size / 1e9:.1f} GB: `scorer bias` measures it."
        )
    frame = table.rows(["shard", "row", *columns, *item, response])
    return frame.with_columns(pl.col(response).str.len_chars().cast(pl.Int64).alias(LENGTH)), None
