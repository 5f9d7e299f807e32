"""Promise: damaged input fails only its own rows, and failed reads are retried."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any, BinaryIO

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.clock import inline
from support.clock import run as in_virtual_time
from support.inprocess import Run

from scorer.errors import OutputError, StorageError, TooManyFailed
from scorer.files.local_files import LocalFiles
from scorer.inputs.formats import parquet as stretches
from scorer.inputs.identity import look
from scorer.inputs.source import Columns, Reader
from scorer.job.retry import Retry
from scorer.types import Row, Shard, Work

ROWS, GROUP = 600, 200


def text_of(number: int) -> str:
    draw = Random(number)
    return f"row {number}: " + " ".join(draw.choice(["red", "green", "blue", "an odd word"]) for _ in range(12))


def table() -> pa.Table:
    return pa.table({"id": [f"r{n}" for n in range(ROWS)], "response": [text_of(n) for n in range(ROWS)]})


WRITERS: dict[str, dict[str, Any]] = {
    "plain": {"compression": "none", "use_dictionary": False},
    "snappy dictionary": {"compression": "snappy"},
    "zstd v2": {"compression": "zstd", "data_page_version": "2.0"},
    "gzip": {"compression": "gzip", "use_dictionary": False},
    "lz4": {"compression": "lz4"},
    "brotli v2": {"compression": "brotli", "data_page_version": "2.0", "use_dictionary": False},
    "delta lengths": {"use_dictionary": False, "column_encoding": "DELTA_LENGTH_BYTE_ARRAY"},
    "delta": {"use_dictionary": False, "column_encoding": "DELTA_BYTE_ARRAY", "data_page_version": "2.0"},
    "checksums": {"compression": "zstd", "use_dictionary": False, "write_page_checksum": True},
    "polars": {},
}


def written(path: Path, how: str) -> Path:
    if how == "polars":
        found = pl.from_arrow(table())
        assert isinstance(found, pl.DataFrame)
        found.write_parquet(path, row_group_size=GROUP, data_page_size=1024)
    else:
        pq.write_table(table(), path, row_group_size=GROUP, data_page_size=1024, **WRITERS[how])
    return path


def shard_of(path: Path) -> Shard:
    (stat,) = LocalFiles().find([str(path)])
    rows, footer, _ = look(LocalFiles(), stat)
    return Shard(str(path), path.stem, stat.size, stat.version, rows, footer)


def reader(files: LocalFiles | None = None) -> Reader:
    columns = Columns(("response",), ("response",), ("id",))
    return Reader(files or LocalFiles(), columns, count=lambda texts: [1] * len(texts), constant_tokens=0)


def chunk(path: Path, group: int, column: str) -> range:
    """Where the bytes of a column of a row group are."""
    given = pq.read_metadata(path).row_group(group)
    (found,) = (given.column(n) for n in range(given.num_columns) if given.column(n).path_in_schema == column)
    start = found.dictionary_page_offset if found.has_dictionary_page else found.data_page_offset
    return range(start, start + found.total_compressed_size)


def damage(path: Path, places: range, draw: Random, bytes_: int) -> None:
    data = bytearray(path.read_bytes())
    for _ in range(bytes_):
        data[draw.choice(places)] ^= draw.randrange(1, 256)
    path.write_bytes(data)


# --- any bytes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", WRITERS)
def test_reader_confines_damage_to_its_row_group_and_yields_each_row_once(tmp_path: Path, how: str) -> None:
    path = written(tmp_path / "s.parquet", how)
    whole, shard = path.read_bytes(), shard_of(path)
    for seed in range(12):
        draw = Random(seed)
        path.write_bytes(whole)
        damage(path, chunk(path, 1, draw.choice(["id", "response"])), draw, draw.choice([1, 3, 40]))
        rows = [row for batch in reader().read(Work(shard)) for row in batch]
        assert [row.number for row in rows] == list(range(ROWS))
        for row in rows:
            if not GROUP <= row.number < 2 * GROUP:
                assert (row.problem, row.kept, row.values["response"]) == (
                    None,
                    (f"r{row.number}",),
                    text_of(row.number),
                )
            elif row.problem is not None:
                assert row.problem.name in ("Damaged", "BadRow")


def test_reader_confines_damage_where_the_row_groups_before_it_are_finished(tmp_path: Path) -> None:
    path = written(tmp_path / "s.parquet", "checksums")
    shard, places = shard_of(path), chunk(path, 1, "response")
    damage(path, range(places.start + 100, places.stop), Random(1), 1)
    todo = np.arange(ROWS) >= GROUP
    rows = [row for batch in reader().read(Work(shard, todo=todo)) for row in batch]
    assert [row.number for row in rows] == list(range(GROUP, ROWS))
    damaged = [row.number for row in rows if row.problem is not None]
    assert damaged == list(range(damaged[0], 2 * GROUP))


def test_reader_yields_no_altered_text_with_page_checksums(tmp_path: Path) -> None:
    path = written(tmp_path / "s.parquet", "checksums")
    whole, shard = path.read_bytes(), shard_of(path)
    for seed in range(20):
        draw = Random(seed)
        path.write_bytes(whole)
        places = chunk(path, 1, "response")
        damage(path, range(places.start + 100, places.stop), draw, 1)
        rows = [row for batch in reader().read(Work(shard)) for row in batch]
        assert [row.number for row in rows] == list(range(ROWS))
        assert all(row.values["response"] == text_of(row.number) for row in rows if row.problem is None)


def test_reader_yields_rows_before_a_damaged_page_and_marks_later_ones_damaged(tmp_path: Path) -> None:
    path = tmp_path / "s.parquet"
    options = {"use_dictionary": False, "compression": "none", "write_page_checksum": True, "write_batch_size": 10}
    pq.write_table(table(), path, row_group_size=GROUP, data_page_size=1, **options)  # type: ignore[arg-type]
    shard, data = shard_of(path), bytearray(path.read_bytes())
    place = data.index(text_of(GROUP + 57).encode())
    data[place + 3] ^= 1
    path.write_bytes(data)
    rows = [row for batch in reader().read(Work(shard)) for row in batch]
    assert [row.number for row in rows] == list(range(ROWS))
    assert [row.number for row in rows if row.problem is not None] == list(range(GROUP + 50, 2 * GROUP))
    assert all(row.values["response"] == text_of(row.number) for row in rows if row.problem is None)
    todo = np.arange(ROWS) % 7 == 0
    some = [row for batch in reader().read(Work(shard, todo)) for row in batch]
    assert [row.number for row in some] == np.flatnonzero(todo).tolist()


def test_reader_yields_all_rows_of_a_row_group_that_ends_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file is known that makes pyarrow end a row group early without a word; the rows would never be finished."""
    path = written(tmp_path / "s.parquet", "plain")
    shard, real = shard_of(path), pq.ParquetFile

    class Short(real):  # type: ignore[valid-type, misc]
        def iter_batches(self, *, row_groups: list[int], **options: Any) -> Iterator[pa.RecordBatch]:
            for batch in super().iter_batches(row_groups=row_groups, **options):
                yield batch
                if row_groups == [1]:
                    return

    monkeypatch.setattr(stretches.pq, "ParquetFile", Short)
    rows = [row for batch in reader().read(Work(shard)) for row in batch]
    assert [row.number for row in rows] == list(range(ROWS))


