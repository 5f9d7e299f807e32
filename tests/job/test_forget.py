"""Promise: a shard can leave a run and come back; no result and no cost is lost."""

from __future__ import annotations

from pathlib import Path

import orjson
import pyarrow.parquet as pq
import pytest
from support.clock import run as in_virtual_time
from support.inprocess import Run
from support.outputs import Crash, Crashing

from scorer.errors import InputError, OutputError, SpecError
from scorer.files.local_files import LocalFiles
from scorer.job.forget import Choice
from scorer.job.reread import reread
from scorer.output.scan import scan_scores
from scorer.output.status import Status


def start(run: Run, choice: Choice, files: LocalFiles | None = None) -> Status:
    return in_virtual_time(run.job(files).run(choice=choice))


def forgotten(run: Run) -> list[str]:
    folder = Path(run.out, "forgotten")
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def shard(run: Run, name: str) -> Path:
    return run.root / "in" / f"{name}.parquet"


def test_forget_removes_the_shard_from_the_run_and_keeps_its_cost_in_the_ledger(tmp_path: Path) -> None:
    run = Run(tmp_path, 10, 10, 10)
    before = run.run()
    after = start(run, Choice(forget=(str(shard(run, "b")),)))
    assert (after.rows, after.scored, after.shards, after.forgotten, after.state) == (20, 20, 2, 1, "complete")
    assert after.cost_usd == before.cost_usd
    assert {"b.json", "b.parquet"} <= set(forgotten(run))
    assert pq.read_metadata(Path(run.out, "forgotten", "b.parquet")).num_rows == 10
    assert run.verify().findings == ()
    assert set(scan_scores(run.out).collect()["shard"]) == {str(shard(run, "a")), str(shard(run, "c"))}
    assert run.run() == after, "it matches input.shards still, and stays forgotten"
    assert start(run, Choice(forget=("b", "b.parquet"))) == after, "twice is once"
    assert run.wire.asked.total() == 30


def test_forget_takes_missing_changed_and_unreadable_shards_so_that_the_others_are_scored(tmp_path: Path) -> None:
    run = Run(tmp_path, 10, 10)
    run.stop_after(1)
    shard(run, "a").write_bytes(b"no Parquet")
    with pytest.raises(OutputError, match="--forget"):
        run.run()
    (tmp_path / "in" / "z.parquet").write_bytes(b"nor this")
    with pytest.raises(InputError, match="--forget"):
        start(run, Choice(forget=("a.parquet",)))
    found = start(run, Choice(forget=("a.parquet", "z.parquet")))
    assert (found.scored, found.pending, found.forgotten) == (10, 0, 2)
    assert run.verify().findings == ()
    assert start(run, Choice(forget=("b",))).rows == 0


def test_remember_sends_no_stored_row_again(tmp_path: Path) -> None:
    run = Run(tmp_path, 10, 90)
    run.stop_after(60)
    parts, asked = run.segments("b"), run.wire.asked.copy()
    assert parts
    assert start(run, Choice(forget=("a", "b"))).forgotten == 2
    assert not run.segments("b")
    assert not run.sealed("a").exists()
    (tmp_path / "in" / "c.parquet").write_bytes(b"no Parquet")
    start(run, Choice(forget=("c",)))
    (tmp_path / "in" / "c.parquet").unlink()
    start(run, Choice(remember=("a", "b", "c")))
    assert forgotten(run) == []
    run.exact()
    assert run.twice() == set()
    assert asked <= run.wire.asked


@pytest.mark.parametrize(("step", "after"), [*((step, False) for step in range(8)), (7, True)])
@pytest.mark.parametrize("back", [False, True])
def test_forget_and_remember_lose_nothing_in_a_crash_at_any_step(
    tmp_path: Path, step: int, after: bool, back: bool
) -> None:
    run = Run(tmp_path, 10, 90, flush_rows=10)
    run.stop_after(60)
    stored = {int(name[1:]) for name in scan_scores(run.out).collect()["id"]}
    assert len(run.segments("b")) > 2
    if back:
        start(run, Choice(forget=("b",)))
    choice = Choice(remember=("b",)) if back else Choice(forget=("b",))
    with pytest.raises(Crash):
        start(run, choice, Crashing(step, after=after))
    start(run, choice)
    start(run, Choice(remember=("b",)))
    run.exact()
    assert not run.twice() & stored


def test_forget_refuses_a_name_that_matches_no_shard_or_several(tmp_path: Path) -> None:
    run = Run(tmp_path, 5)
    run.run()
    before = Path(run.out, "run.json").read_bytes()
    with pytest.raises(SpecError, match=r"--forget nobody matches no shard of this run. Its shards: .*a\.parquet"):
        start(run, Choice(forget=("nobody",)))
    with pytest.raises(SpecError, match="--remember nobody matches no shard"):
        start(run, Choice(remember=("nobody",)))
    assert Path(run.out, "run.json").read_bytes() == before


def test_rebuilt_run_json_lists_the_forgotten_shards(tmp_path: Path) -> None:
    run = Run(tmp_path, 5, 5)
    run.run()
    found = start(run, Choice(forget=("b",)))
    Path(run.out, "run.json").unlink()
    assert run.run() == found
    assert [one["stem"] for one in orjson.loads(Path(run.out, "run.json").read_bytes())["forgotten"]] == ["b"]


def test_remember_refuses_results_of_another_fingerprint(tmp_path: Path) -> None:
    run = Run(tmp_path, 5, 5)
    run.run()
    start(run, Choice(forget=("b",)))
    path = Path(run.out, "forgotten", "b.parquet")
    reread(LocalFiles(), run.out, ["judge.scale=[1, 20]"])
    with pytest.raises(OutputError, match=r"b\.parquet was scored before .* and cannot come back"):
        in_virtual_time(run.job(scale=[1, 20]).run(choice=Choice(remember=("b",))))
    assert path.exists()


def test_remember_refuses_a_damaged_file(tmp_path: Path) -> None:
    run = Run(tmp_path, 5, 5)
    run.run()
    start(run, Choice(forget=("b",)))
    path = Path(run.out, "forgotten", "b.parquet")
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(OutputError, match=r"b\.parquet is damaged"):
        start(run, Choice(remember=("b",)))
