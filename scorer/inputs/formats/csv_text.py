"""CSV in UTF-8 with a header and commas, plain or compressed, known by the sha256 of all bytes.

Fields are quoted as RFC 4180 says, and may hold line feeds then. A record with more or fewer fields than the header, or
with quotes in the wrong place, is a row that cannot be judged. A line without any character is no row.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, BinaryIO

import pyarrow as pa

from scorer.inputs.column_paths import roots
from scorer.inputs.formats.byte_stream import CHUNK, HashedFile, decompressed, hashed
from scorer.inputs.formats.lines import CAREFUL_CHUNK, LINE_BYTES, Lines
from scorer.inputs.formats.protocol import DAMAGE, Contents, Unfinished, Wanted
from scorer.inputs.formats.text_batches import Invalid, TextBatches
from scorer.inputs.formats.text_format import TextFormat
from scorer.inputs.pieces import Batch, UnreadableRows
from scorer.inputs.plain_rows import PlainRows
from scorer.inputs.read_retry import is_systems, short
from scorer.inputs.value_types import HEAD_BYTES, HEAD_ROWS, csv_types


class CsvText(TextFormat):
    """`Format` of CSV."""

    kind = "CSV"

    def look(self, file: BinaryIO, size: int) -> Contents:
        head: list[list[str]] = []
        rows = held = 0
        with self._looking(file, size) as given:
            records = self._records(given)
            header = records.header()
            for record in records:
                rows += 1
                if not isinstance(record, Invalid) and len(head) < HEAD_ROWS and held < HEAD_BYTES:
                    head.append(record)
                    held += sum(map(len, record))
        if records.cut is not None:
            raise Unfinished(records.cut)
        schema = csv_types(header, head)
        return Contents(rows, given.rest(), schema, schema, ended=False)

    def schema(self, file: BinaryIO) -> pa.Schema:
        return self._schema(hashed(file), careful=False)

    def batches(self, file: BinaryIO, wanted: Wanted) -> Iterator[Batch | UnreadableRows]:
        given = hashed(file)
        try:
            schema = self._schema(given, careful=wanted.careful)
        except DAMAGE as error:
            if is_systems(error) or not wanted.careful:
                raise
            yield UnreadableRows(wanted.at, wanted.rows, short(error))
            return
        columns = [name for name in roots(wanted.columns, schema.names) if name in schema.names]
        types = {name: schema.field(name).type for name in columns}
        places = {name: schema.names.index(name) for name in columns}
        made = TextBatches(wanted, partial(_rows, places, types))
        given.seek(0)
        yield from self._batches(given, wanted, made, self._sized(given, careful=wanted.careful))

    def _sized(self, given: HashedFile, *, careful: bool) -> Iterator[tuple[list[str] | Invalid, int]]:
        """The records behind the header, each with the number of its characters."""
        records = self._records(given, careful=careful)
        records.header()
        for record in records:
            yield record, 0 if isinstance(record, Invalid) else sum(map(len, record))

    def _records(self, given: HashedFile, *, careful: bool = False) -> _Records:
        chunk = CAREFUL_CHUNK if careful else CHUNK
        return _Records(Lines(decompressed(given, self._compression), chunk=chunk))

    def _schema(self, given: HashedFile, *, careful: bool) -> pa.Schema:
        """The types by the first rows; where reading is `careful`, by those before the damage."""
        records = self._records(given, careful=careful)
        header = records.header()
        head: list[list[str]] = []
        held = 0
        try:
            for record in records:
                if not isinstance(record, Invalid):
                    head.append(record)
                    held += sum(map(len, record))
                    if len(head) >= HEAD_ROWS or held >= HEAD_BYTES:
                        break
        except DAMAGE as error:
            if is_systems(error) or not careful:
                raise
        return csv_types(header, head)


class _Records:
    """The records of a CSV file behind its header. `cut` says why the file is not finished, known at its end."""

    def __init__(self, lines: Lines) -> None:
        csv.field_size_limit(max(csv.field_size_limit(), LINE_BYTES))
        self.cut: str | None = None
        self._lines = lines
        self._width = 0
        self._problem: str | None = None
        self._reader = csv.reader(self._texts(), strict=True)

    def header(self) -> list[str]:
        """The names of the columns. Raises ValueError where there are none."""
        try:
            record = next((record for record in self._reader if record), None)
        except csv.Error as error:
            raise ValueError(f"its header is no CSV: {error}") from error
        if record is None:
            raise ValueError("it has no header")
        if self._problem is not None:
            raise ValueError(f"its header {self._problem}")
        self._width = len(record)
        return record

    def __iter__(self) -> Iterator[list[str] | Invalid]:
        while True:
            self._problem = None
            begins = self._reader.line_num + 1
            try:
                record = next(self._reader, None)
            except csv.Error as error:
                if "unexpected end of data" in str(error):
                    self.cut = f"ends within a quoted field (its record begins in line {begins:,})"
                    return
                yield Invalid(f"is no CSV ({error})")
                continue
            if record is None:
                break
            if self._problem is not None:
                yield Invalid(self._problem)
            elif len(record) == self._width:
                yield record
            elif record:
                yield Invalid(f"has {len(record)} fields, and the header {self._width}")
        if self._lines.tail != b"":
            self.cut = "ends without a line feed (add one if the last line is whole)"

    def _texts(self) -> Iterator[str]:
        for some in self._lines:
            for line in some:
                yield self._text(line) + "\n"
        if self._lines.tail != b"":
            yield self._text(self._lines.tail)

    def _text(self, line: bytes | None) -> str:
        if line is None:
            self._problem = f"has a line longer than {LINE_BYTES:,} bytes"
            return "x"
        try:
            return line.decode()
        except UnicodeDecodeError:
            self._problem = "holds a text that is not UTF-8"
            return line.decode("utf-8", "replace")


def _rows(places: Mapping[str, int], kinds: Mapping[str, pa.DataType], records: Sequence[Any]) -> PlainRows:
    problems = [f"The record {one.why}." if isinstance(one, Invalid) else None for one in records]
    columns = {
        name: [None if isinstance(one, Invalid) else one[place] for one in records] for name, place in places.items()
    }
    size = sum(len(value) for values in columns.values() for value in values if value is not None)
    return PlainRows(columns, kinds, problems, size)
