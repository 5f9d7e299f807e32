"""Promise: a table holds each result unchanged, and a merge keeps each row's newest result, once, in order."""

from __future__ import annotations

import dataclasses
import io
import weakref
from itertools import count
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.outputs import SCHEMA, result

from scorer.errors import Unreadable
from scorer.files.local_files import LocalFiles
from scorer.output import segments as seg
from scorer.output.merge import merge
from scorer.output.row_counts import Counts
from scorer.output.schema import (
    result_schema,
)
from scorer.output.tables import made, to_table
from scorer.types import (
    Result,
    Row,
    Score,
    Shard,
)
from scorer.usage import (
    Usage,
)

SHARD = Shard("in/s.parquet", "s", 1, "v", 1000, "f")
_FILES = count()


def table(*results: Result, schema: pa.Schema = SCHEMA) -> pa.Table:
    return to_table(results, schema, "fingerprint")


def segment(folder: Path, results: list[Result]) -> tuple[str, int, int]:
    path = folder / f"{next(_FILES)}.parquet"
    with path.open("wb") as file:
        seg.write(file, iter([table(*results)]), SCHEMA, seg.about(SHARD, "fingerprint", 0, "run"))
    numbers = [one.row.number for one in results]
    return str(path), min(numbers, default=0), max(numbers, default=-1)


# --- one row ----------------------------------------------------------------------------------------------------------


def test_table_of_a_score_and_an_error_fills_their_own_columns() -> None:
    scored, failed = table(result(SHARD, 1), result(SHARD, 0, error="Refused")).to_pylist()[::-1]
    assert (scored["row"], scored["score"], scored["error"], scored["error_detail"]) == (1, 1.0, None, None)
    assert (scored["method"], scored["samples"], scored["id"], scored["task"]) == ("number", 1, "s1", "t")
    assert (failed["row"], failed["score"], failed["error"], failed["error_detail"]) == (0, None, "Refused", "row 0")
    assert (failed["method"], failed["samples"], failed["reason"]) == (None, 0, None)
    for row in (scored, failed):
        assert (row["shard"], row["judge"], row["raw"]) == (SHARD.path, "fingerprint", ["4"])
        assert row["judge_model"] == "judge"
        assert (row["prompt_tokens"], row["completion_tokens"], row["cached_tokens"]) == (10, 2, 1)


def test_table_holds_null_for_unknown_values() -> None:
    unknown = dataclasses.replace(result(SHARD, 0), usage=None, cost_pico=None, raw=None, model=None)
    row = table(unknown).to_pylist()[0]
    for name in ("prompt_tokens", "completion_tokens", "cached_tokens", "cost_microusd", "raw", "judge_model"):
        assert row[name] is None


@pytest.mark.parametrize(
    ("pico", "micro"), [(0, 0), (1, 1), (499_999, 1), (10**6, 1), (1_499_999, 2), (10**18, 10**12)]
)
def test_table_rounds_cost_up_to_a_microdollar(pico: int, micro: int) -> None:
    assert table(dataclasses.replace(result(SHARD, 0), cost_pico=pico)).column("cost_microusd").to_pylist() == [micro]


def test_table_keeps_judge_fields_beside_a_kept_model_column() -> None:
    schema = result_schema(kept=[pa.field("model", pa.string())], judge_fields=[pa.field("score_style", pa.float64())])
    one = dataclasses.replace(
        result(SHARD, 0),
        row=Row(SHARD.path, 0, {}, kept=("alder",)),
        score=Score(4.5, reason="good", fields={"score_style": 4.0}),
        model="judge-7b",
    )
    row = table(one, schema=schema).to_pylist()[0]
    assert (row["model"], row["judge_model"], row["score_style"], row["reason"]) == ("alder", "judge-7b", 4.0, "good")


def test_table_replaces_lone_surrogates_in_replies() -> None:
    half = dataclasses.replace(result(SHARD, 0), raw=("\ud83d", None), error=Unreadable("saw \ud83d"), score=None)
    row = table(half).to_pylist()[0]
    assert (row["raw"], row["error_detail"]) == (["?", None], "saw \ufffd")


