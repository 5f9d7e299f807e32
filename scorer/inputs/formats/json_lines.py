"""JSON Lines, plain or compressed: each line that is not blank is a row, known by the sha256 of all bytes.

A line that is no JSON object is a row that cannot be judged. Of a key that a line holds twice, the last one counts.
NaN and Infinity are read, as Python's json module writes them; half a surrogate pair is U+FFFD.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, BinaryIO

import orjson
import pyarrow as pa

from scorer.errors import whole
from scorer.inputs.column_paths import roots
from scorer.inputs.formats.byte_stream import CHUNK, HashedFile, decompressed, hashed
from scorer.inputs.formats.lines import CAREFUL_CHUNK, LINE_BYTES, Lines
from scorer.inputs.formats.protocol import DAMAGE, Contents, Unfinished, Wanted
from scorer.inputs.formats.text_batches import Invalid, TextBatches
from scorer.inputs.formats.text_format import TextFormat
from scorer.inputs.pieces import Batch, UnreadableRows
from scorer.inputs.plain_rows import PlainRows
from scorer.inputs.read_retry import is_systems
from scorer.inputs.value_types import HEAD_BYTES, HEAD_ROWS, json_types, nested_types, shapes

_NUMBER_BYTES = 8
_TOLD_ROWS = 3
"""A file of so many lines none of which is an object is another format, not one that is still being written."""
DEEPEST = 100
"""Levels of lists and objects in a row: what is nested deeper ends Python's own repr and json."""


class JsonLines(TextFormat):
    """`Format` of JSON Lines."""

    kind = "JSON Lines"

    def look(self, file: BinaryIO, size: int) -> Contents:
        head = _Head()
        rows = 0
        with self._looking(file, size) as given:
            lines = Lines(decompressed(given, self._compression))
            for line in _filled(lines):
                rows += 1
                if not head.full:
                    head.add(line)
        tail = lines.tail
        cut = tail is None or (tail and not tail.isspace() and not isinstance(parsed(tail), dict | list))
        if cut and (rows < _TOLD_ROWS or head.records):
            raise Unfinished("ends within a line")
        if not rows:
            raise Unfinished("has no row yet")
        if not head.records:
            which = "its only line is no" if head.rows == 1 else f"none of its first {head.rows:,} lines is a"
            raise ValueError(f"{which} JSON object{head.why}")
        return Contents(rows, given.rest(), json_types(head.records), shapes(head.records), ended=False)

    def schema(self, file: BinaryIO) -> pa.Schema:
        return json_types(self._head(hashed(file), careful=False).records)

    def batches(self, file: BinaryIO, wanted: Wanted) -> Iterator[Batch | UnreadableRows]:
        given = hashed(file)
        records = self._head(given, careful=wanted.careful).records
        kinds = json_types(records)
        columns = roots(wanted.columns, kinds.names)
        types = {name: kinds.field(name).type for name in columns if name in kinds.names}
        made = TextBatches(wanted, partial(_rows, columns, types, nested_types(records)))
        given.seek(0)
        lines = Lines(decompressed(given, self._compression), chunk=CAREFUL_CHUNK if wanted.careful else CHUNK)
        yield from self._batches(given, wanted, made, ((line, len(line or b"")) for line in _filled(lines)))

    def _head(self, given: HashedFile, *, careful: bool) -> _Head:
        """The first rows; where reading is `careful`, those before the damage."""
        head = _Head()
        try:
            chunk = CAREFUL_CHUNK if careful else CHUNK
            for line in _filled(Lines(decompressed(given, self._compression), chunk=chunk)):
                head.add(line)
                if head.full:
                    break
        except DAMAGE as error:
            if is_systems(error) or not careful:
                raise
        return head


def _filled(lines: Lines) -> Iterator[bytes | None]:
    """The lines that are not blank, the last one too where nothing ends it."""
    for some in lines:
        for line in some:
            if line is None or (line and not line.isspace()):
                yield line
    if lines.tail is None or (lines.tail and not lines.tail.isspace()):
        yield lines.tail


class _Head:
    """The first rows of a file, which decide its types."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []
        self.rows = self._size = 0
        self.why = ""
        """What is wrong with the first line, where it is no JSON."""

    @property
    def full(self) -> bool:
        return self.rows >= HEAD_ROWS or self._size >= HEAD_BYTES

    def add(self, line: bytes | None) -> None:
        self.rows += 1
        if line is not None:
            self._size += len(line)
            record = parsed(line)
            if isinstance(record, dict):
                self.records.append(_exact(record, line) if any(map(_is_large, record.values())) else record)
            elif isinstance(record, Invalid) and self.rows == 1:
                self.why = f"; the first one {record.why}"


def parsed(line: bytes) -> Any:
    """The JSON value of a line, or Invalid."""
    try:
        found = orjson.loads(line)
    except ValueError as error:
        found = _parsed_by_python(line, str(error).partition(":")[0])
    if line.count(b"[") + line.count(b"{") > DEEPEST and _is_deep(found):
        return Invalid(f"is nested deeper than {DEEPEST} levels")
    return found


def _parsed_by_python(line: bytes, why: str) -> Any:
    """The same where orjson refuses it: NaN, Infinity, and halves of surrogate pairs, which become U+FFFD."""
    try:
        found = json.loads(line.decode("utf-8"))
        text = json.dumps(found, ensure_ascii=False)
        return found if text.isascii() or (mended := whole(text)) == text else json.loads(mended)
    except UnicodeDecodeError as error:
        return Invalid(f"is not UTF-8 (byte {error.start})")
    except (ValueError, RecursionError):
        return Invalid(f"is not JSON ({why})")


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(DEEPEST + 1):
        lists = [one for one in level if isinstance(one, list)]
        objects = [one for one in level if isinstance(one, dict)]
        level = [inner for one in lists for inner in one]
        level += [inner for one in objects for inner in one.values()]
        if not level:
            return False
    return True


def _is_large(value: Any) -> bool:
    """Whether a number may be an integer that orjson made a float, for it is longer than 64 bits."""
    return value.__class__ is float and not -(2.0**63) < value < 2.0**63


def _exact(record: dict[str, Any], line: bytes) -> dict[str, Any]:
    """The record with all digits of its integers."""
    try:
        found: dict[str, Any] = json.loads(line)
    except (ValueError, RecursionError):
        return record
    return found


def _rows(
    columns: Sequence[str],
    kinds: Mapping[str, pa.DataType],
    within: Mapping[str, pa.DataType],
    lines: Sequence[Any],
) -> PlainRows:
    """Rows of lines of bytes; None is a line that is too long."""
    found: dict[str, list[Any]] = {name: [] for name in columns}
    problems: list[str | None] = []
    size = 0
    for line in lines:
        record = parsed(line) if line.__class__ is bytes else line or Invalid(f"is longer than {LINE_BYTES:,} bytes")
        problem = None
        if record.__class__ is not dict:
            why = record.why if isinstance(record, Invalid) else "is no JSON object"
            problem, record = f"The line {why}.", {}
        nested = 0
        for name, values in found.items():
            value = record.get(name)
            if _is_large(value):
                value = _exact(record, line)[name]
            values.append(value)
            if value.__class__ is str:
                size += len(value)
            elif value.__class__ is dict or value.__class__ is list:
                nested = len(line)
            else:
                size += _NUMBER_BYTES
        size += nested
        problems.append(problem)
    return PlainRows(found, kinds, problems, size, {name: within[name] for name in columns if name in within})