# --- the system fails -------------------------------------------------------------------------------------------------


class Failing(LocalFiles):
    """A disk whose reads fail `times` times with EIO, after so many that go well."""

    def __init__(self, times: float, after: int = 0) -> None:
        super().__init__()
        self.times, self.after = times, after

    def open(self, path: str) -> BinaryIO:
        outer, file = self, super().open(path)
        if not path.endswith("s.parquet") and "/in/" not in path:
            return file

        class Reads:
            closed = False

            def __enter__(self) -> Reads:
                return self

            def __exit__(self, *_: object) -> None:
                file.close()

            def read(self, size: int = -1) -> bytes:
                outer.after -= 1
                if outer.after < 0 and outer.times > 0:
                    outer.times -= 1
                    raise OSError(errno.EIO, "Input/output error")
                return file.read(size)

            def __getattr__(self, name: str) -> Any:
                return getattr(file, name)

        return Reads()  # type: ignore[return-value]


def rows_in_time(given: Reader, shard: Shard) -> list[Row]:
    async def scenario() -> list[Row]:
        return [row async for batch in given.batches([Work(shard)], inline) for row in batch]

    return in_virtual_time(scenario())


@pytest.mark.parametrize("after", [0, 3, 6, 9])
def test_reader_retries_failed_reads_and_marks_no_damage(tmp_path: Path, after: int) -> None:
    shard = shard_of(written(tmp_path / "s.parquet", "plain"))
    rows = rows_in_time(reader(Failing(5, after)), shard)
    assert [(row.number, row.problem, row.values["response"]) for row in rows] == [
        (n, None, text_of(n)) for n in range(ROWS)
    ]


def test_run_ends_with_exit_7_on_lasting_read_errors_and_keeps_paid_rows(tmp_path: Path) -> None:
    run = Run(tmp_path, 100, 30, 30)
    disk = Failing(0)

    def fails() -> None:
        disk.times = float("inf")

    run.wire.then = fails
    with pytest.raises(StorageError, match=r"Cannot read .*: .*Input/output error, for 18\d s") as caught:
        run.run(disk)
    assert caught.value.exit_code == 7
    assert run.wire.asked.total() == 130
    run.run()
    run.exact()
    assert run.twice() == set()
    assert run.run().maybe_billed_usd == 0.0


