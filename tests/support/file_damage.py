"""Damage to files: each function does one kind."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from scorer.files.local_files import LocalFiles
from scorer.output import segments as seg

Attack = Callable[[Path], None]


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def emptied(path: Path) -> None:
    os.truncate(path, 0)


def zeroed(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def not_parquet(path: Path) -> None:
    path.write_text("<html>Not Parquet</html>")


def foreign(path: Path) -> None:
    pq.write_table(pa.table({"row": [0, 1], "mine": ["x", "y"]}), path)


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 4
    path.write_bytes(data)


def _chunk(path: Path, column: str) -> Any:
    group = pq.read_metadata(path).row_group(0)
    return next(group.column(i) for i in range(group.num_columns) if group.column(i).path_in_schema == column)


def flipped_row_number(path: Path) -> None:
    chunk = _chunk(path, "row")
    flip(path, (chunk.dictionary_page_offset or chunk.data_page_offset) + chunk.total_compressed_size - 3)


def flipped_value(path: Path) -> None:
    chunk = _chunk(path, "score")
    flip(path, (chunk.dictionary_page_offset or chunk.data_page_offset) + chunk.total_compressed_size - 3)


def flipped_page_header(path: Path) -> None:
    """Where Parquet's own checksums do not look."""
    flip(path, _chunk(path, "method").data_page_offset + 3)


def flipped_footer(path: Path) -> None:
    """A letter of a column's name, or of a type: what is read changes, and Parquet does not notice."""
    data = path.read_bytes()
    flip(path, data.rindex(b"finish_reason") + 3)


def of_another_run(path: Path) -> None:
    table = pq.read_table(path)
    about, _ = seg.read_about(LocalFiles(), str(path))
    with path.open("wb") as file:
        seg.write(file, iter([table]), table.schema.remove_metadata(), {**about, "fingerprint": "e" * 16})


def of_other_ids(path: Path) -> None:
    """Every sum is right, and the ids stand one row further down."""
    table = pq.read_table(path)
    about, _ = seg.read_about(LocalFiles(), str(path))
    ids = table.column("id").to_pylist()
    place = table.schema.get_field_index("id")
    table = table.set_column(place, table.field("id"), pa.array([*ids[1:], ids[0]], pa.string()))
    with path.open("wb") as file:
        seg.write(file, iter([table]), table.schema.remove_metadata(), about)


ATTACKS = [
    cut, emptied, zeroed, not_parquet, foreign, flipped_row_number, flipped_value, flipped_page_header, flipped_footer,
    of_another_run, of_other_ids,
]  # fmt: skip