# --- a file -----------------------------------------------------------------------------------------------------------


def test_segment_metadata_tells_shard_fingerprint_generation_run_and_counts(tmp_path: Path) -> None:
    results = [result(SHARD, n, error="Refused" if n % 3 == 0 else None) for n in range(9)]
    path, _, _ = segment(tmp_path, results)
    about, counts = seg.read_about(LocalFiles(), path)
    shard = {name: value for name, value in dataclasses.asdict(SHARD).items() if name != "at"}  # where it is by now
    assert about == {"shard": shard, "fingerprint": "fingerprint", "generation": 0, "run": "run"}
    assert counts == Counts(9, 6, {"Refused": 3}, 90, 18, 9, 45, 9)
    assert (counts.failed, counts) == (3, Counts.of(pq.read_table(path)))
    assert seg.read_columns(LocalFiles(), path, ["row"]).column("row").to_pylist() == list(range(9))


@pytest.mark.parametrize("small", [True, False])
def test_a_small_file_has_counts_and_statistics_for_publishers_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: bool
) -> None:
    rows = 30
    results = [result(SHARD, n, error="Refused" if n % 3 == 0 else None) for n in range(rows)]
    monkeypatch.setattr(seg, "SMALL_BYTES", table(*results).get_total_buffer_size() + small)
    path, _, _ = segment(tmp_path, results)
    group = pq.read_metadata(path).row_group(0)
    columns = [group.column(index) for index in range(group.num_columns)]
    assert all(column.is_stats_set is (not small or column.path_in_schema in seg.PUBLISHED) for column in columns)
    assert any(column.has_dictionary_page for column in columns) is not small
    errors = len(range(0, rows, 3))
    _, counts = seg.read_about(LocalFiles(), path)
    assert (counts.rows, counts.scored, counts.errors) == (rows, rows - errors, {"Refused": errors})


@pytest.mark.parametrize("rows", [1, 8, 200, 2000])
def test_a_file_encoded_in_memory_has_the_bytes_of_one_that_is_written(rows: int) -> None:
    made = table(*(result(SHARD, n, error="Refused" if n % 3 == 0 else None) for n in range(rows)))
    about, file = seg.about(SHARD, "fingerprint", 0, "run"), io.BytesIO()
    counts = seg.write(file, iter([made]), SCHEMA, about)
    assert seg.encoded(made, SCHEMA, about, counts) == file.getvalue()


def test_counts_of_parts_are_those_of_each_part() -> None:
    schema = result_schema(metrics=["rouge1"], copies=True)
    measured = [{"metric_rouge1": [None]}, {"metric_rouge1": [0.5, None]}, {"metric_rouge1": [0.25]}]
    usage = Usage(10, 2, 1, reasoning_tokens=7, tier="flex")
    results = [
        [result(SHARD, 0, error="Refused")],
        [dataclasses.replace(result(SHARD, 0), usage=usage), dataclasses.replace(result(SHARD, 1), copied_from="a#1")],
        [dataclasses.replace(result(SHARD, 0), usage=None, cost_pico=None)],
    ]
    parts = [
        made(of, schema, "f", lambda _, metrics=metrics: metrics).table
        for of, metrics in zip(results, measured, strict=True)
    ]
    found = list(Counts.of_parts(pa.concat_tables(parts), [1, 2, 1]))
    assert list(map(dataclasses.asdict, found)) == [dataclasses.asdict(Counts.of(part)) for part in parts]
    assert (found[1].tiers, found[1].copied, found[1].unmeasured) == ({"flex": 1}, 1, {"rouge1": 1})


def test_counts_add_up() -> None:
    total = Counts()
    for part in ([result(SHARD, 0), result(SHARD, 1, error="Refused")], [result(SHARD, 2, error="Unreadable")]):
        total.add(Counts.of(table(*part)))
    assert (total.rows, total.scored, total.errors) == (3, 1, {"Refused": 1, "Unreadable": 1})


