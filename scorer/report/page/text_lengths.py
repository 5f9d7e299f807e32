"""The lengths of the responses, where reading them costs little: they are the only texts that a panel needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from scorer.files.router import AnyFiles
from scorer.inputs.formats import is_parquet
from scorer.report.run_table import RunTable
from scorer.types import Shard

LENGTH = "\0length"
"""Characters of the response."""
MOST_BYTES, MOST_AT_ONCE = 2_000_000_000, 250_000_000
"""Where the responses have more bytes in all, or in one row group, they are not read."""
LOOKED_AT = 64
"""So many shards tell the sizes of all."""


@dataclass(frozen=True, slots=True)
class Lengths:
    """How long the responses are: `expression` gives LENGTH, None where it cannot be had, and `note` says why.

    `mean` is about the bytes of a response.
    """

    expression: pl.Expr | None = None
    note: str | None = None
    mean: float = 0.0


def lengths_of(table: RunTable) -> Lengths:
    """The lengths of the responses of a table."""
    response = table.columns.response
    if response is None or table.schema.get(response) != pl.String:
        return Lengths()
    shards = list(table.at.values())
    total, largest = _bytes(shards, response)
    mean = total / max(1, sum(shard.rows for shard in shards))
    if total > MOST_BYTES or largest > MOST_AT_ONCE:
        said = f"Length against score is left out, since the responses have {total / 1e9:.1f} GB"
        command = f"scorer bias OUT --score {table.columns.scores[0]} --text {response}"
        return Lengths(None, f"{said}: `{command}` measures it.", mean)
    return Lengths(pl.col(response).str.len_chars().cast(pl.Int64).alias(LENGTH), None, mean)


def _bytes(shards: Sequence[Shard], column: str) -> tuple[float, float]:
    """About how many bytes the texts of a column have, and the largest part of them that is read at once."""
    looked, total, largest = 0, 0.0, 0.0
    for shard in shards[:LOOKED_AT]:
        parts = _row_groups(shard, column)
        looked += shard.size
        total += sum(parts)
        largest = max(largest, *parts, 0.0)
    return total * sum(shard.size for shard in shards) / max(looked, 1), largest


def _row_groups(shard: Shard, column: str) -> list[float]:
    """The bytes of the column in each row group; of other formats all bytes of the file, which are read in pieces."""
    if not is_parquet(shard.path):
        return [float(shard.size)]
    try:
        with AnyFiles().open(shard.place) as file:
            about = pq.read_metadata(file)
    except (OSError, pa.ArrowException):
        return []
    return [
        float(chunk.total_uncompressed_size)
        for group in range(about.num_row_groups)
        for at in range(about.num_columns)
        if (chunk := about.row_group(group).column(at)).path_in_schema == column.removeprefix("input_")
        or chunk.path_in_schema == column
    ]