# --- a run ------------------------------------------------------------------------------------------------------------


def wrong_bytes(path: Path, number: int, shift: int = 2) -> None:
    """Damages the page of a row's id, in a file without compression and with page checksums."""
    data = bytearray(path.read_bytes())
    data[data.index(f"r{number}".encode()) + shift] ^= 1
    path.write_bytes(data)


def rewritten(path: Path) -> None:
    """The same rows with checksums and in row groups of 10."""
    options = {"use_dictionary": False, "compression": "none", "write_page_checksum": True, "write_statistics": False}
    pq.write_table(pq.read_table(path), path, row_group_size=10, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("group", [0, 1, 2])
def test_run_marks_damaged_rows_and_retry_scores_them_once_restored(tmp_path: Path, group: int) -> None:
    run = Run(tmp_path, 30, 20, keep=["response"])
    first = tmp_path / "in" / "a.parquet"
    rewritten(first)
    whole = first.read_bytes()
    wrong_bytes(first, 10 * group + 9)
    status = run.run()
    lost = status.errors.get("Damaged", 0)
    assert 0 < lost <= 10
    assert (status.scored, status.pending) == (50 - lost, 0)
    assert run.verify().findings == ()
    assert run.wire.asked.total() == status.scored
    found = pq.read_table(run.sealed()).to_pylist()
    damaged = [row["row"] for row in found if row["error"] == "Damaged"]
    assert damaged == list(range(10 * group + 10 - lost, 10 * group + 10))
    assert all(row["score"] is None and row["attempts"] == 0 for row in found if row["error"])
    assert run.run() == status, "a run that is complete does nothing"
    first.write_bytes(whole)
    assert run.run(retry=Retry(("Damaged",))).scored == 50
    run.exact()
    assert run.twice() == set()


def test_run_with_damaged_rows_ends_by_max_failed_share_not_by_first_200(tmp_path: Path) -> None:
    run = Run(tmp_path, 400, 10, flush_rows=100)
    first = tmp_path / "in" / "a.parquet"
    options = {"use_dictionary": False, "compression": "none", "write_page_checksum": True, "write_statistics": False}
    pq.write_table(pq.read_table(first), first, row_group_size=300, **options)  # type: ignore[arg-type]
    whole = first.read_bytes()
    wrong_bytes(first, 0, 1)
    with pytest.raises(TooManyFailed, match=r"300 of 410 rows failed \(Damaged 300\)") as caught:
        run.run(max_failed_share=0.5)
    assert caught.value.exit_code == 6
    first.write_bytes(whole)
    assert run.run(retry=Retry()).scored == 410
    run.exact()


@pytest.mark.parametrize("how", ["gone", "cut", "another"])
def test_run_scores_other_shards_when_one_changes_meanwhile(tmp_path: Path, how: str) -> None:
    run = Run(tmp_path, 90, 10, 10, 10)
    third = tmp_path / "in" / "c.parquet"  # the next one after that which is read ahead
    whole, then = third.read_bytes(), run.wire.then

    def change() -> None:
        run.wire.then = then
        if how == "gone":
            third.unlink()
        else:
            third.write_bytes(whole[:-20] if how == "cut" else whole[:-6] + b"??" + whole[-4:])

    run.wire.then = change
    with pytest.raises(OutputError, match=r"c\.parquet has changed .* or is gone") as caught:
        run.run()
    assert caught.value.exit_code == 5
    assert run.sealed("a").exists()
    assert run.sealed("b").exists()
    assert run.sealed("d").exists()
    assert not run.sealed("c").exists()
    third.write_bytes(whole)
    run.run()
    run.exact()
    assert run.twice() == set()


def test_run_makes_text_that_is_not_utf_8_a_bad_row(tmp_path: Path) -> None:
    run = Run(tmp_path, 20, keep=["response"])
    path = tmp_path / "in" / "a.parquet"
    given = pq.read_table(path)
    texts = [b"said"] * 20
    texts[7] = b"caf\xe9"
    pq.write_table(given.set_column(1, "response", pa.array(texts, pa.binary()).view(pa.string())), path)
    status = run.run()
    assert (status.scored, status.errors) == (19, {"BadRow": 1})
    assert run.verify().findings == ()
    row = pq.read_table(run.sealed()).to_pylist()[7]
    assert (row["id"], row["response"], row["error"]) == ("r7", None, "BadRow")
    assert "not UTF-8" in row["error_detail"]
    assert 7 not in run.wire.asked