def test_segment_flipped_bit_is_detected_or_changes_no_value(tmp_path: Path) -> None:
    path, _, _ = segment(tmp_path, [result(SHARD, n) for n in range(200)])
    whole = Path(path).read_bytes()
    before, found = seg.read_columns(LocalFiles(), path, ["row", "score"]), set()
    group = pq.read_metadata(path).row_group(0)
    columns = [group.column(i) for i in range(group.num_columns) if group.column(i).path_in_schema in ("row", "score")]
    for column in columns:
        start = column.dictionary_page_offset or column.data_page_offset
        for place in range(start, start + column.total_compressed_size, 37):
            data = bytearray(whole)
            data[place] ^= 0x10
            Path(path).write_bytes(data)
            try:
                with seg.broken(path):
                    same = seg.read_columns(LocalFiles(), path, ["row", "score"])
            except seg.Broken as error:
                found.add(error.path)
            else:  # it fell on a statistic in a page's header
                assert same.equals(before)
    assert found == {path}


@pytest.mark.parametrize(("group_bytes", "rows"), [(1, [5, 5, 5]), (1 << 20, [15])])
def test_grouped_joins_tables_up_to_group_bytes(
    monkeypatch: pytest.MonkeyPatch, group_bytes: int, rows: list[int]
) -> None:
    monkeypatch.setattr(seg, "GROUP_BYTES", group_bytes)
    tables = [table(*(result(SHARD, n) for n in range(at, at + 5))) for at in (0, 5, 10)]
    groups = list(seg.grouped(iter(tables)))
    assert [group.num_rows for group in groups] == rows
    assert pa.concat_tables(groups).column("row").to_pylist() == list(range(15))
    assert list(seg.grouped(iter([]))) == []


def test_merge_holds_columns_once_that_are_equal_in_all_files(tmp_path: Path) -> None:
    parts = [segment(tmp_path, [result(SHARD, n) for n in range(at, at + 200)]) for at in (0, 200, 400, 600, 800)]
    merged = pa.concat_tables(found for _, _, found in merge(LocalFiles(), parts, SCHEMA))
    first = table(*(result(SHARD, n) for n in range(200)))
    for name in ("shard", "judge", "judge_model", "method", "attempts"):
        assert merged.column(name).get_total_buffer_size() < 2 * first.column(name).get_total_buffer_size()
    assert merged.column("row").to_pylist() == list(range(1000))


def test_segment_row_groups_have_window_rows_or_group_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seg, "WINDOW", 4)
    tables = [table(*(result(SHARD, n) for n in range(at, at + 10))) for at in (0, 10)]
    for group_rows, groups in ((None, 6), (20, 2)):
        with (tmp_path / "s").open("wb") as file:
            counts = seg.write(file, iter(tables), SCHEMA, seg.about(SHARD, "f", 0, ""), group_rows=group_rows)
        assert (counts.rows, pq.read_metadata(tmp_path / "s").num_row_groups) == (20, groups)


# --- merging ----------------------------------------------------------------------------------------------------------

_PART = st.tuples(st.integers(0, 3), st.sets(st.integers(0, 60), max_size=20))


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    parts=st.lists(_PART, max_size=5),
    window=st.sampled_from([7, 64]),
    few=st.sampled_from([(0, 0), (0, 8), (2, 4), (64, 64)]),
)
def test_merge_keeps_newest_result_of_each_row_in_order(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    parts: list[tuple[int, set[int]]],
    window: int,
    few: tuple[int, int],
) -> None:
    monkeypatch.setattr(seg, "WINDOW", window)
    monkeypatch.setattr("scorer.output.merge.FEW_RUNS", few[0])
    monkeypatch.setattr("scorer.output.merge.MANY_RUNS", few[1])
    model: dict[int, tuple[int, float]] = {}
    inputs = []
    for generation, numbers in parts:
        results = [result(SHARD, n, generation=generation, value=n + generation / 10) for n in sorted(numbers)]
        inputs.append(segment(tmp_path, results))
        for number in numbers:
            model[number] = max(model.get(number, (-1, 0.0)), (generation, number + generation / 10))
    upto, rows = None, []
    for start, stop, merged in merge(LocalFiles(), inputs, SCHEMA):
        assert upto in (None, start)
        assert stop - start <= window
        upto = stop
        found = merged.select(["row", "generation", "score"]).to_pylist()
        assert all(start <= row["row"] < stop for row in found)
        rows += [(row["row"], (row["generation"], row["score"])) for row in found]
    assert rows == sorted(model.items())


