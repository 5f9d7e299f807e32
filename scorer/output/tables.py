"""Results as Arrow tables, whatever a judge or a server put into them: what no column can hold costs one row at most.

Knows Arrow and the words of schema.py; no file. A flush is cut into pieces of bounded bytes, and a piece that cannot be
converted as a whole is converted row by row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from scorer.errors import BadRow, RowError, Unreadable
from scorer.files.arrow import owned
from scorer.types import Result, Score

PIECE_BYTES = 4 * 1024 * 1024
"""About so much text of results becomes one table: a row group of a segment."""
SHOWN = 80
"""Characters of a value that an error quotes."""
COPIED = "copied_from"
"""A column of runs with `judge.dedupe` alone."""

Measure = Callable[[Sequence[Result]], Mapping[str, Sequence[float | None]]]
"""Automatic metrics of some rows: a column for each `metric_<name>`."""

_TOLD: Mapping[str, Mapping[str, Any]] = {
    "raw": {"raw": None},
    "judge_model": {"model": None},
    "finish_reason": {"finish_reason": None},
    "prompt_tokens": {"usage": None},
    "completion_tokens": {"usage": None},
    "cached_tokens": {"usage": None},
    "cost_microusd": {"cost_pico": None},
    "waited_s": {"waited_s": 0.0},
    "answered_s": {"answered_s": 0.0},
}
"""What a server told beside its verdict: where a column cannot hold it, the result goes on without it."""


@dataclass(frozen=True, slots=True)
class UnfitValue:
    """A value that its column cannot hold. `error` is what its row ends in, None where the row's score stays."""

    result: Result
    column: str
    detail: str
    error: RowError | None


@dataclass(frozen=True, slots=True)
class Made:
    """Results as a table, sorted by row; `results` are those in it, which differ from what was given by `unfit`."""

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
    size = max(size, row.size)  # which counts nested values too, by their mean
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
    for result in sorted(results, key=lambda result: result.row.number):
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

    A value of the judge's that its column cannot hold makes the row `Unreadable`; one that the row keeps of its input
    makes it `BadRow`; what a server told beside its verdict becomes null, and the row keeps its score. All other rows
    are as they were given.
    """
    results = sorted(results, key=lambda result: result.row.number)
    metrics = {} if measure is None else {name: list(values) for name, values in measure(results).items()}
    try:
        return Made(_table(results, schema, fingerprint, metrics), results)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - a judge of somebody's own can hand over anything: whose it is, is found out below
        unfit: list[UnfitValue] = []
        results = [_fitted(result, schema, fingerprint, unfit) for result in results]
        return Made(_table(results, schema, fingerprint, metrics), results, unfit)


def _table(
    results: Sequence[Result], schema: pa.Schema, fingerprint: str, metrics: Mapping[str, list[float | None]]
) -> pa.Table:
    columns = {**_columns(results, schema, fingerprint), **metrics}
    arrays = [_array(columns[f.name], f.type) for f in schema]
    return pa.Table.from_arrays(arrays, schema=schema)


def _columns(results: Sequence[Result], schema: pa.Schema, fingerprint: str) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {name: [None] * len(results) for name in schema.names if name.startswith("metric_")}
    scores = [result.score for result in results]
    errors = [result.error for result in results]
    usages = [result.usage for result in results]
    for name in _judged(schema):
        columns[name] = [None if s is None else s.fields.get(name) for s in scores]
    columns["shard"] = [r.row.shard for r in results]
    columns["row"] = [r.row.number for r in results]
    columns["score"] = [None if s is None else s.value for s in scores]
    columns["reason"] = [None if s is None else s.reason for s in scores]
    columns["error"] = [None if e is None else e.name for e in errors]
    columns["error_detail"] = [None if e is None else e.detail for e in errors]
    columns["finish_reason"] = [r.finish_reason for r in results]
    columns["raw"] = [r.raw for r in results]
    columns["judge_model"] = [r.model for r in results]
    columns["judge"] = [fingerprint] * len(results)
    columns["method"] = [None if s is None else s.method for s in scores]
    columns["samples"] = [0 if s is None else s.samples for s in scores]
    columns["prompt_tokens"] = [None if u is None else u.prompt_tokens for u in usages]
    columns["completion_tokens"] = [None if u is None else u.completion_tokens for u in usages]
    columns["cached_tokens"] = [None if u is None else u.cached_tokens for u in usages]
    columns["cost_microusd"] = [None if r.cost_pico is None else -(-r.cost_pico // 10**6) for r in results]
    columns["attempts"] = [r.attempts for r in results]
    columns["waited_s"] = [r.waited_s for r in results]
    columns["answered_s"] = [r.answered_s for r in results]
    columns["finished_at"] = [r.finished_at for r in results]
    columns["generation"] = [r.row.generation for r in results]
    columns[COPIED] = [r.copied_from for r in results]
    for index, name in enumerate(_kept(schema)):
        columns[name] = [r.row.kept[index] for r in results]
    return columns


def _kept(schema: pa.Schema) -> list[str]:
    names: list[str] = schema.names[2 : schema.get_field_index("score")]
    return names


def _judged(schema: pa.Schema) -> list[str]:
    """The judge's own columns."""
    names: list[str] = schema.names[schema.get_field_index("score") + 1 : schema.get_field_index("reason")]
    return names


