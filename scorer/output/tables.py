"""Converts results to Arrow tables. A value that its column cannot hold costs at most its own row.

Knows Arrow and the columns of schema.py, but no files. A flush is cut into pieces of bounded bytes. A piece that cannot
be converted as a whole is converted row by row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import accumulate
from operator import attrgetter
from typing import Any

import pyarrow as pa

from scorer.errors import BadRow, RowError, Unreadable
from scorer.files.arrow_take import owned
from scorer.frozen import dataclass
from scorer.output.schema import COLUMNS, METRIC, Origin, ResultLists, Values, judge_names, kept_names
from scorer.types import Result, Score

PIECE_BYTES = 4 * 1024 * 1024
"""About so much text of results becomes one table: a row group of a segment."""
SHOWN = 80
"""Characters of a value that an error quotes."""
REPEATED, REPEATED_ROWS = {pa.string(): str, pa.int32(): int, pa.int64(): int}, 64
"""The types of columns that often repeat one value, the class of such a value, and how many of them gain by it."""
_NUMBER = attrgetter("row.number")
Measure = Callable[[Sequence[Result]], Mapping[str, Sequence[float | None]]]
"""Automatic metrics of some rows: a column for each `metric_<name>`."""


@dataclass(frozen=True, slots=True)
class UnfitValue:
    """A value that its column cannot hold. `error` is its row's new error, None where the row keeps its score."""

    result: Result
    column: str
    detail: str
    error: RowError | None


@dataclass(frozen=True, slots=True)
class Made:
    """Results as a table, sorted by row. `results` are the results in it: those given, changed by `unfit`."""

    table: pa.Table
    results: Sequence[Result]
    unfit: Sequence[UnfitValue] = ()


def size_of(result: Result) -> int:
    """About how many bytes of text a result holds until it is written, its row's own included."""
    row, score, raw = result.row, result.score, result.raw
    size = 0
    for value in row.kept:
        if value.__class__ is str or value.__class__ is bytes:
            size += len(value)
    if row.size > size:  # it counts nested values too, by their mean
        size = row.size
    if raw is not None:
        for text in raw:
            if text.__class__ is str:
                size += len(text)
    if score is not None and score.reason.__class__ is str:
        size += len(score.reason)
    return size


def pieces(results: Sequence[Result]) -> Iterator[list[Result]]:
    """The results sorted by row, as many at a time as hold `PIECE_BYTES`, and at least one."""
    held: list[Result] = []
    size = 0
    for result in sorted(results, key=_NUMBER):
        more = size_of(result)
        if held and size + more > PIECE_BYTES:
            yield held
            held, size = [], 0
        held.append(result)
        size += more
    if held:
        yield held


def to_table(results: Sequence[Result], schema: pa.Schema, fingerprint: str) -> pa.Table:
    """Result rows sorted by row number, under the shard's result schema, as `made` makes them."""
    return made(results, schema, fingerprint).table


def made(results: Sequence[Result], schema: pa.Schema, fingerprint: str, measure: Measure | None = None) -> Made:
    """Result rows sorted by row number, under the shard's result schema.

    A judge's value that its column cannot hold makes the row `Unreadable`. A kept input value makes it `BadRow`. A
    value that the server sent beside its verdict becomes null, and the row keeps its score. Other rows are as given.
    """
    results = sorted(results, key=_NUMBER)
    metrics = {} if measure is None else {name: list(values) for name, values in measure(results).items()}
    try:
        return Made(_table(results, schema, fingerprint, metrics), results)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - a judge of somebody's own can hand over anything: whose it is, is found out below
        unfit: list[UnfitValue] = []
        results = [_fitted(result, schema, fingerprint, unfit) for result in results]
        return Made(_table(results, schema, fingerprint, metrics), results, unfit)


def made_at_once(
    groups: Sequence[Sequence[Result]], schema: pa.Schema, fingerprint: str
) -> tuple[pa.Table, list[Made]] | None:
    """The results of several small shards of one schema as one table, and each as `made` makes them.

    None where a column cannot hold some value.
    """
    ordered = [sorted(group, key=_NUMBER) for group in groups]
    results = [result for group in ordered for result in group]
    try:
        table = _table(results, schema, fingerprint, {})
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - as in `made`
        return None
    ends = list(accumulate(map(len, ordered)))
    return table, [
        Made(table.slice(end - len(group), len(group)), group) for group, end in zip(ordered, ends, strict=True)
    ]


def _table(
    results: Sequence[Result], schema: pa.Schema, fingerprint: str, metrics: Mapping[str, list[float | None]]
) -> pa.Table:
    values = _values(schema, fingerprint)
    lists = ResultLists(results)
    arrays = [_array(metrics.get(f.name) or values[f.name](lists), f.type) for f in schema]
    return pa.Table.from_arrays(arrays, schema=schema)


