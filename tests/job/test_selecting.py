"""`--sample` and `input.where`: which rows a start asks for, what a later start counts as finished."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import BinaryIO, ClassVar

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.clock import run as in_virtual_time
from support.inprocess import Run, own_score
from support.outputs import Crash, Crashing

from scorer import scan_scores
from scorer.errors import InputError, Interrupted, SpecError
from scorer.files.local_files import LocalFiles
from scorer.inputs.sample import parse_sample
from scorer.inputs.where import Where
from scorer.job.estimate import estimate
from scorer.job.forget import Choice
from scorer.job.reread import reread
from scorer.job.retry import Retry
from scorer.job.selecting import _nth_smallest, select
from scorer.output.layout import Layout
from scorer.output.manifest import load
from scorer.output.selection import Selection, hashes
from scorer.output.status import status
from scorer.types import Shard

LOW = "row_number < 10"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path, 40, 60, keep=["response"])


def scored(run: Run) -> dict[str, float]:
    found = scan_scores(run.out).select("id", "score").collect()
    return dict(zip(found["id"], found["score"], strict=True))


def right(run: Run) -> None:
    """Every stored row has its own score, each once."""
    found = scored(run)
    assert found == {name: own_score(int(name[1:])) for name in found}
    assert scan_scores(run.out).collect().select(pl.struct("shard", "row").is_unique().all()).item()


# --- --sample ---------------------------------------------------------------------------------------------------------


def test_sample_asks_so_many_rows_and_a_full_run_asks_only_the_others(run: Run) -> None:
    first = run.run(sample="10")

    assert (first.rows, first.scored, first.pending, first.state) == (10, 10, 0, "complete")
    assert first.selection == {"where": None, "sample": "10", "rows": 10, "of": 100}
    assert run.wire.asked.total() == 10
    assert run.verify().findings == ()
    whole = run.run()
    assert (whole.rows, whole.scored, whole.selection) == (100, 100, None)
    assert run.wire.asked.total() == 100
    assert run.twice() == set()
    run.exact()


def test_sample_is_spread_over_all_shards_and_a_larger_one_holds_a_smaller_one(run: Run) -> None:
    run.run(sample="10")
    ten = set(scored(run))
    run.run(sample="50%")
    fifty = set(scored(run))

    assert len(ten) == 10
    assert len(fifty) == 50
    assert ten < fifty
    assert run.twice() == set()
    assert {int(name[1:]) < 40 for name in ten} == {True, False}


def test_smaller_sample_counts_its_rows_alone_and_removes_none(run: Run) -> None:
    run.run(sample="50")
    smaller = run.run(sample="10")

    assert (smaller.rows, smaller.scored, smaller.pending) == (10, 10, 0)
    assert len(scored(run)) == 50
    assert run.verify().findings == ()


def test_sample_of_a_finished_run_asks_nothing(run: Run) -> None:
    run.run()
    found = run.run(sample="7")

    assert (found.rows, found.scored, found.pending, found.state) == (7, 7, 0, "complete")
    assert run.wire.asked.total() == 100
    run.exact()


def test_sample_survives_a_stop(run: Run) -> None:
    job = run.job()
    run.wire.then = lambda: job.stop() if run.wire.asked.total() >= 5 else None
    with pytest.raises(Interrupted):
        in_virtual_time(job.run(choice=Choice(sample="30")))
    run.wire.then = lambda: None
    stopped = status(LocalFiles(), run.out)
    assert stopped.rows == 30
    assert 0 < stopped.scored < 30
    assert stopped.state == "interrupted"
    assert run.run(sample="30").scored == 30
    assert run.twice() == set()


def test_retry_keeps_the_sample(run: Run) -> None:
    run.wire.refuses = set(range(100))
    run.run(sample="10")
    run.wire.refuses = set()
    found = run.run(retry=Retry())

    assert (found.rows, found.scored, found.failed) == (10, 10, 0)
    assert len(scored(run)) == 10


def test_sample_of_no_rows_is_complete(tmp_path: Path) -> None:
    run = Run(tmp_path, 0)
    assert run.run(sample="1%").rows == 0
    assert run.verify().findings == ()


@pytest.mark.parametrize("text", ["0", "-3", "ten", "0%", "101%", "", "%", "1.5", "nan%", "1e3"])
def test_sample_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match="Give a number of rows such as 100, or a share"):
        parse_sample(text)


def test_sample_that_is_none_is_refused_before_the_folder_is_made(run: Run) -> None:
    with pytest.raises(SpecError, match="is no sample"):
        run.run(sample="ten")
    assert not Path(run.out).exists()


def test_plan_counts_the_rows_that_the_run_takes(run: Run) -> None:
    plan = run.job().plan
    found = estimate(plan, LocalFiles(), sample="10")
    assert (found.rows, found.requests) == (10, 10)
    where = run.job(where="id in ('r1', 'r50', 'r99')").plan
    assert estimate(where, LocalFiles()).rows == 3
    assert estimate(where, LocalFiles(), sample="34%").rows == 2


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=50, unique=True), st.data())
def test_nth_smallest_is_that_of_sorting(numbers: list[int], data: st.DataObject) -> None:
    wanted = data.draw(st.integers(1, len(numbers)))
    cut = data.draw(st.integers(0, len(numbers)))
    pieces = [np.array(part, dtype=np.uint64) for part in (numbers[:cut], numbers[cut:])]
    assert _nth_smallest(lambda: iter(pieces), wanted) == sorted(numbers)[wanted - 1]


def test_hashes_are_those_of_before_and_even() -> None:
    """A sample must be the same in every version: rows that were paid for count."""
    shard = Shard("in/a.parquet", "a", 1, "", 100_000, "f")
    assert hashes(shard, 0, 3).tolist() == [16871167168573681822, 14059565669380331260, 13559611468482329819]
    found = hashes(shard, 0, 100_000)
    assert hashes(shard, 500, 600).tolist() == found[500:600].tolist()
    share = np.histogram(found.astype(float), bins=10)[0] / 100_000
    assert abs(share - 0.1).max() < 0.005


# --- input.where ------------------------------------------------------------------------------------------------------


def test_where_asks_the_rows_for_which_it_is_true_and_seals_them(run: Run) -> None:
    found = run.run(where="id like '%5'")

    names = {f"r{n}" for n in range(5, 100, 10)}
    assert (found.rows, found.scored, found.state, found.sealed) == (10, 10, "complete", 2)
    assert set(scored(run)) == names
    assert found.selection == {"where": "id like '%5'", "sample": None, "rows": 10, "of": 100}
    assert pq.read_table(run.sealed()).column("row").to_pylist() == [5, 15, 25, 35]
    assert run.verify().findings == ()
    right(run)


def test_wider_where_opens_sealed_shards_again_and_asks_only_new_rows(run: Run) -> None:
    run.run(where="id like '%5'")
    wider = run.run(where="id like '%5' or id like '%6'")

    assert (wider.rows, wider.scored, wider.sealed) == (20, 20, 2)
    assert run.twice() == set()
    assert run.verify().findings == ()
    run.run()
    assert run.twice() == set()
    run.exact()


def test_narrower_where_removes_no_row(run: Run) -> None:
    run.run()
    narrow = run.run(where="id like '%5'")

    assert (narrow.rows, narrow.scored, narrow.pending) == (10, 10, 0)
    assert len(scored(run)) == 100
    assert run.verify().findings == ()
    assert run.run().rows == 100
    assert run.wire.asked.total() == 100
    run.exact()


def test_other_where_in_mid_run_keeps_what_is_stored(run: Run) -> None:
    job = run.job(where="id like '%5' or id like '%6'")
    run.wire.then = lambda: job.stop() if run.wire.asked.total() >= 6 else None
    with pytest.raises(Interrupted):
        in_virtual_time(job.run())
    run.wire.then = lambda: None
    found = run.run(where="id like '%6' or id like '%7'")

    assert (found.rows, found.scored, found.sealed) == (20, 20, 2)
    assert run.twice() == set()
    assert run.verify().findings == ()
    right(run)


def test_start_reads_each_mask_once_for_where_and_sample(run: Run) -> None:
    class Counting(LocalFiles):
        opened: ClassVar[list[str]] = []

        def open(self, path: str) -> BinaryIO:
            self.opened.append(path)
            return super().open(path)

    where = "id <> 'r3'"
    plan = run.job(where=where).plan
    run.run(where=where, sample="5")
    layout = Layout(run.out)
    select(plan, Counting(), layout, load(LocalFiles(), layout), "9")
    masks = [path for path in Counting.opened if path.startswith(layout.selection)]
    assert len(masks) == len(set(masks)) == 2


def test_where_and_sample_together(run: Run) -> None:
    found = run.run(where="id like '%5' or id like '%6'", sample="50%")
    assert (found.rows, found.scored) == (10, 10)
    assert all(name[-1] in "56" for name in scored(run))
    assert run.run(where="id like '%5' or id like '%6'").scored == 20
    assert run.twice() == set()


def test_null_is_not_true_and_no_row_may_belong(run: Run) -> None:
    found = run.run(where="response is null")
    assert (found.rows, found.state, found.sealed) == (0, "complete", 2)
    assert run.wire.asked.total() == 0
    assert run.verify().findings == ()


def test_retry_and_reread_of_a_run_with_where(run: Run) -> None:
    run.wire.refuses = {5, 55}
    run.run(where="id like '%5'")
    run.wire.refuses = set()
    found = run.run(retry=Retry(), where="id like '%5'")
    assert (found.rows, found.scored, found.failed) == (10, 10, 0)
    assert run.verify().findings == ()
    again = reread(LocalFiles(), run.out, ["judge.read=label", "judge.labels=[1,2,3,4,5,6,7,8,9,10]"])
    assert (again.rows, again.scored) == (10, 10)
    assert run.verify().findings == ()


def test_selection_that_is_lost_is_told_and_made_anew(run: Run) -> None:
    run.run(where="id like '%5'")
    shutil.rmtree(Path(run.out, "selection"))

    assert "does not say which rows" in run.verify().findings[0]
    assert run.run(where="id like '%5'").scored == 10
    assert run.verify().findings == ()
    assert run.wire.asked.total() == 10


def test_files_of_other_conditions_are_deleted(run: Run) -> None:
    run.run(where="id like '%5'")
    run.run(where="id like '%6'")
    assert len(list(Path(run.out, "selection").iterdir())) == 2
    run.run()
    assert list(Path(run.out, "selection").iterdir()) == []


def test_manifest_keeps_the_selection(run: Run) -> None:
    run.run(where="id like '%5'", sample="3")
    manifest = load(LocalFiles(), Layout(run.out))
    assert manifest is not None
    selection = manifest.selection
    assert isinstance(selection, Selection)
    assert (selection.where, selection.sample, manifest.rows) == ("id like '%5'", "3", 3)
    assert sum(selection.belonging.values()) == 10


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("step", range(9))
def test_crash_at_any_step_of_widening_loses_no_row(tmp_path: Path, step: int, after: bool) -> None:
    run = Run(tmp_path, 20)
    run.run(where="id like '%5'")
    stored = scored(run)
    with contextlib.suppress(Crash):
        run.run(Crashing(step, after=after), where="id like '%5' or id like '%6'")
    assert stored.items() <= scored(run).items()
    found = run.run(where="id like '%5' or id like '%6'")
    assert (found.rows, found.scored, found.sealed) == (4, 4, 1)
    assert not run.twice() & {int(name[1:]) for name in stored}
    assert run.verify().findings == ()


@pytest.mark.parametrize("where", ["id like '%5'", None])
def test_lost_run_json_of_a_run_with_where_is_made_anew(run: Run, where: str | None) -> None:
    run.run(where="id like '%5'")
    Path(run.out, "run.json").unlink()
    found = run.run(where=where)
    assert found.scored == found.rows == (10 if where else 100)
    assert run.twice() == set()
    assert run.verify().findings == ()


@pytest.mark.parametrize(
    ("condition", "why"),
    [
        ("n >", "unable to parse"),
        ("n > avg(n)", "an aggregate"),
        ("count(*) > n", "count"),
        ("row_number() over (order by n) < 3", "a window function"),
        ("true", "names no column"),
        ("a, b", "unexpected token"),
        ("n in (select n from other)", "other"),
    ],
)
def test_condition_that_is_none_is_refused(condition: str, why: str) -> None:
    with pytest.raises(SpecError) as caught:
        Where(condition)
    assert why in str(caught.value)
    assert "input.where" in str(caught.value)


def test_condition_on_a_column_that_is_not_there_is_refused_before_anything_is_asked(run: Run) -> None:
    with pytest.raises(InputError, match="has no column 'task'"):
        run.run(where="task = 'x'")
    assert run.wire.asked.total() == 0


@pytest.mark.parametrize(("condition", "why"), [("response > 3", "response is String"), ("id", "not true or false")])
def test_condition_that_does_not_fit_the_types_is_refused(run: Run, condition: str, why: str) -> None:
    with pytest.raises(InputError, match=why):
        run.run(where=condition)
    assert run.wire.asked.total() == 0
