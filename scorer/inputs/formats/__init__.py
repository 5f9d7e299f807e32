"""The formats of input files by the end of a name: one file and one line here for each, loaded when it is used."""

from __future__ import annotations

from functools import cache, lru_cache
from importlib import import_module

from scorer.inputs.formats.folder_columns import FolderColumns, folder_columns
from scorer.inputs.formats.protocol import Format

FORMATS: dict[str, tuple[str, ...]] = {
    ".parquet": ("parquet", "Parquet"),
    ".jsonl": ("json_lines", "JsonLines"),
    ".jsonl.gz": ("json_lines", "JsonLines", "gzip"),
    ".jsonl.zst": ("json_lines", "JsonLines", "zstd"),
    ".ndjson": ("json_lines", "JsonLines"),
    ".ndjson.gz": ("json_lines", "JsonLines", "gzip"),
    ".ndjson.zst": ("json_lines", "JsonLines", "zstd"),
    ".csv": ("csv_text", "CsvText"),
    ".csv.gz": ("csv_text", "CsvText", "gzip"),
    ".csv.zst": ("csv_text", "CsvText", "zstd"),
    ".arrow": ("arrow_ipc", "ArrowIpc"),
    ".arrows": ("arrow_ipc", "ArrowIpc"),
    ".feather": ("arrow_ipc", "ArrowIpc"),
    ".ipc": ("arrow_ipc", "ArrowIpc"),
}
"""The module, the class in it, and its argument: how the bytes are compressed."""
_ENDS = sorted(FORMATS, key=len, reverse=True)


def format_of(path: str) -> Format:
    """The format of a file by its name, with the columns of hive folders; Parquet where the name says nothing."""
    plain = _format(_end(path))
    if "=" in path and (columns := folder_columns(path)):
        return FolderColumns(plain, columns)
    return plain


def is_parquet(path: str) -> bool:
    """Whether a file is read as Parquet."""
    return _end(path) == ".parquet"


@lru_cache(4096)  # each shard's is asked for several times
def _end(path: str) -> str:
    lower = path.lower()
    return next((end for end in _ENDS if lower.endswith(end)), ".parquet")


@cache
def _format(end: str) -> Format:
    module, name, *compression = FORMATS[end]
    made: Format = getattr(import_module(f"{__name__}.{module}"), name)(*compression)
    return made