def _values(schema: pa.Schema, fingerprint: str) -> dict[str, Values]:
    """The values of each column of `schema`. Metrics that were not computed are null."""
    values: dict[str, Values] = {name: partial(_same, None) for name in schema.names if name.startswith(METRIC)}
    values |= {name: partial(_judge_field, name) for name in judge_names(schema.names)}
    values |= {column.name: column.values or partial(_same, fingerprint) for column in COLUMNS}
    return values | {name: partial(_kept, index) for index, name in enumerate(kept_names(schema.names))}


def _same(value: Any, lists: ResultLists) -> list[Any]:
    return [value] * len(lists.results)


def _judge_field(name: str, lists: ResultLists) -> list[Any]:
    verdicts = (error if score is None else score for score, error in zip(lists.scores, lists.errors, strict=True))
    return [None if one is None else one.fields.get(name) for one in verdicts]


def _kept(index: int, lists: ResultLists) -> list[Any]:
    return [row.kept[index] for row in lists.rows]


# --- whose fault a row's failure is -----------------------------------------------------------------------------------


def _fitted(result: Result, schema: pa.Schema, fingerprint: str, unfit: list[UnfitValue]) -> Result:
    """The result without the values that its columns cannot hold; each is added to `unfit`."""
    score = result.score
    if score is not None and not (isinstance(score, Score) and isinstance(score.fields, Mapping)):
        result = _failed(result, "score", "the judge made no scorer.Score with fields by name", unfit)
    if result.error is not None and not isinstance(result.error.detail, str):
        result = replace(result, error=type(result.error)(str(result.error.detail)))
    columns = {column.name: column for column in COLUMNS}
    judged, kept = judge_names(schema.names), kept_names(schema.names)
    values = _values(schema, fingerprint)
    for kind in schema:
        name = kind.name
        try:
            _array(values[name](ResultLists([result])), kind.type)
        except Exception as error:
            column = columns.get(name)
            if name in kept:
                said = f"column {name} holds a value that cannot be written again as {kind.type}"
                gone = tuple(None if one == name else v for one, v in zip(kept, result.row.kept, strict=True))
                bad = BadRow(said)
                unfit.append(UnfitValue(result, name, said, bad))
                result = replace(result, score=None, error=bad, row=replace(result.row, kept=gone))
            elif name in judged or (column is not None and column.origin is Origin.JUDGE):
                value = _shown(values[name], result)
                said = f"the judge's {name} is {value}, which column {name} ({kind.type}) cannot hold"
                result = _failed(result, name, said, unfit)
            elif column is not None and column.origin is Origin.SERVER:
                value = _shown(column.given or values[name], result)
                said = f"the server's {name} is {value}, which column {name} ({kind.type}) cannot hold"
                unfit.append(UnfitValue(result, name, said, None))
                result = replace(result, **column.without)
            else:
                raise RuntimeError(f"row {result.row.number} of {result.row.shard}: column {name}: {error}") from error
    return result


def _failed(result: Result, column: str, said: str, unfit: list[UnfitValue]) -> Result:
    kept = (
        "" if result.raw is None else ". Its reply is kept, so that `scorer reread` can read it with a corrected judge"
    )
    error = Unreadable(f"{said}{kept}")
    unfit.append(UnfitValue(result, column, said, error))
    return replace(result, score=None, error=error)


def _shown(values: Values, result: Result) -> str:
    given: Any = None
    try:
        (given,) = values(ResultLists([result]))
        text = repr(given)
    except Exception:  # noqa: BLE001 - somebody's own object
        text = f"a {type(given).__name__}"
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


# --- one column -------------------------------------------------------------------------------------------------------


def _array(values: list[Any], kind: pa.DataType) -> pa.Array:
    if (whole := owned(kind)) != kind:
        return _array(values, whole).cast(kind)
    try:
        if _is_repeated(values, kind):
            return pa.repeat(pa.scalar(values[0], kind), len(values))
        return pa.array(values, type=kind)
    except UnicodeEncodeError:  # a lone surrogate, which JSON can hold and UTF-8 cannot
        return pa.array([_valid(value) for value in values], type=kind)


def _is_repeated(values: list[Any], kind: pa.DataType) -> bool:
    """Whether a column of texts or whole numbers holds one value alone, as half of them do."""
    if len(values) < REPEATED_ROWS or values[0] is not values[-1]:
        return False
    return values[0].__class__ is REPEATED.get(kind) and values.count(values[0]) == len(values)


def _valid(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    return tuple(_valid(v) for v in value) if isinstance(value, (list, tuple)) else value