@pytest.mark.parametrize(("most", "chunks"), [(4, 4), (3, 1)])
def test_merge_of_few_runs_of_rows_does_without_compute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int, chunks: int
) -> None:
    """Four runs of rows: the fewest are not even copied."""
    monkeypatch.setattr("scorer.output.merge.FEW_RUNS", most)
    monkeypatch.setattr("scorer.output.merge.take", lambda *_: pytest.fail("pyarrow.compute is loaded"))
    inputs = [segment(tmp_path, [result(SHARD, n) for n in rows]) for rows in ([0, 1, 2, 6, 7, 8], [3, 4, 5, 9])]
    (merged,) = (rows for _, _, rows in merge(LocalFiles(), inputs, SCHEMA))
    assert merged.column("row").to_pylist() == list(range(10))
    assert merged.column("row").num_chunks == chunks


def test_merge_names_the_unreadable_file(tmp_path: Path) -> None:
    good = segment(tmp_path, [result(SHARD, n) for n in range(5)])
    bad = segment(tmp_path, [result(SHARD, n) for n in range(5, 10)])
    Path(bad[0]).write_bytes(b"PAR1 no more")
    with pytest.raises(seg.Broken) as caught:
        list(merge(LocalFiles(), [good, bad], SCHEMA))
    assert caught.value.path == bad[0]


def test_merge_closes_its_files_when_abandoned(tmp_path: Path) -> None:
    """An unclosed file is a ResourceWarning, and a warning is an error here."""
    inputs = [segment(tmp_path, [result(SHARD, n) for n in range(5)])]
    windows = merge(LocalFiles(), inputs, SCHEMA)
    assert next(windows)[:2] == (0, 5)
    windows.close()  # type: ignore[attr-defined]


def test_merge_closes_a_file_once_all_its_rows_are_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seg, "WINDOW", 10)
    opened: list[BinaryIO] = []

    class Watched(LocalFiles):
        def open(self, path: str) -> BinaryIO:
            opened.append(super().open(path))
            return opened[-1]

    inputs = [segment(tmp_path, [result(SHARD, n) for n in range(first, 40, 4)]) for first in range(4)]
    windows = merge(Watched(), inputs, SCHEMA)
    start, stop, _ = next(windows)
    assert (start, stop) == (0, 10)
    assert [file.closed for file in opened] == [True] * 4
    assert [(start, stop) for start, stop, _ in windows] == [(10, 20), (20, 30), (30, 40)]


def test_a_merge_into_a_file_holds_one_window_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seg, "WINDOW", 10)
    inputs = [segment(tmp_path, [result(SHARD, n) for n in range(first, 40, 4)]) for first in range(4)]
    windows = merge(LocalFiles(), inputs, SCHEMA)
    made: list[weakref.ref[pa.Table]] = []
    held: list[int] = []

    class OneByOne:
        """Holds no table itself, as a generator's frame would."""

        def __iter__(self) -> OneByOne:
            return self

        def __next__(self) -> pa.Table:
            held.append(sum(one() is not None for one in made))
            table = next(windows)[2]
            made.append(weakref.ref(table))
            return table

    counts = seg.write(io.BytesIO(), OneByOne(), SCHEMA, {})
    assert (counts.rows, held) == (40, [0] * 5)


