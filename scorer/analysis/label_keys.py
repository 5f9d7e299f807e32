"""The columns that find a row's label: which types of them can be compared, and as what.

Texts and categories are compared as texts, whole numbers of any width by their value. A binary value (as a UUID is once
polars has read it), a truth value, a date or a time equals one of its own type, and its text in a CSV file.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from scorer.analysis.binary_text import binary_text
from scorer.analysis.reading import TEXTS
from scorer.errors import SpecError


def key_name(name: str) -> str:
    """The name of what a column is compared by, which no column of a table has."""
    return f"\0{name}"


def written_as_text(dtype: pl.DataType) -> bool:
    """Whether values of this type stand as `key_text` in a CSV file of labels."""
    return dtype in (pl.Binary, pl.Boolean) or dtype.is_temporal()


def key_text(column: pl.Series) -> pl.Series:
    """The values as texts: binary ones as `binary_text`, dates and times as in ISO 8601."""
    if column.dtype == pl.Binary:
        texts = [None if value is None else binary_text(value) for value in column]
        return pl.Series(column.name, texts, pl.String)
    if column.dtype.is_temporal():
        return column.dt.to_string("iso")
    return column.cast(pl.String)


def nested_problems(schema: pl.Schema, on: Sequence[str]) -> list[str]:
    """A sentence for each column that names no row, for its values are lists or structures."""
    return [
        f"--on {name}: the values of this column are lists or structures ({schema[name]}). Give a column of texts, "
        "numbers, dates or binary values."
        for name in on
        if schema[name].is_nested()
    ]


def match_keys(left: pl.Schema, right: pl.Schema, on: Sequence[str]) -> tuple[list[pl.Expr], list[pl.Expr]]:
    """The columns `on` of a table and of a file of labels as what they are compared by, each under its `key_name`.

    Raises SpecError where their types cannot be compared.
    """
    problems = [
        f"Column {name} is {left[name]} in the table and {right[name]} in the labels file; give both one type."
        for name in on
        if not _comparable(left[name], right[name])
    ]
    if problems := [*nested_problems(left, on), *problems]:
        raise SpecError(problems)
    both = [(name, left[name], right[name]) for name in on]
    return [_key(name, one, other) for name, one, other in both], [_key(name, other, one) for name, one, other in both]


def _comparable(one: pl.DataType, other: pl.DataType) -> bool:
    mixed = (one in TEXTS and written_as_text(other)) or (other in TEXTS and written_as_text(one))
    return mixed or _kind(one) == _kind(other)


def _kind(dtype: pl.DataType) -> pl.DataType:
    """The type in which a key is compared with one like it."""
    if dtype in TEXTS:
        return pl.String()
    return pl.Int128() if dtype.is_integer() else dtype


def _key(name: str, dtype: pl.DataType, other: pl.DataType) -> pl.Expr:
    key = pl.col(name)
    if written_as_text(dtype) and other in TEXTS:
        key = key.map_batches(key_text, return_dtype=pl.String())
    else:
        key = key.cast(_kind(dtype))
    return key.alias(key_name(name))
