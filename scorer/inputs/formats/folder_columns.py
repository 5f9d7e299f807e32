"""Columns that hive folders name: the files of `model=x/` have a column `model` with the text "x" in every row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import BinaryIO
from urllib.parse import unquote

import pyarrow as pa

from scorer.inputs.column_paths import split
from scorer.inputs.formats.protocol import Contents, Format, Wanted
from scorer.inputs.pieces import Batch, UnreadableRows

NULL = "__HIVE_DEFAULT_PARTITION__"
"""Hive's name for null."""


def folder_columns(path: str) -> dict[str, str | None]:
    """The columns that the folders of a path name; the innermost one of a name counts. Values are unquoted text."""
    found: dict[str, str | None] = {}
    for folder in path.partition("://")[2].split("/")[:-1] if "://" in path else path.split("/")[:-1]:
        name, equals, value = folder.partition("=")
        if name and equals:
            found[unquote(name)] = None if value == NULL else unquote(value)
    return found


class FolderColumns:
    """`Format` of a file in hive folders. A column of the file itself comes before a folder's of that name."""

    def __init__(self, inner: Format, columns: Mapping[str, str | None]) -> None:
        self._inner = inner
        self._columns = dict(columns)
        self.name = inner.name

    def look(self, file: BinaryIO, size: int) -> Contents:
        found = self._inner.look(file, size)
        return replace(found, schema=self._more(found.schema), shape=self._more(found.shape))

    def schema(self, file: BinaryIO) -> pa.Schema:
        return self._more(self._inner.schema(file))

    def mark(self, file: BinaryIO, size: int) -> str:
        return self._inner.mark(file, size)

    def batches(self, file: BinaryIO, wanted: Wanted) -> Iterator[Batch | UnreadableRows]:
        names = tuple(self._columns)
        asked = {split(path, names)[0] for path in wanted.columns} & set(names)
        if asked:
            asked -= set(self._inner.schema(file).names)
            file.seek(0)
        own = [path for path in wanted.columns if split(path, names)[0] not in asked]
        for piece in self._inner.batches(file, replace(wanted, columns=own)):
            if isinstance(piece, Batch):
                rows = piece.rows
                for name in sorted(asked):
                    rows = rows.with_constant(name, self._columns[name])
                piece = Batch(piece.first, rows)
            yield piece

    def _more(self, schema: pa.Schema) -> pa.Schema:
        for name in self._columns:
            if name not in schema.names:
                schema = schema.append(pa.field(name, pa.string()))
        return schema
