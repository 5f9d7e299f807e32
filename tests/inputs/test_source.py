"""Promise: the reader yields each chosen row once, whole, with its number, reads nothing else, and bounds memory.

Over 300 lines: every type of column, every choice of rows, every way in which a file may be wrong.
"""

from __future__ import annotations

import asyncio
import io
import os
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.clock import inline, run

from scorer.errors import InputError, ShardChanged
from scorer.files.local_files import LocalFiles
from scorer.inputs.identity import look
from scorer.inputs.pieces import BATCH_BYTES, BATCH_ROWS, ReadStalled
from scorer.inputs.shards import first_look, missing_columns
from scorer.inputs.source import Columns, Reader, put_together
from scorer.output import segments as seg
from scorer.output.schema import (
    result_schema,
)
from scorer.output.tables import to_table
from scorer.types import (
    Mask,
    Result,
    Row,
    Score,
    Shard,
    Work,
)


def write(path: Path, table: pa.Table, **options: Any) -> Shard:
    pq.write_table(table, path, **options)
    return shard_of(path)


def shard_of(path: Path) -> Shard:
    files = LocalFiles()
    (stat,) = files.find([str(path)])
    rows, footer, _ = look(files, stat)
    return Shard(str(path), path.stem, stat.size, stat.version, rows, footer)


def lengths(texts: Sequence[str]) -> list[int]:
    return [len(text) for text in texts]


def reader(
    read: Sequence[str] = (), kept: Sequence[str] = (), judged: Sequence[str] | None = None, **more: Any
) -> Reader:
    columns = Columns(tuple(read), tuple(read if judged is None else judged), tuple(kept))
    return Reader(more.pop("files", LocalFiles()), columns, count=lengths, constant_tokens=more.pop("constant", 0))


def rows_of(given: Reader, shard: Shard, todo: Mask | None = None) -> list[Row]:
    return [row for batch in given.read(Work(shard, todo)) for row in batch]


def values(given: Sequence[Row], name: str) -> list[Any]:
    return [row.values[name] for row in given]


# --- what a column may be ---------------------------------------------------------------------------------------------

TEXTS = ["plain", None, "", "ünï ✓ 漢字 🦜", "x" * 100, "plain"]
TEXT_TYPES = {
    "string": pa.array(TEXTS, pa.string()),
    "large_string": pa.array(TEXTS, pa.large_string()),
    "string_view": pa.array(TEXTS, pa.string_view()),
    "dictionary": pa.array(TEXTS, pa.string()).dictionary_encode(),
    "large dictionary": pa.array(TEXTS, pa.large_string()).dictionary_encode(),
}


@pytest.mark.parametrize("kind", TEXT_TYPES)
def test_reader_reads_equal_text_from_every_text_type(tmp_path: Path, kind: str) -> None:
    shard = write(tmp_path / "s.parquet", pa.table({"text": TEXT_TYPES[kind]}))
    rows = rows_of(reader(["text"], kept=["text"], constant=100), shard)
    assert [row.number for row in rows] == list(range(6))
    assert values(rows, "text") == TEXTS
    assert [row.tokens for row in rows] == [100 + len(text or "") for text in TEXTS]
    assert all(row.size >= len(text or "") for row, text in zip(rows, TEXTS, strict=True))
    assert {row.shard for row in rows} == {shard.path}


def test_reader_row_size_counts_kept_columns(tmp_path: Path) -> None:
    shard = write(tmp_path / "s.parquet", pa.table({"text": ["ab"] * 4, "long": ["x" * 50_000] * 4}))
    assert all(50_000 <= row.size < 51_000 for row in rows_of(reader(["text"], kept=["long"]), shard))
    assert all(row.size < 100 for row in rows_of(reader(["text"]), shard))


@pytest.mark.parametrize("kind", TEXT_TYPES)
def test_reader_reads_chosen_rows_of_every_text_type(tmp_path: Path, kind: str) -> None:
    shard = write(tmp_path / "s.parquet", pa.table({"text": TEXT_TYPES[kind]}))
    rows = rows_of(reader(["text"], kept=["text"]), shard, np.array([False, True, False, True, True, False]))
    assert values(rows, "text") == [None, "ünï ✓ 漢字 🦜", "x" * 100]


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        (pa.timestamp("ns", "UTC"), ["1970-01-01T00:00:00.000000001Z", datetime(1970, 1, 1, 0, 0, 0, 2, UTC), None]),
        (pa.timestamp("ns"), ["1970-01-01T00:00:00.000000001", datetime(1970, 1, 1, 0, 0, 0, 2), None]),
        (pa.time64("ns"), ["00:00:00.000000001", time(0, 0, 0, 2), None]),
    ],
    ids=str,
)
def test_reader_reads_nanoseconds_as_text_where_python_lacks_a_type(
    tmp_path: Path, kind: pa.DataType, wanted: list[Any]
) -> None:
    given = pa.array([1, 2000, None], pa.int64()).cast(kind)
    rows = rows_of(reader(["when"]), write(tmp_path / "s.parquet", pa.table({"when": given})))
    assert values(rows, "when") == wanted
    assert all(type(value) in (str, datetime, time, type(None)) for value in values(rows, "when"))


