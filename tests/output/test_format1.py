"""Promise: a folder of scorer 0.1.0 can be read, verified, resumed, retried, reread and published.

tests/folders/format1 was written by commit 902cb3a: shard a is sealed, four rows of b are in a segment, c is not begun.
Two rows are `Refused`. Its input has columns `model` and `score` of its own, which are not kept. `table` is a Delta
table of shard a.
"""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import orjson
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.clock import inline
from support.clock import run as in_virtual_time
from support.inprocess import Wire, own_score

from scorer.build.assemble import make_client
from scorer.build.plan import check
from scorer.config.loader import read_toml, set_values
from scorer.files.local_files import LocalFiles
from scorer.job.job import Job
from scorer.job.reread import reread
from scorer.job.retry import Retry
from scorer.output import schema
from scorer.output import segments as seg
from scorer.output.layout import Layout
from scorer.output.manifest import FORMAT, load
from scorer.output.scan import scan_scores
from scorer.output.schema import (
    COLUMNS,
    Column,
    fitted,
    result_schema,
)
from scorer.output.status import Status, status
from scorer.output.verify.folder import verify
from scorer.publish.publish import publish

FOLDER = Path(__file__).parent / "folders" / "format1"
ROWS = {"in/a.parquet": range(5), "in/b.parquet": range(5, 11), "in/c.parquet": range(11, 14)}
STORED, REFUSED = set(range(9)), {1, 7}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the folder, as the current one: its paths are relative."""
    shutil.copytree(FOLDER, tmp_path / "run")
    monkeypatch.chdir(tmp_path / "run")
    return tmp_path / "run"


def go_on(wire: Wire, retry: Retry | None = None, *sets: str) -> Status:
    """The next start, by the same run file."""
    plan = check(set_values(read_toml("run.toml"), list(sets)))
    job = Job(plan, LocalFiles(), offload=inline, wall_s=lambda: 1.8e9, connect=partial(make_client, transport=wire))
    return in_virtual_time(job.run(retry))


def findings() -> list[str]:
    return list(verify(LocalFiles(), "out").findings)


def expected(number: int, refused: set[int]) -> tuple[int, float | None, str | None]:
    return (number, None, "Refused") if number in refused else (number, own_score(number), None)


def scores() -> pl.DataFrame:
    return scan_scores("out", join_input=True).collect().sort("shard", "row")


def test_format1_reads_judge_model_beside_the_input_column_model() -> None:
    assert load(LocalFiles(), Layout("out")).format == 1  # type: ignore[union-attr]
    assert "model" in pq.read_schema("out/scores/a.parquet").names
    found = status(LocalFiles(), "out")
    assert (found.scored, found.failed, found.pending, found.sealed) == (7, 2, 5, 1)
    frame = scores()
    assert set(result_schema().names) <= set(frame.columns)
    assert frame["judge_model"].to_list() == [None if n in REFUSED else "wire" for n in range(9)]
    assert frame["model"].to_list() == [("alder", "birch")[n % 2] for n in range(9)]
    assert frame["input_score"].to_list() == [float(n % 10) for n in range(9)]
    assert frame["score"].to_list() == [expected(n, REFUSED)[1] for n in range(9)]


def test_format1_verify_reports_missing_rows_and_no_damage() -> None:
    verdict = verify(LocalFiles(), "out")
    assert verdict.damaged == ()
    assert verdict.findings == (
        "in/b.parquet: 2 of 6 rows have no result yet",
        "in/c.parquet: 3 of 3 rows have no result yet",
    )


def test_format1_verify_finds_a_missing_column() -> None:
    path = "out/segments/b/g0-w0-000000000-000000003-0.parquet"
    about, _ = seg.read_about(LocalFiles(), path)
    table = pq.read_table(path).replace_schema_metadata().drop_columns(["judge"])
    with LocalFiles().create(path) as file:
        seg.write(file, iter([table]), table.schema, about)
    assert f"{path}: lacks the columns judge" in findings()


def test_format1_run_asks_only_rows_without_a_result_and_writes_format_2() -> None:
    wire = Wire()
    done = go_on(wire)
    assert set(wire.asked) == set(range(9, 14))
    assert max(wire.asked.values()) == 1
    assert (done.state, done.scored, done.errors) == ("complete", 12, {"Refused": 2})
    assert load(LocalFiles(), Layout("out")).format == FORMAT  # type: ignore[union-attr]
    assert findings() == []
    frame = scores()
    rows = [(int(name[1:]), score, error) for name, score, error in frame.select("id", "score", "error").rows()]
    assert rows == [expected(n, REFUSED) for n in range(14)]
    assert frame["judge_model"].to_list() == [None if n in REFUSED else "wire" for n in range(14)]
    assert frame["model"].to_list() == [("alder", "birch")[n % 2] for n in range(14)]
    # The file that 0.1.0 sealed stays as it is; the one that is sealed now has today's columns, also for its old rows.
    assert "model" in pq.read_schema("out/scores/a.parquet").names
    sealed = pq.read_table("out/scores/b.parquet")
    assert sealed.schema.names[-len(result_schema().names) :] != []
    assert sealed.column("judge_model").to_pylist() == ["wire", "wire", None, "wire", "wire", "wire"]
    assert "model" not in sealed.schema.names
    again = Wire()
    assert go_on(again).state == "complete"
    assert not again.asked


def test_format1_retry_asks_only_failed_rows() -> None:
    wire = Wire()
    go_on(wire, Retry(("Refused",)))
    assert set(wire.asked) == REFUSED
    go_on(wire)
    assert set(wire.asked) == REFUSED | set(range(9, 14))
    assert max(wire.asked.values()) == 1
    assert findings() == []
    assert scores()["score"].to_list() == [own_score(n) for n in range(14)]
    assert pq.read_table("out/scores/a.parquet").column("judge_model").to_pylist() == ["wire"] * 5


def test_format1_run_json_is_rebuilt_from_its_files() -> None:
    Path("out/run.json").unlink()
    wire = Wire()
    assert go_on(wire).state == "complete"
    assert set(wire.asked) == set(range(9, 14))
    assert findings() == []


def test_format1_reread_makes_no_request() -> None:
    done = reread(LocalFiles(), "out", ["judge.scale=[1, 5]"])
    assert done.scored == sum(1 for n in STORED - REFUSED if own_score(n) <= 5)
    assert scores()["judge_model"].to_list() == [None if n in REFUSED else "wire" for n in range(9)]
    assert load(LocalFiles(), Layout("out")).format == FORMAT  # type: ignore[union-attr]


@pytest.mark.slow
def test_format1_publish_adds_only_unpublished_rows() -> None:
    """Slow: deltalake."""
    deltalake = pytest.importorskip("deltalake")
    assert publish(LocalFiles(), "out", "delta://table").committed == 0
    go_on(Wire())
    assert publish(LocalFiles(), "out", "delta://table").committed == 2
    rows = pa.table(deltalake.DeltaTable("table").to_pyarrow_table()).sort_by("id").to_pylist()
    assert len(rows) == 14
    assert {row["model"] or row["judge_model"] for row in rows} == {"wire", None}
    assert publish(LocalFiles(), "out", "delta://fresh").committed == 3
    fresh = deltalake.DeltaTable("fresh").to_pyarrow_table()
    assert "model" not in fresh.schema.names
    assert fresh.column("judge_model").to_pylist().count("wire") == 12


def test_status_refuses_run_json_of_a_future_format() -> None:
    stored = orjson.loads(Path("out/run.json").read_bytes())
    Path("out/run.json").write_bytes(orjson.dumps({**stored, "format": 3}))
    with pytest.raises(Exception, match="has format 3, and this version of scorer reads 1 and 2"):
        status(LocalFiles(), "out")


# --- columns that are younger than a file -----------------------------------------------------------------------------


def test_fitted_fills_a_missing_nullable_column_with_null_and_refuses_a_required_one() -> None:
    stored = pa.table({"row": [1], "model": ["m"]})
    nullable = pa.schema(
        [pa.field("row", pa.int64(), nullable=False), ("judge_model", pa.string()), ("tier", pa.string())]
    )
    assert fitted(stored, nullable).to_pylist() == [{"row": 1, "judge_model": "m", "tier": None}]
    with pytest.raises(ValueError, match="other columns: judge"):
        fitted(stored, nullable.append(pa.field("judge", pa.string(), nullable=False)))
    with pytest.raises(ValueError, match="other columns: judge_model"):
        fitted(stored, pa.schema([("row", pa.int64())]))


def test_fitted_reads_an_added_column_as_null_in_old_files(monkeypatch: pytest.MonkeyPatch) -> None:
    later = Column("later", pa.string(), lambda of: ["now" for _ in of.results], added=True)
    monkeypatch.setattr("scorer.output.schema.COLUMNS", (*COLUMNS, later))
    monkeypatch.setattr("scorer.output.schema._result_schema", schema._result_schema.__wrapped__)  # not the kept ones
    monkeypatch.setattr("scorer.output.tables.COLUMNS", (*COLUMNS, later))
    go_on(Wire())
    assert findings() == []
    assert scores()["later"].to_list() == [None] * 9 + ["now"] * 5
