"""Promise: the reader refuses a file that is wrong or has changed, and reads the others."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.clock import inline, run
from support.readers import reader, rows_of, values, write

from scorer.errors import InputError, ShardChanged
from scorer.files.local_files import LocalFiles
from scorer.inputs.identity import look
from scorer.inputs.shards import first_look, missing_columns
from scorer.types import Row, Shard, Work


def test_look_tells_rows_footer_and_schema(tmp_path: Path) -> None:
    one = pa.table({"text": ["a", "b"], "n": [1, 2]})
    first, second = (write(tmp_path / f"{name}.parquet", one) for name in "ab")
    other = write(tmp_path / "c.parquet", pa.table({"text": ["a", "c"], "n": [1, 2]}))
    assert (first.rows, first.footer) == (2, second.footer)
    assert other.footer != first.footer
    assert len(first.footer) == 16
    (stat,) = LocalFiles().find([first.path])
    assert look(LocalFiles(), stat)[2] == one.schema
    assert missing_columns(one.schema, ["n", "no", "text", "no"]) == ["no"]


def test_first_look_refuses_a_requested_column_name_that_occurs_twice(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([pa.array([1]), pa.array(["x"]), pa.array(["y"])], names=["id", "text", "text"])
    pq.write_table(table, tmp_path / "s.parquet")
    stats = LocalFiles().find([str(tmp_path)])
    names = {stats[0].path: "s"}
    assert [shard.rows for shard in first_look(LocalFiles(), stats, names, ["id"]).shards] == [1]
    with pytest.raises(InputError, match=r"s\.parquet has several columns called 'text', so that it is unknown"):
        first_look(LocalFiles(), stats, names, ["id", "text"])


@pytest.mark.parametrize("data", [b"not Parquet at all", b"PAR1" + b"\0" * 100 + b"PAR1"])
def test_look_refuses_a_file_that_is_not_parquet(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "s.parquet").write_bytes(data)
    (stat,) = LocalFiles().find([str(tmp_path / "s.parquet")])
    with pytest.raises(InputError, match=r"s\.parquet is not a readable Parquet file \(.*\)\. Take it out of"):
        look(LocalFiles(), stat)


def test_look_says_of_a_file_that_this_user_may_not_read_what_to_do(tmp_path: Path) -> None:
    class Closed(LocalFiles):
        def open(self, path: str) -> BinaryIO:
            raise PermissionError(13, "Permission denied", path)

    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "s.parquet")
    (stat,) = LocalFiles().find([str(tmp_path / "s.parquet")])
    with pytest.raises(InputError, match=r"s\.parquet may not be read by this user \(Permission denied\)\. Allow it"):
        look(Closed(), stat)


def _another(shard: Shard) -> None:
    pq.write_table(pa.table({"text": ["b"] * 1000}), shard.path)


def _shorter(shard: Shard) -> None:
    with open(shard.path, "r+b") as file:
        file.truncate(shard.size - 3)


def _longer(shard: Shard) -> None:
    with open(shard.path, "ab") as file:
        file.write(b"x")


@pytest.mark.parametrize("change", [_another, _shorter, _longer])
def test_reader_refuses_a_shard_changed_since_first_look(tmp_path: Path, change: Callable[[Shard], None]) -> None:
    shard = write(tmp_path / "s.parquet", pa.table({"text": ["a"] * 1000}))
    change(shard)
    with pytest.raises(ShardChanged, match=r"s\.parquet has changed since this run first read it"):
        rows_of(reader(["text"]), shard)


def test_reader_skips_a_missing_shard_and_reads_the_next(tmp_path: Path) -> None:
    first, second = (write(tmp_path / f"{name}.parquet", pa.table({"text": [name] * 3})) for name in "ab")
    os.unlink(first.path)
    given = reader(["text"])

    async def scenario() -> list[list[Row]]:
        return [batch async for batch in given.batches([Work(first), Work(second)], inline) if batch]

    (batch,) = run(scenario())
    assert values(batch, "text") == ["b"] * 3
    assert list(given.unread) == [first.path]


def test_reader_batches_raise_errors_of_the_work_iterator(tmp_path: Path) -> None:
    shard = write(tmp_path / "s.parquet", pa.table({"text": ["a"]}))

    def work() -> Iterator[Work]:
        yield Work(shard)
        raise InputError("no more")

    async def scenario() -> None:
        batches = reader(["text"]).batches(work(), inline)
        assert len(await anext(batches)) == 1
        with pytest.raises(InputError):
            await anext(batches)

    run(scenario())