def test_reader_reads_nanoseconds_in_a_list(tmp_path: Path) -> None:
    given = pa.array([[1], None], pa.list_(pa.int64())).cast(pa.list_(pa.timestamp("ns")))
    rows = rows_of(reader(["when"]), write(tmp_path / "s.parquet", pa.table({"when": given})))
    assert [row.values["when"] is None for row in rows] == [False, True]


def test_reader_reads_numbers_and_booleans_unchanged(tmp_path: Path) -> None:
    table = pa.table({"n": pa.array([1, None], pa.int64()), "x": [0.5, None], "b": [True, None]})
    shard = write(tmp_path / "s.parquet", table)
    rows = rows_of(reader(["n", "x", "b"]), shard)
    assert [row.values for row in rows] == [{"n": 1, "x": 0.5, "b": True}, {"n": None, "x": None, "b": None}]
    assert rows[0].tokens == len("1\n0.5\nTrue")


def test_reader_counts_tokens_of_judged_columns_only(tmp_path: Path) -> None:
    shard = write(tmp_path / "s.parquet", pa.table({"q": ["ab"], "a": ["cde"], "id": ["12345"]}))
    (row,) = rows_of(reader(["q", "a", "id"], judged=["q", "a"]), shard)
    assert row.tokens == len("ab\ncde")
    assert set(row.values) == {"q", "a", "id"}


def test_reader_reads_nested_columns_only_when_requested(tmp_path: Path) -> None:
    nested = [{"name": "x", "tags": ["a", None]}, None]
    table = pa.table({"meta": nested, "list": [[1, 2], []], "text": ["a", "b"]})
    shard = write(tmp_path / "s.parquet", table)
    assert [row.values for row in rows_of(reader(["text"]), shard)] == [{"text": "a"}, {"text": "b"}]
    asked = rows_of(reader(["text", "meta"]), shard)
    assert values(asked, "meta") == nested


def test_reader_takes_a_dot_as_part_of_a_column_name(tmp_path: Path) -> None:
    shard = write(tmp_path / "s.parquet", pa.table({"a.b": ["flat"], "a": [1]}))
    (row,) = rows_of(reader(["a.b"], kept=["a"]), shard)
    assert (row.values, row.kept) == ({"a.b": "flat"}, (1,))


def test_reader_yields_every_row_for_a_judge_without_columns(tmp_path: Path) -> None:
    shard = write(tmp_path / "s.parquet", pa.table({"text": ["a"] * 5}))
    rows = rows_of(reader(constant=3), shard)
    assert [(row.number, row.values, row.tokens) for row in rows] == [(n, {}, 3) for n in range(5)]


