"""Tables of other kinds as polars DataFrames: pandas, Arrow, lists of dicts, Hugging Face Datasets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl
import pyarrow as pa

from scorer.errors import SpecError

_TAKEN = (
    "a polars DataFrame or LazyFrame, a list of dicts, a pandas DataFrame, an Arrow table, or a split of a Hugging "
    "Face Dataset"
)


def as_frame(given: Any) -> pl.DataFrame:
    """A table of another kind as a polars DataFrame; pandas' index is left out. Raises SpecError for what is none."""
    try:
        frame = _as_frame(given)
    except (pl.exceptions.PolarsError, TypeError, ValueError, OverflowError, OSError) as error:
        raise SpecError([f"This table cannot be read as a polars DataFrame: {first_line(error)}."]) from error
    if frame is None:
        raise SpecError([f"score_frame takes {_TAKEN}; this is a {type(given).__module__}.{type(given).__qualname__}."])
    odd = [name for name, kind in frame.schema.items() if kind == pl.Object]
    if odd:
        raise SpecError([f"Column {name} holds Python objects: make it texts or numbers, or drop it." for name in odd])
    return frame


def _as_frame(given: Any) -> pl.DataFrame | None:
    if isinstance(given, pl.DataFrame):
        return given
    if isinstance(given, pl.LazyFrame):
        return given.collect()
    if isinstance(given, list | tuple) and all(isinstance(row, Mapping) for row in given):
        return _of_dicts([dict(row) for row in given]) if given else pl.DataFrame()
    if type(given).__module__.partition(".")[0] == "pandas" and hasattr(given, "columns"):
        return _of_pandas(given)
    if callable(getattr(given, "with_format", None)) and hasattr(given, "column_names"):  # a Hugging Face Dataset
        try:
            table = given.with_format("arrow")[:]  # the rows as they are selected and shuffled
        except (TypeError, NotImplementedError, KeyError):  # a stream, or a dict of splits
            return None
        return _of_arrow(table)
    if hasattr(given, "__arrow_c_stream__") and not isinstance(given, pl.Series):
        return _of_arrow(given)
    return None


def _of_dicts(rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Nested columns by Arrow, which refuses values of several kinds; polars makes some of them null or text."""
    nested = {name for row in rows for name, value in row.items() if isinstance(value, Mapping | list | tuple)}
    names = dict.fromkeys(name for row in rows for name in row)
    flat = [{name: None if name in nested else row.get(name) for name in names} for row in rows]
    frame = pl.from_dicts(flat, infer_schema_length=None)
    for name in names:
        if name in nested:
            column = pl.from_arrow(_nested(name, [row.get(name) for row in rows]))
            assert isinstance(column, pl.Series)
            frame = frame.with_columns(column.alias(name))
    return frame


def _nested(name: str, values: list[Any]) -> pa.Array:
    try:
        return pa.array(values)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise SpecError(
            [
                f"Column {name} holds values of several kinds, which no column can ({first_line(error)}). Make them "
                "one kind; or write the rows as JSON Lines, which need none, and score that file with scorer.run."
            ]
        ) from error


def _of_pandas(given: Any) -> pl.DataFrame:
    """Levels of the index that have a name, which no column has, are columns; others are left out."""
    named = [level for level in given.index.names if level is not None and level not in given.columns]
    given = given.reset_index(level=named) if named else given
    for name, values in given.items():
        if values.dtype == object and any(isinstance(value, Mapping | list | tuple) for value in values):
            _nested(str(name), [None if isinstance(value, float) else value for value in values])
    return pl.from_pandas(given)


def _of_arrow(table: Any) -> pl.DataFrame | None:
    found = pl.from_arrow(table)
    return found if isinstance(found, pl.DataFrame) else None


def first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__
