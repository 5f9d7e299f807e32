"""Contract of the input formats: all rows come in order, changes are noticed, and damage fails rows, not the run."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any, BinaryIO, ClassVar

import numpy as np
import pytest
from support.formats import LONG_AGO_S, WRITERS, shard_of, written

from scorer.errors import InputError, ShardChanged
from scorer.files.local_files import LocalFiles
from scorer.inputs.formats import format_of
from scorer.inputs.formats.protocol import Wanted
from scorer.inputs.identity import same_rows
from scorer.inputs.pieces import Batch, ReadStalled
from scorer.inputs.read_retry import PATIENCE_S
from scorer.inputs.shard_reader import read_shard
from scorer.inputs.shards import first_look
from scorer.inputs.source import Columns, Reader
from scorer.types import Row, Shard, Work

ROWS = 700


def record(number: int) -> dict[str, Any]:
    draw = Random(number)
    words = " ".join(draw.choice(["red", 'gr"een', "blue,", "ünï ✓"]) for _ in range(8))
    return {"id": f"r{number}", "n": number, "x": number / 4, "response": f"row {number}:\n{words}"}


RECORDS = [record(number) for number in range(ROWS)]


def rows_of(shard: Shard, todo: Any = None, files: LocalFiles | None = None) -> list[Row]:
    columns = Columns(("response",), ("response",), ("id", "n", "x"))
    reader = Reader(files or LocalFiles(), columns, count=lambda texts: [1] * len(texts), constant_tokens=0)
    return [row for batch in reader.read(Work(shard, todo)) for row in batch]


def is_right(row: Row) -> bool:
    one = RECORDS[row.number]
    return row.values == {"response": one["response"]} and row.kept == (one["id"], one["n"], one["x"])


class FormatContract:
    """What every input format promises. A subclass names the format by the end of its files' names."""

    end: ClassVar[str]
    ended: ClassVar[bool] = False
    """The file itself says that nothing comes after its end."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return written(tmp_path / f"s.{self.end}", WRITERS[self.end](RECORDS))

    def test_format_yields_every_row_in_file_order_with_its_values(self, path: Path) -> None:
        shard = shard_of(path)
        rows = rows_of(shard)
        assert shard.rows == ROWS
        assert [row.number for row in rows] == list(range(ROWS))
        assert all(is_right(row) for row in rows)
        assert {row.problem for row in rows} == {None}

    @pytest.mark.parametrize("density", [0.0, 0.003, 0.3, 0.9])
    def test_format_yields_exactly_the_chosen_rows(self, path: Path, density: float) -> None:
        shard = shard_of(path)
        for seed in range(2):
            todo = np.random.default_rng(seed).random(ROWS) < density
            rows = rows_of(shard, todo)
            assert [row.number for row in rows] == np.flatnonzero(todo).tolist()
            assert all(is_right(row) for row in rows)

    def test_format_resumes_reading_at_any_row(self, path: Path) -> None:
        shard = shard_of(path)
        for at in (0, 1, 99, 100, 333, ROWS - 1):
            with path.open("rb") as file:
                pieces = list(format_of(str(path)).batches(file, Wanted(["id"], shard.rows, at=at)))
            numbers = [n for piece in pieces for n in range(piece.first, piece.stop) if n >= at]
            assert numbers == list(range(at, ROWS))

    def test_format_accepts_a_touched_file_and_refuses_a_changed_one(self, path: Path) -> None:
        shard = shard_of(path)
        os.utime(path, (LONG_AGO_S + 5, LONG_AGO_S + 5))
        (touched,) = LocalFiles().find([str(path)])
        assert same_rows(LocalFiles(), shard, touched)
        assert len(rows_of(shard)) == ROWS
        other = [*RECORDS[:-1], {**RECORDS[-1], "id": "r0"}]
        written(path, WRITERS[self.end](other), LONG_AGO_S + 10)
        (changed,) = LocalFiles().find([str(path)])
        assert not same_rows(LocalFiles(), shard, changed)
        with pytest.raises(ShardChanged):
            rows_of(shard)

    def test_first_look_leaves_out_and_reports_a_truncated_file(self, path: Path) -> None:
        written(path, path.read_bytes()[:-5])
        look = first_look(LocalFiles(), LocalFiles().find([str(path)]), {str(path): "s"}, ["id"], alone=False)
        assert look.shards == ()
        assert str(path) in look.left_out[0]
        assert "so it may still be written. It is left out now" in look.left_out[0]
        with pytest.raises(InputError, match="left out now"):
            first_look(LocalFiles(), LocalFiles().find([str(path)]), {str(path): "s"}, ["id"])

    def test_first_look_leaves_out_an_empty_file(self, tmp_path: Path) -> None:
        path = written(tmp_path / f"s.{self.end}", b"")
        look = first_look(LocalFiles(), LocalFiles().find([str(path)]), {str(path): "s"}, ["id"], alone=False)
        assert "is empty" in look.left_out[0]

    def test_first_look_leaves_out_a_recently_changed_file_without_an_end_mark(self, path: Path) -> None:
        path.touch()
        look = first_look(LocalFiles(), LocalFiles().find([str(path)]), {str(path): "s"}, ["id"], alone=False)
        assert [shard.rows for shard in look.shards] == ([ROWS] if self.ended else [])
        assert bool(look.left_out) is not self.ended

    def test_first_look_refuses_a_file_of_other_bytes(self, tmp_path: Path) -> None:
        path = written(tmp_path / f"s.{self.end}", b"\x00\xffneither this nor that\n" * 50)
        with pytest.raises(InputError, match=rf"s\.{self.end}"):
            first_look(LocalFiles(), LocalFiles().find([str(path)]), {str(path): "s"}, ["id"])

    def test_format_yields_each_row_once_from_damaged_bytes(self, path: Path) -> None:
        shard, whole = shard_of(path), path.read_bytes()
        for seed in range(6):
            draw = Random(seed)
            data = bytearray(whole)
            for _ in range(draw.choice([1, 20])):
                data[draw.randrange(len(data) // 4, len(data) // 2)] ^= draw.randrange(1, 256)
            path.write_bytes(data)
            os.utime(path, ns=(int(shard.version), int(shard.version)))
            numbers: list[int] = []
            try:
                for piece in read_shard(LocalFiles(), shard, ["response", "id"]):
                    if not isinstance(piece, ReadStalled):
                        assert piece.first == len(numbers)
                        numbers += range(piece.first, piece.stop)
            except ShardChanged:  # known by its bytes
                pass
            assert numbers == list(range(len(numbers)))
            assert len(numbers) in (0, ROWS)

    def test_format_waits_for_a_temporarily_failing_disk(self, path: Path) -> None:
        shard, files = shard_of(path), _Failing()
        stalled, numbers = 0, []
        for piece in read_shard(files, shard, ["id"]):
            if isinstance(piece, ReadStalled):
                stalled += 1
                assert piece.pause_s < PATIENCE_S
            else:
                assert isinstance(piece, Batch)
                numbers += range(piece.first, piece.stop)
        assert numbers == list(range(ROWS))
        assert stalled >= 1

    def test_format_arrow_columns_have_schema_types(self, path: Path) -> None:
        with path.open("rb") as file:
            schema = format_of(str(path)).schema(file)
            file.seek(0)
            pieces = list(format_of(str(path)).batches(file, Wanted(schema.names, ROWS)))
        found = [row for piece in pieces if isinstance(piece, Batch) for row in piece.rows.arrow(schema).to_pylist()]
        assert found == RECORDS


class _Failing(LocalFiles):
    """A disk of which the first read fails and every second one, until three have."""

    def __init__(self) -> None:
        super().__init__()
        self._failures = iter([True, False] * 3)

    def open(self, path: str) -> BinaryIO:
        inner = super().open(path)
        failures = self._failures

        class Reading(io.BufferedReader):
            def read(self, size: int | None = -1, /) -> bytes:
                if next(failures, False):
                    raise OSError(errno.EIO, "Input/output error")
                return inner.read(size)

            def seek(self, offset: int, whence: int = 0, /) -> int:
                return inner.seek(offset, whence)

            def tell(self) -> int:
                return inner.tell()

        return Reading(inner)  # type: ignore[arg-type]


def _contracts() -> Iterator[tuple[str, type]]:
    for end in WRITERS:
        name = "Test" + end.title().replace(".", "")
        yield name, type(name, (FormatContract,), {"end": end, "ended": end in ("parquet", "arrow", "arrows")})


globals().update(_contracts())
