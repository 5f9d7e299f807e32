"""Promise: shards are known by their footers: moved input is found, and what cannot be reached is said."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.clock import run as in_virtual_time
from support.inprocess import Run

from scorer.analysis.open_table import open_table
from scorer.errors import OutputError
from scorer.files.local_files import LocalFiles
from scorer.job.forget import Choice
from scorer.job.reread import reread
from scorer.output.status import Status
from scorer.output.verify.folder import verify


class Relative(Run):
    """A run whose paths are relative to the folder where it began."""

    shards_from = "in/*.parquet"

    def job(self, *args: Any, **judge: Any) -> Any:
        job = super().job(*args, **judge)
        object.__setattr__(job.plan.spec.input, "shards", (self.shards_from,))
        return job


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Relative:
    (tmp_path / "began").mkdir()
    monkeypatch.chdir(tmp_path / "began")
    run = Relative(tmp_path / "began", 90, 5, keep=["response"])
    for path in run.shards:
        table = pq.read_table(path)
        task = pa.array(["t"] * table.num_rows)
        pq.write_table(table.append_column("task", task), path)
    run.stop_after(20)
    return run


def goes_on(run: Run, asked: int = 95) -> Status:
    found = run.run()
    assert (found.scored, found.pending) == (95, 0)
    assert run.wire.asked.total() == asked
    return found


def shard_names(run: Run) -> set[str]:
    frame = open_table(run.out).collect()
    return set(frame["shard"])


def test_run_resumes_with_the_same_input_under_another_path(run: Relative) -> None:
    run.shards_from = f"{run.root}/in/*.parquet"
    goes_on(run)
    assert shard_names(run) == {"in/a.parquet", "in/b.parquet"}
    assert verify(LocalFiles(), run.out).findings == ()


def test_run_resumes_and_is_analysed_from_another_working_directory(
    run: Relative, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run.root / "else").mkdir()
    monkeypatch.chdir(run.root / "else")
    run.shards_from = "../in/*.parquet"
    goes_on(run)
    monkeypatch.chdir("/")
    frame = open_table(run.out).collect()
    assert frame["task"].null_count() == 0
    assert verify(LocalFiles(), run.out).unchecked == ()
    assert reread(LocalFiles(), run.out, ["judge.scale=[1, 20]"]).scored == 95


def test_open_table_and_verify_find_the_input_of_a_moved_folder(run: Relative, monkeypatch: pytest.MonkeyPatch) -> None:
    goes_on(run)
    moved = run.root.parent / "moved"
    shutil.move(run.root, moved)
    monkeypatch.chdir(run.root.parent)
    frame = open_table(moved / "out").collect()
    assert frame["task"].null_count() == 0
    found = verify(LocalFiles(), str(moved / "out"))
    assert (found.findings, found.unchecked) == ((), ())


def test_run_finds_moved_and_renamed_shards_by_footer(run: Relative) -> None:
    (run.root / "new").mkdir()
    for name in "ab":
        os.rename(run.root / "in" / f"{name}.parquet", run.root / "new" / f"renamed-{name}.parquet")
    run.shards_from = "new/*.parquet"
    goes_on(run)
    assert shard_names(run) == {"in/a.parquet", "in/b.parquet"}
    found = verify(LocalFiles(), run.out)
    assert (found.findings, found.unchecked) == ((), ())
    goes_on(run)


@pytest.mark.parametrize("moved", [True, False])
def test_forgotten_shard_stays_forgotten_under_another_path_or_after_a_move(
    run: Relative, monkeypatch: pytest.MonkeyPatch, moved: bool
) -> None:
    assert in_virtual_time(run.job().run(choice=Choice(forget=("b",)))).rows == 90
    if moved:
        os.rename(run.root / "in" / "b.parquet", run.root / "in" / "c.parquet")
    monkeypatch.chdir("/")
    run.shards_from = f"{run.root}/in"
    found = run.run()
    assert (found.rows, found.forgotten, run.wire.asked.total()) == (90, 1, 90)


def test_run_refuses_another_file_at_an_old_path_and_finds_the_moved_shard(run: Relative) -> None:
    os.rename(run.root / "in" / "b.parquet", run.root / "in" / "c.parquet")
    pq.write_table(pa.table({"id": ["r200"], "response": ["x"], "task": ["t"]}), run.root / "in" / "b.parquet")
    run.shards_from = "in/[ab].parquet"
    with pytest.raises(OutputError):
        run.run()
    run.shards_from = "in/[ac].parquet"
    goes_on(run)


@pytest.mark.parametrize("what", ["gone", "another"])
def test_open_table_works_without_input_and_verify_reports_what_is_unchecked(run: Relative, what: str) -> None:
    goes_on(run)
    shutil.rmtree(run.root / "in")
    if what == "another":
        (run.root / "in").mkdir()
        pq.write_table(pa.table({"id": ["x"], "task": ["other"]}), run.root / "in" / "a.parquet")
    frame = open_table(run.out)
    assert "task" not in frame.collect_schema()
    assert len(frame.collect()) == 95
    found = verify(LocalFiles(), run.out)
    if what == "gone":
        assert found.complete
        assert len(found.unchecked) == 2
        assert "in/a.parquet: the input is not where it was" in found.unchecked[0]
    else:
        assert [one for one in found.findings if "a.parquet: the input shard changed" in one]


def test_open_table_leaves_null_for_rows_of_a_missing_shard(run: Relative) -> None:
    goes_on(run)
    (run.root / "in" / "b.parquet").unlink()
    frame = open_table(run.out).collect()
    assert (len(frame), frame["task"].null_count()) == (95, 5)


def test_run_adds_locations_to_a_run_json_without_them(run: Relative) -> None:
    path = Path(run.out, "run.json")
    stored = orjson.loads(path.read_bytes())
    old = {name: value for name, value in stored.items() if name not in ("began", "home")}
    old["shards"] = [{name: value for name, value in one.items() if name != "at"} for one in stored["shards"]]
    path.write_bytes(orjson.dumps(old))
    assert verify(LocalFiles(), run.out).unchecked == ()
    goes_on(run)
    new = orjson.loads(path.read_bytes())
    assert (new["began"], new["home"]) == (str(run.root), run.out)
    assert [one["at"] for one in new["shards"]] == ["", ""]
