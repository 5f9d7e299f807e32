"""Promise: a chunk is whole or not there, its log survives a cut anywhere, and damage is said, never guessed at."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from support.outputs import Crash, Crashing

from scorer.errors import StorageError
from scorer.files.local_files import LocalFiles
from scorer.output.chunk import Chunk, Event, after
from scorer.output.chunk_files import LINES, ChunkFiles, ChunkLine

SENT = [Event("sending", 5.0), Event("unclear", 6.0), Event("created", "b1"), Event("ended", "completed")]


def asked(row: int, shard: str = "a.parquet", request: int = 0) -> ChunkLine:
    return ChunkLine(shard, row, request, 0, bytes(32), 10, 100)


@pytest.fixture
def chunks(tmp_path: Path) -> ChunkFiles:
    return ChunkFiles(LocalFiles(), f"{tmp_path}/batches")


def sent(chunks: ChunkFiles, nonce: str = "n1") -> Chunk:
    chunk = chunks.write(nonce, [asked(0), asked(1)])
    for event in SENT:
        chunk = chunks.append(chunk, event)
    return chunk


def test_chunk_files_give_back_what_was_written(chunks: ChunkFiles) -> None:
    assert chunks.found() == []
    chunk = sent(chunks)
    other = chunks.write("n2", [asked(1, "b.parquet"), asked(7, "b.parquet", 1)])
    assert chunks.found() == [chunk, other]
    assert (chunk.state, chunk.batch_id, chunk.sending_at, chunk.unclear_at) == ("ended", "b1", 5.0, 6.0)
    same = {"attempt": 0, "digest": bytes(32), "tokens": 10, "pico": 100, "prompt_tokens": 0, "model": "", "judge": ""}
    same["choices"] = 1
    assert chunks.lines("n2").to_pylist() == [
        {"shard": "b.parquet", "row": row, "request": n, **same} for row, n in ((1, 0), (7, 1))
    ]


def test_lines_of_an_earlier_version_have_one_choice(chunks: ChunkFiles, tmp_path: Path) -> None:
    sent(chunks)
    path = tmp_path / "batches/n1.parquet"
    pq.write_table(pq.read_table(path).drop_columns("choices"), path)
    assert chunks.lines("n1").schema.names == LINES.names
    assert chunks.lines("n1")["choices"].to_pylist() == [1, 1]


def test_chunk_files_tell_the_rows_that_are_out_each_once(chunks: ChunkFiles) -> None:
    lines = [asked(3, "b"), asked(1, "a"), asked(1, "a", 1), asked(0, "a")]
    one, two = chunks.write("n1", lines), chunks.write("n2", [asked(5, "a")])
    assert {shard: list(rows) for shard, rows in chunks.rows([one, two]).items()} == {"a": [0, 1, 5], "b": [3]}
    assert {shard: list(rows) for shard, rows in chunks.rows([two]).items()} == {"a": [5]}
    assert chunks.rows([]) == {}
    assert chunks.rows([one])["a"].dtype == np.int64


def test_chunk_log_cut_anywhere_is_the_log_before_its_last_line_and_goes_on(chunks: ChunkFiles, tmp_path: Path) -> None:
    chunk = sent(chunks)
    path = tmp_path / "batches/n1.log"
    data = path.read_bytes()
    last = data.rindex(b"\n", 0, -1) + 1
    for cut in range(last, len(data)):
        path.write_bytes(data[:cut])
        again = ChunkFiles(LocalFiles(), f"{tmp_path}/batches")
        [found] = again.found()
        assert found.state == "created"
        assert again.append(found, SENT[-1]) == chunk
        assert path.read_bytes() == data


def test_chunk_files_with_damage_are_said(chunks: ChunkFiles, tmp_path: Path) -> None:
    sent(chunks)
    folder = tmp_path / "batches"
    reads = {"n1.log": chunks.found, "n1.parquet": lambda: chunks.lines("n1")}
    for name, reading in reads.items():
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[:20] + b"\xff" + whole[21:-8] + b"\x00" + whole[-7:])
        with pytest.raises(StorageError, match=f"{name} is damaged"):
            reading()
        (folder / name).write_bytes(whole)
    (folder / "n1.parquet").unlink()
    with pytest.raises(StorageError, match=r"n1\.parquet is damaged: it is gone"):
        chunks.found()


@pytest.mark.parametrize("after_it", [False, True])
@pytest.mark.parametrize("step", range(3))
def test_chunk_that_is_being_deleted_stays_closed_wherever_a_crash_falls(
    chunks: ChunkFiles, tmp_path: Path, step: int, after_it: bool
) -> None:
    chunk = chunks.append(sent(chunks), Event("closed", "collected"))
    chunks.write_results("n1", io.BytesIO(b"x"))
    with pytest.raises(Crash):
        ChunkFiles(Crashing(step, after=after_it), f"{tmp_path}/batches").delete(chunk)
    for left in chunks.found():
        assert left.state == "closed"
        chunks.delete(left)
    assert [path.name for path in (tmp_path / "batches").iterdir()] == ["closed"]
    assert chunks.closed() == {"n1": {"b1"}}


@pytest.mark.parametrize("after_it", [False, True])
def test_chunk_is_there_whole_or_not_at_all(chunks: ChunkFiles, tmp_path: Path, after_it: bool) -> None:
    with pytest.raises(Crash):
        ChunkFiles(Crashing(0, after=after_it), f"{tmp_path}/batches").write("n1", [asked(0)])
    assert chunks.found() == [Chunk("n1", 1)] * after_it


def test_chunk_is_sent_once_by_its_events() -> None:
    chunk = Chunk("n1", 2)
    with pytest.raises(ValueError, match="created does not follow intent"):
        after(chunk, Event("created", "b1"))
    for event in SENT:
        chunk = after(chunk, event)
        with pytest.raises(ValueError, match="sending does not follow"):
            after(chunk, Event("sending", 9.0))
    chunk = after(chunk, Event("twin", "b2"))
    with pytest.raises(ValueError, match="still open"):
        after(chunk, Event("closed", "collected"))
    assert after(after(chunk, Event("twin_closed", "b2")), Event("closed", "collected")).state == "closed"


def test_custom_ids_name_the_lines_of_their_own_chunk_only() -> None:
    chunk = Chunk("run-0f", 3)
    assert [chunk.line_of(chunk.custom_id(n)) for n in range(4)] == [0, 1, 2, None]
    for other in (
        "run-0f-",
        "run-0f-01",
        "run-0f-1 ",
        "run-0f--1",
        "run-0f-²",
        "run-0e-1",
        "1",
        "",
        "run-0f-" + "9" * 99,
    ):
        assert chunk.line_of(other) is None