# --- whose fault a row's failure is -----------------------------------------------------------------------------------


def _fitted(result: Result, schema: pa.Schema, fingerprint: str, unfit: list[UnfitValue]) -> Result:
    """The result without what its columns cannot hold; each such value is added to `unfit`."""
    score = result.score
    if score is not None and not (isinstance(score, Score) and isinstance(score.fields, Mapping)):
        result = _failed(result, "score", "the judge made no scorer.Score with fields by name", unfit)
    if result.error is not None and not isinstance(result.error.detail, str):
        result = replace(result, error=type(result.error)(str(result.error.detail)))
    judged = {"score", "reason", "method", "samples", *_judged(schema)}
    kept = _kept(schema)
    for kind in schema:
        name = kind.name
        try:
            value = _columns([result], schema, fingerprint)[name]
            _array(value, kind.type)
        except Exception as error:
            if name in judged:
                said = f"the judge's {name} is {_shown(result, name)}, which column {name} ({kind.type}) cannot hold"
                result = _failed(result, name, said, unfit)
            elif name in kept:
                said = f"column {name} holds a value that cannot be written again as {kind.type}"
                gone = tuple(None if one == name else v for one, v in zip(kept, result.row.kept, strict=True))
                bad = BadRow(said)
                unfit.append(UnfitValue(result, name, said, bad))
                result = replace(result, score=None, error=bad, row=replace(result.row, kept=gone))
            elif name in _TOLD:
                said = f"the server's {name} is {_shown(result, name)}, which column {name} ({kind.type}) cannot hold"
                unfit.append(UnfitValue(result, name, said, None))
                result = replace(result, **_TOLD[name])
            else:
                raise RuntimeError(f"row {result.row.number} of {result.row.shard}: column {name}: {error}") from error
    return result


def _failed(result: Result, column: str, said: str, unfit: list[UnfitValue]) -> Result:
    kept = "" if result.raw is None else ". Its reply is kept, so that `scorer reread` can read it with a mended judge"
    error = Unreadable(f"{said}{kept}")
    unfit.append(UnfitValue(result, column, said, error))
    return replace(result, score=None, error=error)


def _shown(result: Result, name: str) -> str:
    score = result.score
    of: Any = result
    if score is not None:
        of = {"score": score.value, "reason": score.reason, "method": score.method, "samples": score.samples}
        of = of[name] if name in of else score.fields.get(name, getattr(result, name, None))
    else:
        of = getattr(result, name, None)
    if name in ("prompt_tokens", "completion_tokens", "cached_tokens"):
        of = getattr(result.usage, name, None)
    elif name == "cost_microusd":
        of = result.cost_pico
    try:
        text = repr(of)
    except Exception:  # noqa: BLE001 - somebody's own object
        text = f"a {type(of).__name__}"
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


# --- one column -------------------------------------------------------------------------------------------------------


def _array(values: list[Any], kind: pa.DataType) -> pa.Array:
    if (whole := owned(kind)) != kind:
        return _array(values, whole).cast(kind)
    try:
        return pa.array(values, type=kind)
    except UnicodeEncodeError:  # a lone surrogate, which JSON can hold and UTF-8 cannot
        return pa.array([_valid(value) for value in values], type=kind)


def _valid(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    return tuple(_valid(v) for v in value) if isinstance(value, (list, tuple)) else value
