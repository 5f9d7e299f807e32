"""A `Client` that answers from a Parquet table of stored replies: an earlier run, or published judge data.

Asks nothing and costs nothing. The texts stay in Arrow; Python holds one key for each row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from scorer.client.providers.complaints import parse
from scorer.client.providers.completions import read_logprobs, read_model, read_text
from scorer.errors import NoReply, Refused, SetupError, SpecError
from scorer.types import (
    Completion,
    Request,
)
from scorer.usage import (
    Spent,
)

_SHOWN_DUPLICATES = 3


class Recorded:
    """Stored replies by key: the n-th request of a row gets the n-th reply of the table's row with the same key.

    `path` is a Parquet file or a folder of them. `keys` are columns of the table that are equal to the row's columns of
    the same name; 1 and "1" differ. `replies` is a column of strings (one reply) or of lists of strings. `where` keeps
    only the rows whose columns have these values. A reply that is a whole one as servers of OpenAI's dialect send it,
    and as `output.keep_raw = "full"` stores it, is read as such, with its log-probabilities.

    Raises: SpecError where the table cannot be read so, or holds a key twice.
    """

    __slots__ = ("_keys", "_path", "_replies", "_rows")

    def __init__(
        self, *, path: str | Path, keys: Sequence[str], replies: str, where: Mapping[str, Any] | None = None
    ) -> None:
        self._path = str(path)
        self._keys = tuple(keys)
        table = _read(self._path, self._keys, replies, where or {}, (*self._keys, replies))
        self._replies = table.column(replies)
        self._rows = _index(self._path, table.select(self._keys))

    def __repr__(self) -> str:
        return f"<Recorded {self._path}, {len(self._rows)} keys>"

    async def complete(self, request: Request) -> Completion:
        """The stored reply; it counts as one attempt and costs nothing.

        Raises: NoReply where the table has no reply, or a null one, for this key and index.
        """
        missing = [name for name in self._keys if name not in request.key]
        if missing:
            raise SetupError(
                f"model.keys names {missing}, which the judge does not pass on; it has {list(request.key)}."
            )
        key = tuple(request.key[name] for name in self._keys)
        try:
            row = self._rows.get(key)
        except TypeError:  # a list cannot be a key, so the table has none
            row = None
        if row is None:
            raise NoReply(f"{self._path} has no row with {_named(self._keys, key)}.")
        stored = self._replies[row].as_py()
        texts = stored if isinstance(stored, list) else [stored]
        text = texts[request.index] if request.index < len(texts) else None
        if text is None:
            raise NoReply(
                f"{self._path} has no reply {request.index + 1} for {_named(self._keys, key)}; it holds {len(texts)}."
            )
        return _whole(text) or Completion(text=text, model="recorded", spent=_FREE)


_FREE = Spent(attempts=1, cost_pico=0)


def _whole(text: str) -> Completion | None:
    """The completion in a whole reply; None where the text is none, but a verdict in JSON for instance."""
    if not text.startswith("{") or '"choices"' not in text:
        return None
    value = parse(text.encode())
    choices = value.get("choices") if isinstance(value, dict) else None
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        return None
    content, refusal = read_text(choices[0])
    if refusal:
        raise Refused(refusal)
    if content is None:
        return None
    finish_reason = choices[0].get("finish_reason")
    return Completion(
        text=content,
        finish_reason=finish_reason if isinstance(finish_reason, str) else "",
        model=read_model(value) or "recorded",
        logprobs=read_logprobs(choices[0].get("logprobs")),
        body=text.encode(),
        spent=_FREE,
    )


def check_table(*, path: str, keys: Sequence[str], replies: str, where: Mapping[str, Any] | None = None) -> None:
    """Reads the keys of the table that `Recorded` would read. Raises SpecError as it does, unless for the replies."""
    _index(path, _read(path, keys, replies, where or {}, keys))


def _index(path: str, keys: pa.Table) -> dict[tuple[Any, ...], int]:
    """The row of each key. Raises SpecError where one occurs twice."""
    rows: dict[tuple[Any, ...], int] = {}
    twice: dict[tuple[Any, ...], None] = {}
    for row, key in enumerate(zip(*(column.to_pylist() for column in keys.columns), strict=True)):
        if rows.setdefault(key, row) != row:
            twice[key] = None
    if twice:
        shown = "; ".join(_named(keys.column_names, key) for key in list(twice)[:_SHOWN_DUPLICATES])
        raise SpecError(
            [
                f"model.keys: {len(twice)} keys occur more than once in {path}: {shown}. "
                "Add a key column, or narrow the table with where."
            ]
        )
    return rows


def _named(names: Sequence[str], key: Sequence[Any]) -> str:
    return ", ".join(f"{name} = {value!r}" for name, value in zip(names, key, strict=True))


def _look_at(
    path: str, keys: Sequence[str], replies: str, where: Mapping[str, Any]
) -> tuple[ds.Dataset, pc.Expression | None]:
    """The table, and the condition on its rows. Reads the schema alone.

    Raises SpecError where there is no such table, or it lacks a column or holds another type there.
    """
    try:
        schema = ds.dataset(path, format="parquet").schema
        # Arrow cannot filter views yet; as large strings it can.
        schema = pa.schema([field.with_type(_without_views(field.type)) for field in schema])
        dataset = ds.dataset(path, format="parquet", schema=schema)
    except (OSError, pa.ArrowInvalid) as error:
        raise _unreadable(path, error) from None
    problems = [] if keys else ["model.keys: empty; name the columns that tell the rows of the table apart."]
    for name, columns in (("keys", keys), ("replies", (replies,)), ("where", tuple(where))):
        problems += [
            f"model.{name}: {path!r} has no column {column!r}; it has {', '.join(schema.names)}."
            for column in columns
            if column not in schema.names
        ]
    if not problems:
        problems += [
            f"model.keys: column {name!r} is a {schema.field(name).type}; a key is a single value."
            for name in keys
            if pa.types.is_nested(schema.field(name).type)
        ]
        if not _is_text(schema.field(replies).type):
            problems.append(
                f"model.replies: column {replies!r} is a {schema.field(replies).type}; "
                "allowed are string and list<string>."
            )
    condition = None
    for name, value in where.items() if not problems else ():
        kind = _plain(schema.field(name).type)
        equal = _equal(name, value, kind)
        if equal is None:
            problems.append(f"model.where.{name}: {value!r} cannot equal a value of the column, which is a {kind}.")
        else:
            condition = equal if condition is None else condition & equal
    if problems:
        raise SpecError(problems)
    return dataset, condition


def _read(path: str, keys: Sequence[str], replies: str, where: Mapping[str, Any], columns: Sequence[str]) -> pa.Table:
    """Some columns of the table's rows. Raises SpecError where it has none, or cannot be read."""
    dataset, condition = _look_at(path, keys, replies, where)
    try:
        table = dataset.to_table(columns=list(dict.fromkeys(columns)), filter=condition)
    except (OSError, pa.ArrowInvalid) as error:
        raise _unreadable(path, error) from None
    if not table.num_rows:
        raise SpecError(
            [f"model.where: {dict(where)!r} leaves no row of {path!r}." if where else f"{path!r} is empty."]
        )
    return table


def _unreadable(path: str, error: Exception) -> SpecError:
    return SpecError([f"model.path: {path!r} cannot be read as Parquet ({error})."])


def _equal(name: str, value: Any, kind: pa.DataType) -> pc.Expression | None:
    if isinstance(value, str) != _is_text(kind):  # Arrow would cast "1" to 1
        return None
    try:
        return pc.field(name).cast(kind) == pa.scalar(value).cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError):
        return None


def _is_text(kind: pa.DataType) -> bool:
    kind = _plain(kind)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_list_view(kind):
        kind = _plain(kind.value_type)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _without_views(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_string_view(kind):
        return pa.large_string()
    if pa.types.is_list(kind) and pa.types.is_string_view(kind.value_type):
        return pa.list_(pa.large_string())
    return kind


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind
