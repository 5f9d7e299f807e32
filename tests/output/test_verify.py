"""Promise: `verify` finds nothing in a whole output, and every kind of damage in any other.

Over 300 lines: each kind of damage has its test.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.clock import run
from support.inprocess import Run
from support.outputs import FINGERPRINT, SCHEMA, Output, result

from scorer.errors import OutputError, SpecError
from scorer.files.local_files import LocalFiles
from scorer.output import segments as seg
from scorer.output.verify.folder import Verdict, verify


def look(output: Output) -> Verdict:
    return verify(LocalFiles(), output.layout.out)


@pytest.fixture
def output(tmp_path: Path) -> Output:
    """Two sealed shards and an empty one; three rows failed, one of them twice; a ledger that fits."""

    async def scenario() -> Output:
        made = Output(tmp_path, 40, 30, 0)
        await made.pay(75)
        await made.score({0: [1, 2, 3]}, error="Unavailable")
        await made.score({0: [0, *range(4, 40)], 1: range(30)})
        await made.retry(error="Refused")
        made.store()  # the next start: hidden files are gone
        return made

    return run(scenario())


@pytest.fixture
def half(tmp_path: Path) -> Output:
    """A sealed shard, and one under way in three segments; rows 2, 5, 8, ... of it are still to be scored."""

    async def scenario() -> Output:
        made = Output(tmp_path, 10, 30)
        await made.pay(60)
        await made.score({0: range(10), 1: range(0, 30, 3)})
        await made.score({1: range(1, 15, 3)})
        await made.score({1: range(16, 30, 3)}, error="Refused")
        made.store()
        return made

    return run(scenario())


def test_verify_passes_a_whole_output(output: Output) -> None:
    assert look(output) == Verdict(70, 3, ())
    assert look(output).complete


def test_verify_reports_missing_rows_by_shard(half: Output) -> None:
    verdict = look(half)
    assert not verdict.complete
    assert verdict.findings == (f"{half.shards[1].path}: 10 of 30 rows have no result yet",)


# --- sealed files -----------------------------------------------------------------------------------------------------


def rewrite(output: Output, change: Callable[[pa.Table], pa.Table], fingerprint: str = FINGERPRINT) -> None:
    """Writes the first sealed file anew, with right checksums and counts, and other rows."""
    path = output.sealed()
    table = change(pq.read_table(path))
    with path.open("wb") as file:
        seg.write(file, iter([table]), table.schema, seg.about(output.shards[0], fingerprint, 0, ""))


def column(name: str, change: Callable[[list[object]], list[object]]) -> Callable[[pa.Table], pa.Table]:
    def changed(table: pa.Table) -> pa.Table:
        place = table.schema.get_field_index(name)
        return table.set_column(
            place, table.field(name), pa.array(change(table.column(name).to_pylist()), table.field(name).type)
        )

    return changed


def first(value: object) -> Callable[[list[object]], list[object]]:
    return lambda values: [value, *values[1:]]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda table: table.slice(0, 39), "has 39 rows, the shard has 40"),
        (lambda table: table.slice(1), "the rows are not in input order, or not each once"),
        (lambda table: table.take(list(reversed(range(40)))), "the rows are not in input order, or not each once"),
        (lambda table: pa.concat_tables([table, table.slice(39)]), "not in input order, or not each once"),
        (column("row", lambda rows: [*rows[:38], 39, 39]), "not in input order, or not each once"),
        (column("score", first(None)), "some row has a score and an error, or neither"),
        (column("error", first("Refused")), "some row has a score and an error, or neither"),
        (column("score", first(float("nan"))), "some score is not a finite number"),
        (column("score", first(float("inf"))), "some score is not a finite number"),
        (column("error", lambda names: [n and "Whatever" for n in names]), "unknown error names Whatever"),
        (column("shard", first("in/other.parquet")), "holds rows of another shard"),
        (column("judge", first("f" * 16)), "holds scores of another judge"),
        (lambda table: table.drop_columns(["raw"]), "lacks the columns raw"),
    ],
)
def test_verify_finds_wrong_contents_in_a_readable_sealed_file(
    output: Output, change: Callable[[pa.Table], pa.Table], says: str
) -> None:
    rewrite(output, change)
    (finding, *_) = look(output).findings
    assert finding.startswith(f"{output.sealed()}: ")
    assert says in finding


def test_verify_finds_scores_of_another_run_and_false_metadata(output: Output) -> None:
    rewrite(output, lambda table: table, fingerprint="e" * 16)
    assert look(output).findings == (f"{output.sealed()}: holds the scores of another run ({'e' * 16})",)
    table = pq.read_table(output.sealed())
    metadata = {
        **pq.read_metadata(output.sealed()).metadata,
        b"scorer.fingerprint": f'"{FINGERPRINT}"'.encode(),
        b"scorer.scored": b"40",
    }
    del metadata[b"scorer.sum"], metadata[b"scorer.sums"]  # as a file of an earlier version, which had none
    pq.write_table(table.replace_schema_metadata(metadata), output.sealed())
    (finding,) = look(output).findings
    assert "its metadata claims" in finding


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def emptied(_: bytes) -> bytes:
    return b""


def foreign(_: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"row": [0, 1]}), sink)
    found: bytes = sink.getvalue().to_pybytes()
    return found


def no_parquet(_: bytes) -> bytes:
    return b"<html>Not Parquet</html>"


@pytest.mark.parametrize("change", [cut, emptied, foreign, no_parquet])
def test_verify_finds_a_truncated_emptied_or_replaced_sealed_file(
    output: Output, change: Callable[[bytes], bytes]
) -> None:
    path = output.sealed(1)
    path.write_bytes(change(path.read_bytes()))
    (finding, *_) = look(output).findings
    assert finding.startswith(f"{path}: ")
    assert "\n" not in finding


def test_verify_finds_a_missing_and_a_foreign_sealed_file(output: Output) -> None:
    shutil.move(output.sealed(1), output.sealed(1).with_name("z.parquet"))
    assert set(look(output).findings) == {
        f"{output.shards[1].path}: 30 of 30 rows have no result yet",
        f"{output.layout.scores}/z.parquet: belongs to no shard of this run",
    }


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), which=st.integers(0, 1))
def test_verify_finds_any_flipped_bit_that_changes_a_value(output: Output, place: float, bit: int, which: int) -> None:
    path = output.sealed(which)
    before, whole = pq.read_table(path), path.read_bytes()
    data = bytearray(whole)
    data[int(place * len(data))] ^= 1 << bit
    path.write_bytes(data)
    try:
        findings = look(output).findings
        if not findings:
            assert pq.read_table(path).equals(before)
    finally:
        path.write_bytes(whole)


# --- segments ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", [cut, emptied, foreign, no_parquet])
def test_verify_finds_a_truncated_emptied_or_replaced_segment(half: Output, change: Callable[[bytes], bytes]) -> None:
    path = half.segments(1)[1]
    path.write_bytes(change(path.read_bytes()))
    assert any(finding.startswith(f"{path}: ") for finding in look(half).findings)


def test_verify_finds_a_flipped_bit_in_any_segment_column(half: Output) -> None:
    path = half.segments(1)[0]
    whole, group = path.read_bytes(), pq.read_metadata(path).row_group(0)
    for index in range(group.num_columns):
        chunk = group.column(index)
        data = bytearray(whole)
        data[(chunk.dictionary_page_offset or chunk.data_page_offset) + chunk.total_compressed_size - 2] ^= 4
        path.write_bytes(data)
        assert any(finding.startswith(f"{path}: is damaged") for finding in look(half).findings), chunk.path_in_schema


def test_verify_reports_rows_of_a_missing_segment(half: Output) -> None:
    half.segments(1)[1].unlink()
    assert look(half).findings == (f"{half.shards[1].path}: 15 of 30 rows have no result yet",)


def test_verify_finds_a_duplicate_segment(half: Output) -> None:
    path = half.segments(1)[0]
    shutil.copy(path, path.with_name(path.name.replace("-0.parquet", "-9.parquet")))
    assert f"{half.shards[1].path}: 10 rows are in more than one segment of generation 0" in look(half).findings


def test_verify_finds_a_segment_under_a_wrong_name(half: Output) -> None:
    path = half.segments(1)[2]
    path.rename(path.with_name("g0-w0-000000000-000000002-2.parquet"))
    assert any("holds rows outside of what its name says" in finding for finding in look(half).findings)


def test_verify_finds_a_segment_of_another_shard(half: Output, tmp_path: Path) -> None:
    path = half.segments(1)[1]
    table = pq.read_table(path)
    table = table.set_column(0, SCHEMA.field("shard"), pa.array(["in/x.parquet"] * table.num_rows))
    with path.open("wb") as file:
        seg.write(file, iter([table]), SCHEMA, {})
    assert any(finding == f"{path}: holds rows of another shard" for finding in look(half).findings)


def test_verify_finds_foreign_files_and_folders(half: Output) -> None:
    folder = Path(half.layout.segments)
    (folder / "b" / "notes.txt").write_text("mine")
    (folder / "stranger").mkdir()
    found = look(half).findings
    assert f"{folder}/b/notes.txt: is no segment" in found
    assert f"{folder}/stranger: belongs to no shard of this run" in found


def test_verify_finds_rows_beyond_the_end_of_a_shard(half: Output) -> None:
    path = half.segments(1)[1]
    table = pq.read_table(path)
    table = table.set_column(1, SCHEMA.field("row"), pa.array(np.arange(100, 100 + table.num_rows)))
    with path.with_name("g0-w0-000000100-000000109-7.parquet").open("wb") as file:
        seg.write(file, iter([table]), SCHEMA, {})
    assert any("-7.parquet: is damaged" in finding for finding in look(half).findings)


def test_verify_reports_a_finished_shard_not_sealed(half: Output) -> None:
    async def scenario() -> None:
        store = half.store()
        list(store.work(half.shards))
        for number in range(2, 30, 3):
            store.add(result(half.shards[1], number))
        await store._writer.flush()

    run(scenario())
    assert look(half).findings == (
        f"{half.shards[1].path}: every row has a result, and the shard is not sealed yet: `scorer run` seals it",
    )


def test_verify_reports_an_unfinished_retry(output: Output) -> None:
    run(output.retry(only=1))
    assert any("generation 2 is not finished" in finding for finding in look(output).findings)


# --- the input, run.json and the ledger -------------------------------------------------------------------------------


def test_verify_reports_changed_and_missing_input_and_accepts_touched_input(output: Output) -> None:
    first_shard, second = Path(output.shards[0].path), Path(output.shards[1].path)
    shutil.copy(first_shard, f"{first_shard}.copy")
    shutil.move(f"{first_shard}.copy", first_shard)
    assert look(output).complete
    pq.write_table(pq.read_table(first_shard).slice(1), first_shard)
    second.unlink()
    found = look(output)
    assert found.findings == (f"{first_shard}: the input shard changed since it was scored",)
    (unchecked,) = found.unchecked
    assert unchecked.startswith(f"{second}: the input is not where it was")


def test_verify_reports_an_input_shard_that_is_no_longer_parquet(output: Output) -> None:
    path = Path(output.shards[0].path)
    data = path.read_bytes()
    path.write_bytes(b"\0" * len(data))
    assert look(output).findings == (f"{path}: the input shard changed since it was scored",)


def test_verify_refuses_a_damaged_run_json_and_a_folder_without_a_run(output: Output, tmp_path: Path) -> None:
    manifest = Path(output.layout.manifest)
    manifest.write_bytes(manifest.read_bytes()[:-40])
    with pytest.raises(OutputError, match=r"run\.json is damaged"):
        look(output)
    with pytest.raises(SpecError, match="holds no run"):
        verify(LocalFiles(), str(tmp_path))


def ledger_file(output: Output) -> Path:
    (path,) = Path(output.layout.ledger).iterdir()
    return path


def test_verify_finds_a_flipped_bit_in_the_ledger(output: Output) -> None:
    path = ledger_file(output)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert f"{path}: a line of the ledger is damaged; what it said is counted nowhere" in look(output).findings


def test_verify_finds_a_ledger_with_fewer_tokens_than_the_rows(output: Output) -> None:
    assert look(output).complete
    ledger_file(output).unlink()
    (finding,) = look(output).findings
    assert finding == f"{output.layout.ledger}: the ledger holds 0 tokens and the rows 840: a part is missing"


def test_verify_accepts_a_torn_ledger_tail(output: Output) -> None:
    """A crash tears it, and what it said was never acted upon."""
    with ledger_file(output).open("ab") as file:
        file.write(b'0badc0de {"intend":[[1,2')
    assert look(output).complete


# --- what was copied from the input -----------------------------------------------------------------------------------


@pytest.fixture
def copied(tmp_path: Path) -> Run:
    """A sealed shard and one under way, with kept columns of every odd kind: NaN, a dictionary, nanoseconds, lists."""
    made = Run(tmp_path, keep=["x", "kind", "at", "tags"])
    for rows in (9, 14):
        path = made.add(rows)
        columns = {
            "x": pa.array([math.nan if n % 3 == 0 else n / 7 for n in range(rows)]),
            "kind": pa.array([f"k{n % 2}" for n in range(rows)]).dictionary_encode(),
            "at": pa.array([n * 1001 + 1 for n in range(rows)], pa.timestamp("ns")),
            "tags": pa.array([None if n == 4 else [str(n)] * (n % 3) for n in range(rows)], pa.list_(pa.string())),
        }
        table = pq.read_table(path)
        for name, values in columns.items():
            table = table.append_column(name, values)
        pq.write_table(table, path, row_group_size=5)
    made.stop_after(16)
    assert made.sealed().exists()
    assert not made.sealed("b").exists()
    return made


def test_verify_accepts_ids_and_kept_columns_equal_to_the_input(copied: Run) -> None:
    (finding,) = copied.verify().findings
    assert "rows have no result yet" in finding
    copied.run()
    assert copied.verify().complete


@pytest.mark.parametrize("name", ["id", "x", "kind", "at", "tags"])
@pytest.mark.parametrize("sealed", [True, False])
def test_verify_finds_ids_and_kept_values_that_differ_from_the_input(copied: Run, name: str, *, sealed: bool) -> None:
    path = copied.sealed() if sealed else max(copied.segments("b"), key=lambda one: pq.read_metadata(one).num_rows)
    table, (about, _) = pq.read_table(path), seg.read_about(LocalFiles(), str(path))
    place, values = table.schema.get_field_index(name), table.column(name).to_pylist() if name != "at" else None
    other = pa.array([9] * len(table), pa.int64()).cast(pa.timestamp("ns")) if values is None else values[::-1]
    if values is not None:
        other = pa.array(["?", *values[1:]] if name in ("id", "kind") else [*values[:1], None, *values[2:]])
        other = other.cast(table.field(name).type) if name != "kind" else other.dictionary_encode()
    table = table.set_column(place, table.field(name), other)
    with path.open("wb") as file:
        seg.write(file, iter([table]), table.schema.remove_metadata(), about)
    findings = [text for text in copied.verify().findings if text.startswith(f"{path}: ")]
    assert len(findings) == 1
    assert "has an id or kept columns that are not the input's" in findings[0]
