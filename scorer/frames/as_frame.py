"""Tables of other kinds as polars DataFrames: pandas, Arrow, lists of dicts, Hugging Face Datasets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

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
        return pl.from_dicts([dict(row) for row in given], infer_schema_length=None) if given else pl.DataFrame()
    if type(given).__module__.partition(".")[0] == "pandas" and hasattr(given, "columns"):
        return pl.from_pandas(given)
    if callable(getattr(given, "with_format", None)) and hasattr(given, "column_names"):  # a Hugging Face Dataset
        try:
            table = given.with_format("arrow")[:]  # the rows as they are selected and shuffled
        except (TypeError, NotImplementedError, KeyError):  # a stream, or a dict of splits
            return None
        return _of_arrow(table)
    if hasattr(given, "__arrow_c_stream__") and not isinstance(given, pl.Series):
        return _of_arrow(given)
    return None


def _of_arrow(table: Any) -> pl.DataFrame | None:
    found = pl.from_arrow(table)
    return found if isinstance(found, pl.DataFrame) else None


def first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__
