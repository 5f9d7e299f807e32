"""The formats of input files by the end of a file's name: one file and one line here for each."""

from __future__ import annotations

from scorer.inputs.formats.arrow_ipc import ArrowIpc
from scorer.inputs.formats.csv_text import CsvText
from scorer.inputs.formats.folder_columns import FolderColumns, folder_columns
from scorer.inputs.formats.json_lines import JsonLines
from scorer.inputs.formats.parquet import Parquet
from scorer.inputs.formats.protocol import Format

FORMATS: dict[str, Format] = {
    ".parquet": Parquet(),
    ".jsonl": JsonLines(),
    ".jsonl.gz": JsonLines("gzip"),
    ".jsonl.zst": JsonLines("zstd"),
    ".ndjson": JsonLines(),
    ".ndjson.gz": JsonLines("gzip"),
    ".ndjson.zst": JsonLines("zstd"),
    ".csv": CsvText(),
    ".csv.gz": CsvText("gzip"),
    ".csv.zst": CsvText("zstd"),
    ".arrow": ArrowIpc(),
    ".arrows": ArrowIpc(),
    ".feather": ArrowIpc(),
    ".ipc": ArrowIpc(),
}


def format_of(path: str) -> Format:
    """The format of a file by its name, with the columns of hive folders; Parquet where the name says nothing."""
    plain = _plain(path)
    columns = folder_columns(path)
    return FolderColumns(plain, columns) if columns else plain


def is_parquet(path: str) -> bool:
    """Whether a file is read as Parquet."""
    return isinstance(_plain(path), Parquet)


def _plain(path: str) -> Format:
    found = (FORMATS[end] for end in sorted(FORMATS, key=len, reverse=True) if path.lower().endswith(end))
    return next(found, FORMATS[".parquet"])