_KINDS = {
    "bool": st.booleans(),
    "int8": st.integers(-(2**7), 2**7 - 1),
    "uint64": st.integers(0, 2**64 - 1),
    "float32": st.floats(width=32, allow_nan=False),
    "float64": st.floats(allow_nan=False),
    "string": st.text(max_size=20),
    "large_string": st.text(max_size=20),
    "string_view": st.text(max_size=20),
    "binary": st.binary(max_size=20),
    "date32": st.integers(-(10**5), 10**5),
    "time64[ns]": st.integers(0, 86_400 * 10**9 - 1),
    "timestamp[s]": st.integers(-(10**9), 10**10),
    "timestamp[ns]": st.integers(-(2**62), 2**62),
    "timestamp[us, UTC]": st.integers(-(2**50), 2**50),
    "timestamp[us, Europe/Paris]": st.integers(-(2**50), 2**50),
    "duration[ns]": st.integers(-(2**62), 2**62),
    "decimal": st.decimals(-(10**7), 10**7, places=3),
    "dictionary": st.text(max_size=5),
    "list": st.lists(st.none() | st.integers(0, 9), max_size=3),
    "list of timestamp[ns]": st.lists(st.integers(-(2**62), 2**62), max_size=3),
    "list of string_view": st.lists(st.none() | st.text(max_size=20), max_size=3),
    "struct of binary_view": st.fixed_dictionaries({"x": st.none() | st.binary(max_size=20)}),
    "struct": st.fixed_dictionaries({"x": st.none() | st.integers(0, 9), "y": st.text(max_size=3)}),
    "map": st.lists(st.tuples(st.text(max_size=3), st.integers(0, 9)), max_size=3, unique_by=lambda item: item[0]),
}
_ARROW = {
    "string_view": pa.string_view(),
    "binary": pa.binary(),
    "decimal": pa.decimal128(20, 3),
    "list": pa.list_(pa.int32()),
    "list of string_view": pa.list_(pa.string_view()),
    "struct of binary_view": pa.struct([("x", pa.binary_view())]),
    "struct": pa.struct([("x", pa.int8()), ("y", pa.string())]),
    "map": pa.map_(pa.string(), pa.int64()),
    "date32": pa.date32(),
    "time64[ns]": pa.time64("ns"),
    "timestamp[us, UTC]": pa.timestamp("us", "UTC"),
    "timestamp[us, Europe/Paris]": pa.timestamp("us", "Europe/Paris"),
}


def _arrow(kind: str, given: list[Any]) -> pa.Array:
    if kind == "dictionary":
        return pa.array(given, pa.string()).dictionary_encode()
    if kind == "list of timestamp[ns]":
        return pa.array(given, pa.list_(pa.int64())).cast(pa.list_(pa.timestamp("ns")))
    target = _ARROW.get(kind) or pa.type_for_alias(kind)
    if pa.types.is_temporal(target):
        whole = pa.int32() if kind == "date32" else pa.int64()
        return pa.array(given, whole).cast(target)
    return pa.array(given, target)


@st.composite
def _columns(draw: st.DrawFn) -> tuple[str, list[Any]]:
    kind = draw(st.sampled_from(sorted(_KINDS)))
    return kind, draw(st.lists(st.none() | _KINDS[kind], min_size=1, max_size=8))


@pytest.mark.slow
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(column=_columns())
def test_reader_kept_values_round_trip_with_type_and_value(tmp_path: Path, column: tuple[str, list[Any]]) -> None:
    """Slow: some examples for each of 24 types."""
    kind, given = column
    path = tmp_path / "s.parquet"
    shard = write(path, pa.table({"kept": _arrow(kind, given)}))
    before = pq.read_table(path)
    results = [
        Result(row, Score(1.0), None, None, None, None, None, None, 0, 0.0, 0.0, 0)
        for row in rows_of(reader(kept=["kept"]), shard)
    ]
    schema = result_schema(kept=[pq.read_schema(path).field("kept")])
    out = io.BytesIO()
    seg.write(out, iter([to_table(results, schema, "f")]), schema, {})
    after = pq.read_table(out).column("kept")
    assert after.type == before.column("kept").type
    assert after.combine_chunks().equals(before.column("kept").combine_chunks()) or (
        # Dictionaries may be numbered anew: the values count.
        after.to_pylist() == before.column("kept").to_pylist()
    )


def test_reader_makes_text_that_is_not_utf_8_a_problem_of_its_row(tmp_path: Path) -> None:
    text = pa.array([b"fine", b"\xff\xfe", b"too"], pa.binary()).view(pa.string())
    table = pa.table(
        {
            "text": text,
            "dictionary": text.dictionary_encode(),
            "list": pa.ListArray.from_arrays(pa.array([0, 1, 2, 3], pa.int32()), text),
            "other": ["a", "b", "c"],
        }
    )
    shard = write(tmp_path / "s.parquet", table)
    for column in ("text", "dictionary", "list"):
        for columns in ({"read": [column], "kept": ["other"]}, {"read": ["other"], "kept": [column, "other"]}):
            rows = rows_of(reader(**columns), shard)
            assert [row.problem is None for row in rows] == [True, False, True]
            assert rows[1].problem is not None
            assert rows[1].problem.name == "BadRow"
            assert f"column '{column}' holds a text that is not UTF-8" in rows[1].problem.detail
            assert [row.kept[-1] for row in rows] == ["a", "b", "c"]
            assert rows[1].values.get(column) is None
            assert len(rows[1].kept) == 1 or rows[1].kept[0] is None
            assert rows[0].values.get(column, "fine") in ("fine", ["fine"])