def test_counts_hold_token_sums_beyond_32_bits() -> None:
    one = dataclasses.replace(result(SHARD, 0), usage=Usage(2**40, 3, 0))
    assert Counts.of(table(one)).prompt_tokens == 2**40


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from(["", "Refused", "TooLong", "priced"]), max_size=20), max_size=3),
    st.sampled_from([1, seg.WINDOW]),
)
def test_counts_of_a_table_are_those_of_its_rows(chunks: list[list[str]], copies: int) -> None:
    """In chunks that have nulls, none, or nothing else; beyond a window errors are counted by Arrow."""
    parts = [
        table(*(made_of(number, kind) for number, kind in enumerate(kinds)), schema=SCHEMA) for kinds in chunks
    ] or [table()]
    whole = pa.concat_tables(parts * copies)
    kinds = [kind for part in chunks for kind in part] * copies
    counts = Counts.of(whole)
    wanted = {name: kinds.count(name) for name in ("Refused", "TooLong") if name in kinds}
    assert (counts.rows, counts.errors) == (len(kinds), wanted)
    assert counts.prompt_tokens == 10 * len(kinds)
    assert counts.reasoning_tokens == 7 * kinds.count("priced")


def made_of(number: int, kind: str) -> Result:
    if kind in ("", "priced"):
        usage = Usage(10, 2, 1, reasoning_tokens=7 if kind else None)
        return dataclasses.replace(result(SHARD, number), usage=usage)
    return result(SHARD, number, error=kind)


# --- long rows --------------------------------------------------------------------------------------------------------


def long_results(rows: range, size: int) -> list[Result]:
    """Each keeps the same long text, which Parquet stores once."""
    plain = [result(SHARD, n) for n in rows]
    return [dataclasses.replace(one, row=dataclasses.replace(one.row, kept=("id", "x" * size))) for one in plain]


@pytest.mark.parametrize("size", [10, 3_000, 20_000])
def test_merge_bounds_bytes_in_memory_for_long_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """Files of an earlier version have row groups of up to 4,096 rows, whatever they hold."""
    monkeypatch.setattr(seg, "WINDOW_BYTES", 10_000)
    monkeypatch.setattr("scorer.output.merge.MERGE_BYTES", 40_000)
    monkeypatch.setattr("scorer.output.merge.LEAST_BYTES", 5_000)
    # Interleaved: every window takes rows of each of the four files.
    inputs = [segment(tmp_path, long_results(range(first, 160, 4), size)) for first in range(4)]
    loaded: list[int] = []
    upto = 0
    for start, stop, merged in merge(LocalFiles(), inputs, SCHEMA):
        assert start == upto
        assert merged.column("row").to_pylist() == list(range(start, stop))
        loaded.append(merged.nbytes)
        upto = stop
    assert upto == 160
    assert max(loaded) <= max(10_000, size + 500)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    parts=st.lists(_PART, min_size=1, max_size=5),
    sizes=st.lists(st.sampled_from([0, 10, 2_000, 30_000]), min_size=4, max_size=4),
)
def test_merge_keeps_newest_result_of_rows_of_any_length(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parts: list[tuple[int, set[int]]], sizes: list[int]
) -> None:
    monkeypatch.setattr(seg, "WINDOW_BYTES", 4_000)
    monkeypatch.setattr("scorer.output.merge.LEAST_BYTES", 3_000)
    monkeypatch.setattr("scorer.output.merge.MERGE_BYTES", 3_000)
    model: dict[int, int] = {}
    inputs = []
    for generation, numbers in parts:
        results = []
        for n in sorted(numbers):
            one = result(SHARD, n, generation=generation)
            results.append(dataclasses.replace(one, raw=("r" * sizes[n % 4],)))
            model[n] = max(model.get(n, -1), generation)
        inputs.append(segment(tmp_path, results))
    rows = [
        (row["row"], row["generation"], len(row["raw"][0]))
        for _, _, merged in merge(LocalFiles(), inputs, SCHEMA)
        for row in merged.to_pylist()
    ]
    assert rows == [(n, generation, sizes[n % 4]) for n, generation in sorted(model.items())]


def test_broken_passes_memory_errors_through() -> None:
    with pytest.raises(pa.ArrowMemoryError), seg.broken("s.parquet"):
        raise pa.ArrowMemoryError("malloc of size 4096 failed")
    with pytest.raises(seg.Broken), seg.broken("s.parquet"):
        raise pa.ArrowInvalid("no Parquet")
