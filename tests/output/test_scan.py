"""Promise: at any moment of a run, `scan_scores` and other tools read each row once, with its newest result."""

from __future__ import annotations

from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.clock import run
from support.outputs import SCHEMA, Output, publish, result

from scorer.errors import SpecError
from scorer.output.scan import scan_scores


def rows(output: Output) -> list[tuple[str, int]]:
    """What a scan finds, as (stem, row)."""
    found = scan_scores(output.layout.out).select("shard", "row").collect()
    return [(Path(shard).stem, row) for shard, row in found.rows()]


def test_scan_scores_without_results_has_columns_and_no_rows(tmp_path: Path) -> None:
    output = Output(tmp_path, 3)
    found = scan_scores(output.layout.out).collect()
    assert found.height == 0
    assert {"shard", "row", "score", "error", "generation"} <= set(found.columns)
    assert scan_scores(output.layout.out, join_input=True).collect().height == 0


def test_scan_scores_reads_each_finished_row_once_during_and_after_a_run(tmp_path: Path) -> None:
    async def scenario() -> None:
        output = Output(tmp_path, 4, 3, 0, 2)
        store = output.store()
        list(store.work(output.shards))
        a, b, _, d = output.shards
        await publish(store, [result(a, n) for n in (3, 0)])
        await publish(store, [result(b, 1, error="Refused")])
        assert rows(output) == [("a", 0), ("a", 3), ("b", 1)]
        await publish(store, [result(a, n) for n in (1, 2)])  # sealed, and its segments still lie beside it
        assert output.sealed().exists()
        assert output.segments()
        await publish(store, [result(d, n) for n in (1, 0)])
        assert rows(output) == [*(("a", n) for n in range(4)), ("d", 0), ("d", 1), ("b", 1)]
        await publish(store, [result(b, n) for n in (0, 2)])
        output.store()
        assert sorted(rows(output)) == [(stem, n) for stem, size in (("a", 4), ("b", 3), ("d", 2)) for n in range(size)]

    run(scenario())


def test_scan_scores_reads_newest_results_during_a_retry(tmp_path: Path) -> None:
    async def scenario() -> None:
        output = Output(tmp_path, 4)
        await output.score({0: [1, 2, 3]}, error="Unavailable")
        await output.score({0: [0]})
        await output.retry(only=2)
        found = scan_scores(output.layout.out).select("row", "score", "generation").collect()
        assert found.rows() == [(0, 0.0, 0), (1, 1.0, 1), (2, 2.0, 1), (3, None, 0)]
        await output.retry()
        found = scan_scores(output.layout.out).select("row", "score", "generation").collect()
        assert found.rows() == [(0, 0.0, 0), (1, 1.0, 1), (2, 2.0, 1), (3, 3.0, 1)]

    run(scenario())


def test_scan_scores_joins_input_columns(tmp_path: Path) -> None:
    async def scenario() -> None:
        output = Output(tmp_path, 3, 2)
        await output.score({0: range(3), 1: [1]})
        found = scan_scores(output.layout.out, join_input=True)
        first = ["id", "task", "score", "reason", "error", "error_detail", "response", "shard", "row"]
        assert found.collect_schema().names() == [*first, *(name for name in SCHEMA.names if name not in first)]
        assert found.select("id", "response").collect().rows() == [
            ("a0", "said"),
            ("a1", "said"),
            ("a2", "said"),
            ("b1", "said"),
        ]

    run(scenario())


def test_scan_scores_prefers_result_columns_over_input_columns_of_equal_name(tmp_path: Path) -> None:
    async def scenario() -> None:
        output = Output(tmp_path, 2)
        await output.score({0: range(2)})
        table = pa.table({"row": ["x", "y"], "shard": [1, 2], "score": [9.0, 9.0], "id": ["a0", "a1"], "more": [1, 2]})
        pq.write_table(table, output.shards[0].path)
        found = scan_scores(output.layout.out, join_input=True).select("row", "score", "more").collect()
        assert found.rows() == [(0, 0.0, 1), (1, 1.0, 2)]

    run(scenario())


def test_result_files_are_readable_by_duckdb_polars_and_pyarrow(tmp_path: Path) -> None:
    async def scenario() -> None:
        output = Output(tmp_path, 5, 3)
        await output.score({0: range(5), 1: [2]}, error="Refused")
        await output.score({1: [0]})
        scores, segments = f"{output.layout.scores}/*.parquet", f"{output.layout.segments}/b/*.parquet"
        asked = "select count(*), count(error), min(typeof(score)), min(typeof(finished_at)) from '{}'"
        assert duckdb.execute(asked.format(scores)).fetchall() == [(5, 5, "DOUBLE", "TIMESTAMP WITH TIME ZONE")]
        both = (
            f"select row, error from read_parquet(['{scores}', '{segments}']) where shard like '%b.parquet' order by 1"
        )
        assert duckdb.execute(both).fetchall() == [(0, None), (2, "Refused")]
        sealed = pl.scan_parquet(scores)
        assert sealed.select(pl.len(), pl.col("error").count()).collect().row(0) == (5, 5)
        assert sealed.collect_schema() == pl.scan_parquet(segments).collect_schema()
        assert pq.read_table(output.layout.scores).num_rows == 5

    run(scenario())


def test_scan_scores_refuses_a_folder_without_a_run(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"holds no run: there is no run\.json in it"):
        scan_scores(str(tmp_path))