# --- which rows -------------------------------------------------------------------------------------------------------


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    mask=st.lists(st.booleans(), max_size=60),
    group=st.integers(1, 20),
    generation=st.integers(0, 3),
)
def test_reader_yields_exactly_the_chosen_rows_in_order_with_their_numbers(
    tmp_path: Path, mask: list[bool], group: int, generation: int
) -> None:
    table = pa.table({"text": pa.array([f"row {n}" for n in range(len(mask))], pa.string())})
    shard = write(tmp_path / "s.parquet", table, row_group_size=group)
    work = Work(shard, np.array(mask, dtype=bool), generation)
    rows = [row for batch in reader(["text"]).read(work) for row in batch]
    wanted = [number for number, todo in enumerate(mask) if todo]
    assert [row.number for row in rows] == wanted
    assert values(rows, "text") == [f"row {number}" for number in wanted]
    assert {row.generation for row in rows} <= {generation}


def test_reader_yields_no_rows_for_empty_shards_and_row_groups(tmp_path: Path) -> None:
    empty = write(tmp_path / "empty.parquet", pa.table({"text": pa.array([], pa.string())}))
    assert (empty.rows, rows_of(reader(["text"]), empty)) == (0, [])
    path = tmp_path / "gaps.parquet"
    schema = pa.schema([("text", pa.string())])
    with pq.ParquetWriter(path, schema) as writer:
        for texts in ([], ["a"], [], [], ["b", "c"], []):
            writer.write_table(pa.table({"text": pa.array(texts, pa.string())}))
    rows = rows_of(reader(["text"]), shard_of(path))
    assert [(row.number, row.values["text"]) for row in rows] == [(0, "a"), (1, "b"), (2, "c")]


def test_reader_batches_hold_at_most_256_rows_of_one_shard(tmp_path: Path) -> None:
    shards = [
        write(tmp_path / f"{n}.parquet", pa.table({"text": ["x"] * count}), row_group_size=1000)
        for n, count in enumerate((600, 0, 1, 256))
    ]

    async def scenario() -> list[list[Row]]:
        return [batch async for batch in reader(["text"]).batches([Work(shard) for shard in shards], inline)]

    batches = run(scenario())
    assert [len(batch) for batch in batches] == [256, 256, 88, 1, 256]
    assert BATCH_ROWS == 256
    assert [(row.shard, row.number) for batch in batches for row in batch] == [
        (shard.path, number) for shard in shards for number in range(shard.rows)
    ]


