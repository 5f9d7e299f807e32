"""Column types of a table format, and the lossless conversion of result columns to them.

Knows Arrow's types and no library of a table format.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.types as kinds

from scorer.errors import SpecError
from scorer.publish.sealed import RUN


@dataclass(frozen=True, slots=True)
class Format:
    """The types that a table format has beside those that all have."""

    name: str
    small_integers: bool
    """Integers of 8 and 16 bits; else they become 32 bits."""
    time_of_day: bool


DELTA = Format("Delta", small_integers=True, time_of_day=False)
ICEBERG = Format("Iceberg", small_integers=False, time_of_day=True)


def lake_type(kind: pa.DataType, form: Format) -> pa.DataType | None:
    """The narrowest type of the format that holds every value of `kind`; None where the format has none.

    Unsigned integers become the next wider signed ones, 64 bits of them decimal(20, 0). Timestamps become microseconds,
    in UTC where they have a zone; the cast refuses nanoseconds that would be lost. Durations and intervals have none.
    """
    if kinds.is_dictionary(kind) or kinds.is_run_end_encoded(kind):
        return lake_type(kind.value_type, form)
    if isinstance(kind, pa.BaseExtensionType):
        return lake_type(kind.storage_type, form)
    if kinds.is_nested(kind):
        return _nested(kind, form)
    return _simple(kind, form)


def _simple(kind: pa.DataType, form: Format) -> pa.DataType | None:
    if kinds.is_string(kind) or kinds.is_large_string(kind) or kinds.is_string_view(kind):
        return pa.string()
    if kinds.is_binary(kind) or kinds.is_large_binary(kind) or kinds.is_binary_view(kind):
        return pa.binary()
    if kinds.is_fixed_size_binary(kind):
        return pa.binary()
    if kinds.is_integer(kind):
        return _integer(kind, form)
    if kinds.is_floating(kind):
        return pa.float64() if kind.bit_width == 64 else pa.float32()
    if kinds.is_decimal(kind):
        return pa.decimal128(kind.precision, kind.scale) if 0 <= kind.scale <= kind.precision <= 38 else None
    if kinds.is_timestamp(kind):
        return pa.timestamp("us", tz=None if kind.tz is None else "UTC")
    if kinds.is_date(kind):
        return pa.date32()
    if kinds.is_time(kind):
        return pa.time64("us") if form.time_of_day else None
    return kind if kinds.is_boolean(kind) else None


def _integer(kind: pa.DataType, form: Format) -> pa.DataType:
    bits = kind.bit_width if kinds.is_signed_integer(kind) else 2 * kind.bit_width
    if bits > 64:
        return pa.decimal128(20, 0)
    if bits == 64:
        return pa.int64()
    if bits == 32 or not form.small_integers:
        return pa.int32()
    return pa.int16() if bits == 16 else pa.int8()


def _nested(kind: pa.DataType, form: Format) -> pa.DataType | None:
    if kinds.is_map(kind):
        key, item = lake_type(kind.key_type, form), lake_type(kind.item_type, form)
        return None if key is None or item is None else pa.map_(key, item)
    if kinds.is_struct(kind):
        parts = [(field.name, lake_type(field.type, form)) for field in kind]
        if not parts or any(part is None for _, part in parts):
            return None
        return pa.struct([pa.field(name, part) for name, part in parts])
    if kinds.is_union(kind):
        return None
    element = lake_type(kind.value_type, form)
    return None if element is None else pa.list_(pa.field("element", element))


def lake_schema(schema: pa.Schema, form: Format) -> pa.Schema:
    """The columns as a table of this format has them. Raises SpecError naming each that the format cannot hold.

    A column that is null throughout and has no type is left out, until a shard gives it one.
    """
    problems, fields = [], []
    for field in schema:
        if kinds.is_null(field.type):
            continue
        kind = lake_type(field.type, form)
        if kind is None:
            problems.append(
                f"Column {field.name} has type {field.type}, which a {form.name} table has no place for. Change it in "
                "the input (a number or a text holds it), or leave it out of input.keep."
            )
        else:
            fields.append(pa.field(field.name, kind, field.nullable))
    alike = Counter(field.name.lower() for field in fields)
    problems += [
        f"Columns {' and '.join(f.name for f in fields if f.name.lower() == name)} differ in case only, which a "
        f"{form.name} table cannot tell apart. Rename one of them in the input."
        for name, count in alike.items()
        if count > 1
    ]
    if problems:
        raise SpecError(problems)
    return pa.schema(fields)


def added(table: pa.Schema, schema: pa.Schema, form: Format, target: str) -> list[pa.Field]:
    """The fields of `schema` that the table lacks, all nullable. Columns of the table that `schema` lacks stay null.

    Raises SpecError where the table holds no published scores, or has such a column of another type.
    """
    if missing := [name for name in (RUN, "shard", "row", "generation") if name not in table.names]:
        raise SpecError(
            [
                f"{target} is no table of published scores: it has no column {', '.join(missing)}. Give another "
                "table; one that does not exist is made."
            ]
        )
    new, problems = [], []
    for field in schema:
        if field.name not in table.names:
            new.append(pa.field(field.name, field.type))
            continue
        has = lake_type(table.field(field.name).type, form)
        if has != field.type:
            problems.append(
                f"{target} has a column {field.name} of type {table.field(field.name).type}, and these scores have one "
                f"of type {field.type}. Give these scores another table, or keep the column under another name."
            )
    required = [f.name for f in table if not f.nullable and f.name not in schema.names]
    if required:
        problems.append(f"{target} wants a value in {', '.join(required)}, and these scores have no such column.")
    if problems:
        raise SpecError(problems)
    return new


def check_partitions(names: Sequence[str], schema: pa.Schema, target: str) -> None:
    """Raises SpecError where a new table cannot be partitioned by these columns."""
    problems = []
    for name in names:
        if name not in schema.names:
            problems.append(
                f"{target} cannot be partitioned by {name}: there is no such column. There are "
                f"{', '.join(schema.names)}."
            )
        elif kinds.is_nested(schema.field(name).type) or kinds.is_floating(schema.field(name).type):
            problems.append(
                f"{target} cannot be partitioned by {name}: it is of type {schema.field(name).type}. Take a column of "
                "texts, whole numbers, dates or booleans."
            )
    if problems:
        raise SpecError(problems)


def same_partitions(has: Sequence[str], wanted: Sequence[str], target: str) -> None:
    """Raises SpecError where a table that exists is partitioned by other columns than those asked for, if any were."""
    if wanted and list(has) != list(wanted):
        raise SpecError(
            [
                f"{target} is partitioned by {', '.join(has) or 'nothing'}, and --partition-by asks for "
                f"{', '.join(wanted)}. A table keeps the partitions it was made with: leave the option out, or give "
                "another table."
            ]
        )
