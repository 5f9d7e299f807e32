"""Reads chosen rows of the input: the columns that the judge reads, and those that a card shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scorer.errors import ScorerError
from scorer.files.files import Files
from scorer.inputs.column_paths import split
from scorer.inputs.identity import schema_now
from scorer.inputs.source import Columns, Reader
from scorer.report.run_table import RowKey, RunTable
from scorer.types import Mask, Row, Shard, Work


@dataclass(frozen=True, slots=True)
class InputRow:
    """A row of the input: as the judge reads it, and the columns that a card shows by their names in `joined`."""

    row: Row
    shown: Mapping[str, Any]


def read_rows(files: Files, table: RunTable, keys: Sequence[RowKey], notes: list[str]) -> dict[RowKey, InputRow]:
    """The rows that can be read; adds a sentence to `notes` for each shard that cannot."""
    numbers: dict[str, list[int]] = {}
    for path, row in keys:
        numbers.setdefault(path, []).append(row)
    found: dict[RowKey, InputRow] = {}
    for path, rows in numbers.items():
        shard = table.at.get(path)
        if shard is None:
            notes.append(f"{path} is not where the run found it, so its rows show only what the results have.")
            continue
        try:
            found |= {(path, one.row.number): one for one in _of_shard(files, table, shard, rows)}
        except (ScorerError, OSError) as error:
            notes.append(f"{path} cannot be read ({error}), so its rows show only what the results have.")
    return found


def _of_shard(files: Files, table: RunTable, shard: Shard, rows: Sequence[int]) -> Iterator[InputRow]:
    known = tuple(schema_now(files, shard).names)
    shown = {name: _own_name(name, known) for name in table.shown_columns}
    judged = [name for judge in table.judges.values() for name in judge.shown]
    columns = [name for name in dict.fromkeys([*judged, *shown.values()]) if split(name, known)[0] in known]
    # The columns of the judge are read as a prompt shows them.
    reader = Reader(files, Columns((), tuple(columns), ()), count=lambda texts: [0] * len(texts), constant_tokens=0)
    todo: Mask = np.zeros(shard.rows, dtype=bool)
    todo[list(rows)] = True
    for batch in reader.read(Work(shard, todo)):
        for row in batch:
            yield InputRow(row, {name: row.values[own] for name, own in shown.items() if own in row.values})


def _own_name(name: str, known: Sequence[str]) -> str:
    """The input's name of a column of `joined`: one whose name a result column has is `input_<name>` there."""
    own = name
    while own not in known and own.startswith("input_"):
        own = own.removeprefix("input_")
    return own if own in known else name