def test_reader_batches_are_bounded_by_bytes(tmp_path: Path) -> None:
    texts = [str(n) * (BATCH_BYTES // 3) for n in range(5)]
    shard = write(tmp_path / "s.parquet", pa.table({"text": texts}), use_dictionary=False)
    batches = list(reader(["text"]).read(Work(shard)))
    assert max(sum(row.size for row in batch) for batch in batches) <= BATCH_BYTES
    assert [row.values["text"] for batch in batches for row in batch] == texts


def test_reader_reads_one_batch_ahead(tmp_path: Path) -> None:
    shard = write(tmp_path / "s.parquet", pa.table({"text": ["x"] * 256 * 5}))
    done = 0

    def counted(fn: Callable[..., Any], *args: Any) -> Any:
        nonlocal done
        done += 1
        return inline(fn, *args)

    async def scenario() -> None:
        batches: AsyncIterator[list[Row]] = reader(["text"]).batches([Work(shard)], counted)
        async with aclosing(batches):  # type: ignore[type-var]
            async for batch in batches:
                assert len(batch) == 256
                await asyncio.sleep(0)
                if done == 4:
                    break
                assert done == batch[0].number // 256 + 2

    run(scenario())
    assert done == 4


# --- what is read of a file -------------------------------------------------------------------------------------------


class Counting(LocalFiles):
    """Files that count the bytes read."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def open(self, path: str) -> BinaryIO:
        return _Counted(path, self)


class _Counted(io.FileIO):
    def __init__(self, path: str, files: Counting) -> None:
        super().__init__(path, "rb")
        self._files = files

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(-1 if size is None else size) or b""
        self._files.bytes += len(data)
        return data

    def readinto(self, buffer: Any) -> int:
        count = super().readinto(buffer) or 0
        self._files.bytes += count
        return count


def noise(rows: int, size: int, seed: int = 0) -> list[str]:
    """Texts that no compression makes smaller than half."""
    data = np.random.default_rng(seed).bytes(rows * size // 2).hex()
    return [data[start : start + size] for start in range(0, rows * size, size)]


def test_reader_reads_only_needed_columns_and_row_groups(tmp_path: Path) -> None:
    rows, size = 1000, 2000
    table = pa.table({"text": noise(rows, size), "other": noise(rows, size, 1), "id": list(range(rows))})
    shard = write(tmp_path / "s.parquet", table, row_group_size=100)
    files = Counting()
    assert len(rows_of(reader(["text"], kept=["id"], files=files), shard)) == rows
    assert files.bytes < 0.6 * shard.size
    files.bytes = 0
    todo = np.zeros(rows, dtype=bool)
    todo[550] = True
    (row,) = rows_of(reader(["text"], files=files), shard, todo)
    assert (row.number, row.values["text"]) == (550, noise(rows, size)[550])
    assert files.bytes < 0.2 * shard.size
    files.bytes = 0
    assert rows_of(reader(["text"], files=files), shard, np.zeros(rows, dtype=bool)) == []
    assert files.bytes == 0


@pytest.mark.slow
def test_reader_memory_is_bounded_for_a_huge_row_group(tmp_path: Path) -> None:
    """Slow: it takes a file of 64 MB to tell reading through a buffer from reading the whole column chunk."""
    text = pa.array(noise(16_000, 4000))
    path = tmp_path / "s.parquet"
    pq.write_table(pa.table({"text": text}), path, compression="none", use_dictionary=False, row_group_size=10**6)
    assert pq.read_metadata(path).num_row_groups == 1
    del text
    shard, before, most = shard_of(path), pa.total_allocated_bytes(), 0
    tracemalloc.start()  # what Arrow reads through a Python file lies in Python's memory
    try:
        for _ in reader(["text"]).read(Work(shard)):
            most = max(most, pa.total_allocated_bytes() - before)
        python = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert shard.size > 60_000_000
    assert most + python < 24_000_000


@pytest.mark.slow
def test_reader_memory_is_bounded_for_long_repeated_text(tmp_path: Path) -> None:
    """Slow: 400 MB of text, of which the file holds one and memory at most some tens."""
    path = tmp_path / "s.parquet"
    pq.write_table(pa.table({"text": pa.array(["x" * 1_000_000]).take(pa.array([0] * 400))}), path)
    shard, most = shard_of(path), 0
    assert shard.size < 1_000_000
    for batch in reader(["text"]).read(Work(shard)):
        most = max(most, sum(len(row.values["text"]) for row in batch))
    assert most <= 32_000_000


def test_reader_never_writes_to_shards(tmp_path: Path) -> None:
    shard = write(tmp_path / "s.parquet", pa.table({"text": ["a"] * 1000}))
    before = (Path(shard.path).read_bytes(), os.stat(shard.path).st_mtime_ns)
    os.chmod(shard.path, 0o444)
    assert len(rows_of(reader(["text"]), shard)) == 1000
    assert (Path(shard.path).read_bytes(), os.stat(shard.path).st_mtime_ns) == before
    assert os.listdir(tmp_path) == ["s.parquet"]


# --- what may be wrong with a file ------------------------------------------------------------------------------------


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


def test_put_together_joins_short_batches_and_flushes_at_a_stall() -> None:
    def rows(*numbers: int, size: int = 1) -> list[Row]:
        return [Row("a", number, {}, kept=(), size=size) for number in numbers]

    stalled = ReadStalled(1.0)
    pieces = [rows(0), rows(1), rows(2), rows(3), stalled, rows(4), rows(5, 6), rows(7, size=BATCH_BYTES), rows(8)]
    found = list(put_together(iter(pieces)))
    assert [one if one is stalled else [row.number for row in one] for one in found] == [
        [0], [1, 2], [3], stalled, [4, 5, 6], [7], [8],
    ]  # fmt: skip
    assert max(len(one) for one in put_together(rows(number) for number in range(2000))) == BATCH_ROWS


def test_put_together_of_whole_batches_holds_the_first_rows_back_too() -> None:
    found = [len(batch) for batch in put_together(([Row("a", n, {}, kept=(), size=1)] for n in range(300)), BATCH_ROWS)]
    assert found == [256, 44]


def test_put_together_keeps_every_row_in_order() -> None:
    lengths = [3, 1, 300, 256, 1, 1, 2]
    numbers = iter(range(sum(lengths)))
    pieces = [[Row("a", next(numbers), {}, kept=()) for _ in range(length)] for length in lengths]
    assert [row.number for batch in put_together(iter(pieces)) for row in batch] == list(range(sum(lengths)))
