"""Promises: a local Arrow file is read by Arrow itself, not through Python, which would hold each buffer twice; runs
of equal values are read as rows.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, BinaryIO, cast

import pyarrow as pa
import pytest

from scorer.inputs.formats.arrow_ipc import ArrowIpc
from scorer.inputs.formats.byte_stream import HashedFile
from scorer.inputs.formats.protocol import Unfinished, Wanted

TABLE = pa.table({"id": list(range(5)), "text": list("abcde")})


def rows_of(file: BinaryIO) -> list[object]:
    pieces: list[Any] = list(ArrowIpc().batches(file, Wanted(["text"], 5)))
    return [value for piece in pieces for value in piece.rows.values("text", {})]


def test_only_a_file_that_is_not_local_is_read_through_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.arrow"
    with pa.OSFile(str(path), "wb") as out, pa.ipc.new_file(out, TABLE.schema) as writer:
        writer.write_table(TABLE, max_chunksize=2)
    through: list[object] = []
    plain = pa.PythonFile

    def counted(file: BinaryIO, mode: str) -> object:
        through.append(file)
        return plain(file, mode=mode)

    monkeypatch.setattr(pa, "PythonFile", counted)
    with path.open("rb") as file:
        assert rows_of(file) == list("abcde")
        assert rows_of(file) == list("abcde")  # from its beginning again
        assert rows_of(cast(BinaryIO, HashedFile(file))) == list("abcde")  # as a run opens it
    assert through == []
    assert rows_of(io.BytesIO(path.read_bytes())) == list("abcde")
    assert through != []


def test_a_run_end_encoded_column_is_read_and_kept_as_its_values(tmp_path: Path) -> None:
    path = tmp_path / "a.arrow"
    runs = pa.RunEndEncodedArray.from_arrays([2, 5], ["x", None])
    table = TABLE.append_column("task", runs)
    with pa.OSFile(str(path), "wb") as out, pa.ipc.new_file(out, table.schema) as writer:
        writer.write_table(table, max_chunksize=3)
    with path.open("rb") as file:
        assert ArrowIpc().schema(file).field("task").type == pa.string()
        pieces: list[Any] = list(ArrowIpc().batches(file, Wanted(["text", "task"], 5)))
    columns = [piece.rows.batch.column("task") for piece in pieces]
    assert pa.chunked_array(columns).equals(pa.chunked_array([["x", "x", None, None, None]]))


@pytest.mark.parametrize("legacy", [True, False])
def test_a_stream_is_whole_with_its_end_and_unfinished_wherever_it_is_cut(legacy: bool) -> None:
    """A stream of before 2019 ends with zeros, as the bytes of its last batch do."""
    out = io.BytesIO()
    with pa.ipc.new_stream(out, TABLE.schema, options=pa.ipc.IpcWriteOptions(use_legacy_format=legacy)) as writer:
        writer.write_table(TABLE, max_chunksize=2)
    whole = out.getvalue()
    found = ArrowIpc().look(io.BytesIO(whole), len(whole))
    assert (found.rows, found.ended) == (5, True)
    assert rows_of(io.BytesIO(whole)) == list("abcde")
    schema = len(TABLE.schema.serialize())
    for size in range(schema, len(whole)):
        with pytest.raises(Unfinished):
            ArrowIpc().look(io.BytesIO(whole[:size]), size)
