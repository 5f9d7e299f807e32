"""The lengths of the responses, where reading them costs little: they are the only texts that a panel needs."""

from __future__ import annotations

import polars as pl

from scorer.report.run_table import RunTable

LENGTH = "\0length"
"""Characters of the response."""
MOST_BYTES = 500_000_000
"""Of larger inputs the texts are not read."""


def length_of(table: RunTable) -> tuple[pl.Expr | None, str | None]:
    """The expression of LENGTH, None where it cannot be had; and a sentence where it was left out."""
    response = table.columns.response
    if response is None or table.schema.get(response) != pl.String:
        return None, None
    size = sum(shard.size for shard in table.at.values())
    if size > MOST_BYTES:
        said = f"Length against score is left out, since the input has {size / 1e9:.1f} GB"
        return None, f"{said}: `scorer bias OUT --score {table.columns.scores[0]} --text {response}` measures it."
    return pl.col(response).str.len_chars().cast(pl.Int64).alias(LENGTH), None
