"""An input file of any format as a polars lazy frame, its rows numbered as the run numbers them."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl
import pyarrow as pa
from polars.io.plugins import register_io_source

from scorer.files.credentials import scan_options
from scorer.files.router import AnyFiles
from scorer.inputs.formats import format_of, is_parquet
from scorer.inputs.formats.folder_columns import folder_columns
from scorer.inputs.formats.protocol import DAMAGE, Wanted
from scorer.inputs.pieces import Batch
from scorer.inputs.read_retry import short
from scorer.types import Shard


def scan_input(shard: Shard) -> pl.LazyFrame:
    """The rows of a shard in the order of the file, with the columns that its folders name. Read when collected.

    A row of a text format that is no row of its columns is null in all of them, and a value that does not fit its
    column's type is null. Raises OSError or one of polars' errors where the file cannot be read.
    """
    if is_parquet(shard.path) and not shard.place.startswith("hf://"):
        frame = pl.scan_parquet(shard.place, glob=False, **scan_options(shard.place))
        known = frame.collect_schema().names()
        more = {name: text for name, text in folder_columns(shard.path).items() if name not in known}
        return frame.with_columns(pl.lit(text, pl.String).alias(name) for name, text in more.items())
    try:
        with AnyFiles().open(shard.place) as file:
            schema = format_of(shard.path).schema(file)
    except DAMAGE as error:
        raise OSError(f"{shard.place} cannot be read ({short(error)})") from error
    empty = pl.from_arrow(schema.empty_table())
    assert isinstance(empty, pl.DataFrame)

    def read(
        columns: list[str] | None, predicate: pl.Expr | None, rows: int | None, batch_size: int | None
    ) -> Iterator[pl.DataFrame]:
        wanted = schema if columns is None else pa.schema([schema.field(name) for name in columns])
        left = rows
        for frame in _frames(shard, wanted):
            if left is not None:
                frame = frame.head(left)
                left -= frame.height
            yield frame if predicate is None else frame.filter(predicate)
            if left == 0:
                return

    return register_io_source(read, schema=dict(empty.schema))


def _frames(shard: Shard, schema: pa.Schema) -> Iterator[pl.DataFrame]:
    with AnyFiles().open(shard.place) as file:
        for piece in format_of(shard.path).batches(file, Wanted(schema.names, shard.rows, careful=True)):
            if isinstance(piece, Batch):
                found = piece.rows.arrow(schema)
            else:
                nulls = [pa.nulls(piece.stop - piece.first, field.type) for field in schema]
                found = pa.RecordBatch.from_arrays(nulls, schema=schema)
            frame = pl.from_arrow(pa.Table.from_batches([found]))
            assert isinstance(frame, pl.DataFrame)
            yield frame
