"""Promise: each pick has the rows that polars finds by its definition, counts all of its kind, and is repeatable."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from support.finished_runs import finished_run
from support.recorded import recorded_run

import scorer
from scorer.analysis.packed import Packed
from scorer.errors import SpecError
from scorer.report.collecting import collect_all
from scorer.report.columns import GivenColumns
from scorer.report.picks import Wanted, pick_rows
from scorer.report.run_table import RunTable, open_runs

ROWS = 60


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> str:
    """60 rows scored 1 to 5 in turn; every tenth reply holds no verdict. Human values are 1 to 5, shifted by a row."""
    root = tmp_path_factory.mktemp("picks")
    rows = [
        {
            "id": f"r{n}",
            "question": "q",
            "response": f"said {n}",
            "human": float((n + n // 5) % 5 + 1),
            "percent": (n + n // 5) % 5 * 25,
            "system": f"s{n % 3}",
        }
        for n in range(ROWS)
    ]
    return recorded_run(root, rows, [["no verdict" if n % 10 == 9 else f"Score: {n % 5 + 1}"] for n in range(ROWS)])


@pytest.fixture(scope="module")
def table(out: str) -> RunTable:
    return open_runs(out)


@pytest.fixture(scope="module")
def frame(out: str) -> pl.DataFrame:
    return scorer.scan_scores(out, join_input=True).collect()


def test_worst_and_best_are_the_ends_of_the_scores(table: RunTable, frame: pl.DataFrame) -> None:
    worst, best = pick_rows(table, [Wanted("worst", 7), Wanted("best", 4)])
    scores = frame["score"].drop_nulls().sort()
    assert list(worst.by) == scores[:7].to_list()
    assert list(best.by) == scores[-4:].reverse().to_list()
    assert (worst.count, best.count) == (54, 54)
    assert worst.unit == "score"


def test_too_high_and_too_low_are_measured_on_the_scale_that_people_used(table: RunTable, frame: pl.DataFrame) -> None:
    high, low = pick_rows(table, [Wanted("too_high", 100), Wanted("too_low", 5)])
    gap = frame.select(gap=pl.col("score") - pl.col("human"))["gap"]
    assert list(high.by) == gap.filter(gap > 0).sort(descending=True).to_list()
    assert list(low.by) == gap.filter(gap < 0).sort()[:5].to_list()
    assert (high.count, low.count) == ((gap > 0).sum(), (gap < 0).sum())
    assert high.unit == "score minus human, in points on the scale 1 to 5"


def test_too_high_is_measured_in_average_ranks_where_people_used_another_scale(out: str) -> None:
    frame = scorer.scan_scores(out, join_input=True).filter(pl.col("score").is_not_null()).collect()
    (high,) = pick_rows(open_runs(out, GivenColumns(human="percent")), [Wanted("too_high", 3)])
    n = frame.height
    ranks = (frame["score"].rank("average") - frame["human"].rank("average")) / n
    assert list(high.by) == pytest.approx(ranks.sort(descending=True)[:3].to_list())
    assert high.unit.startswith("rank of score minus rank of percent")


def test_an_infinite_human_value_is_none_to_differ_from(tmp_path: Path) -> None:
    human = [2.0, 4.0, float("inf"), float("-inf"), float("nan"), None]
    given = pl.DataFrame({"response": ["said"] * 6, "human": human})
    out = finished_run(tmp_path, given, {"score": [3.0, 3.0, 1.0, 5.0, 2.0, 4.0]})
    high, low = pick_rows(open_runs(out), [Wanted("too_high", 9), Wanted("too_low", 9)])
    assert ([row for _, row in high.rows], [row for _, row in low.rows]) == ([0], [1])


def test_random_rows_have_their_weight_and_are_the_same_for_a_seed(table: RunTable) -> None:
    (one,), (again,), (other,) = (pick_rows(table, [Wanted("random", 12)], seed=seed) for seed in (0, 0, 1))
    assert one.rows == again.rows != other.rows
    assert (one.count, one.weight, len(set(one.rows))) == (ROWS, ROWS / 12, 12)


def test_random_rows_are_drawn_evenly(table: RunTable) -> None:
    drawn = [row for seed in range(40) for _, row in pick_rows(table, [Wanted("random", 6)], seed=seed)[0].rows]
    counts = [drawn.count(row) for row in range(ROWS)]
    assert sum((count - 4) ** 2 / 4 for count in counts) < 90  # chi-square with 59 degrees of freedom, p > .006


def test_failed_and_unread_rows_are_counted(table: RunTable) -> None:
    failed, unread = pick_rows(table, [Wanted("failed", 2), Wanted("unread", 0)])
    assert (failed.count, unread.count) == (6, 6)
    assert {row % 10 for _, row in failed.rows} == {9}
    assert unread.rows == []


def test_every_pick_keeps_to_the_condition(table: RunTable, frame: pl.DataFrame) -> None:
    where = "system = 's1' and human > 2 and error is null"
    found = pick_rows(table, [Wanted("worst", 3), Wanted("random", 100), Wanted("rows", 4)], where=where)
    keep = frame.filter(pl.col("system") == "s1", pl.col("human") > 2, pl.col("error").is_null())
    assert {pick.count for pick in found} == {keep.height}
    assert {row for pick in found for _, row in pick.rows} <= set(keep["row"])
    assert [row for _, row in found[2].rows] == keep["row"][:4].to_list()


@pytest.mark.parametrize(
    ("where", "says"),
    [
        ("scor > 1", "Column scor is not in the results or the input; did you mean score"),
        ("score + 1", "gives Float64, not true or false"),
        ("system > 3", "cannot be evaluated"),
        ("score >", "It is a SQL condition"),
        ("avg(score) > 1", "an aggregate"),
    ],
)
def test_a_condition_that_does_not_fit_is_refused_by_its_name(table: RunTable, where: str, says: str) -> None:
    with pytest.raises(SpecError, match="--where") as error:
        pick_rows(table, [Wanted("rows", 1)], where=where)
    assert says in str(error.value)


def test_kinds_that_a_run_cannot_have_say_why(table: RunTable) -> None:
    flips, spread, judges = pick_rows(table, [Wanted("flips", 3), Wanted("spread", 3), Wanted("judges", 3)])
    assert all(pick.missing and not pick.rows and pick.count == 0 for pick in (flips, spread, judges))


def test_failed_rows_are_of_each_error_in_turn(tmp_path: Path) -> None:
    rows = [{"id": f"r{n}", "question": "q", "response": "x"} for n in range(40)]
    out = recorded_run(tmp_path, rows, [[None] if n == 7 else ["none"] for n in range(40)])
    (failed,) = pick_rows(open_runs(out), [Wanted("failed", 8)])  # by chance: row 7 is not among 4 in one of 300 runs
    assert 7 in [row for _, row in failed.rows]
    assert (failed.count, failed.unit) == (40, "Unreadable 39, NoReply 1")


def test_spread_of_samples_is_that_of_the_readings(tmp_path: Path) -> None:
    rows = [{"id": f"r{n}", "question": "q", "response": "x"} for n in range(3)]
    replies = [["Score: 2", "2"], ["Score: 1", "Score: 5"], ["Score: 3", "Score: 4"]]
    out = recorded_run(tmp_path, rows, replies, samples=2)
    (spread,) = pick_rows(open_runs(out), [Wanted("spread", 5)])
    assert [row for _, row in spread.rows] == [1, 2]
    assert list(spread.by) == [2.0, 0.5]
    assert spread.count == 3  # whose replies differ, as texts


def test_picks_over_rows_in_memory_keep_to_them_and_read_other_columns_of_the_files(tmp_path: Path) -> None:
    rows = [{"id": f"r{n}", "question": "q", "response": "x"} for n in range(3)]
    table = open_runs(recorded_run(tmp_path, rows, [["1", "2"], ["1", "5"], ["3", "4"]], samples=2))
    some = table.results.filter(pl.col("row") != 1).select("shard", "row", "score").collect()
    best, spread = pick_rows(table.over(Packed([some]), table.columns), [Wanted("best", 5), Wanted("spread", 5)])
    assert [row for _, row in best.rows] == [2, 0]
    assert {row for _, row in spread.rows} == {0, 2}


def test_show_looks_again_for_files_that_a_run_has_merged_meanwhile(out: str, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = iter([True, False])

    def collect(frames: list[pl.LazyFrame]) -> list[pl.DataFrame]:
        return collect_all([pl.scan_parquet(f"{out}/gone.parquet", schema={})] if next(gone, False) else frames)

    monkeypatch.setattr("scorer.report.picks.collect_all", collect)
    assert scorer.show(out, worst=2).height == 2
