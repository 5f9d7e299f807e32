"""`[stop]`: the run ends once its question is answered, over the same items whatever happens on the way."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import pytest
from support.boards import Board
from support.inprocess_workers import in_this_process
from support.outputs import Crash, Crashing

from scorer import scan_scores
from scorer.analysis.run_coverage import run_coverage
from scorer.analysis.sequential.decision import Decision
from scorer.analysis.sequential.rounds import Rounds
from scorer.config.stop_question import parse_question
from scorer.errors import BudgetSpent, OutputError, SpecError
from scorer.files.local_files import LocalFiles
from scorer.job.current_pass import CurrentPass
from scorer.job.estimate import estimate
from scorer.job.reread import reread
from scorer.job.retry import Retry
from scorer.job.scoring import Scoring
from scorer.limits.load import LimiterStats
from scorer.output.status import status
from scorer.output.verify.folder import verify
from scorer.report.page.strip import progress

DECIDED = ("systems", "items", "intervals", "rows", "text", "state")
"""What of an answer does not depend on how the run went."""


def scores(items: int, systems: int, lead: float, seed: int = 0) -> np.ndarray:
    """Whole points; system 1 is the best one by `lead` points."""
    rng = np.random.default_rng(seed)
    shift = np.where(np.arange(systems) == 1, lead, 0.0)
    return np.clip(np.round(rng.normal(5, 1, (items, 1)) + rng.normal(0, 1.5, (items, systems)) + shift), 0, 10)


def decided(found: dict) -> dict:
    return {key: found[key] for key in DECIDED}


def test_a_run_stops_at_the_answer_and_a_later_one_asks_the_rest(tmp_path: Path) -> None:
    board = Board(tmp_path, scores(100, 4, lead=2.5))
    found = board.run()
    assert (found.state, found.answer["systems"], found.pending) == ("answered", ["s1"], 0)
    assert "by this judge" in found.answer["text"]
    assert board.asked == found.rows < board.rows / 2
    assert found.selection == {"where": None, "sample": None, "stop": "best", "rows": board.asked, "of": board.rows}
    assert verify(LocalFiles(), board.out).findings == ()
    again = board.run()
    assert (again.answer, board.asked) == (found.answer, found.rows)
    whole = board.run(None)
    assert (whole.state, whole.scored) == ("complete", board.rows)
    assert set(board.judge.asked.values()) == {1}
    assert verify(LocalFiles(), board.out).findings == ()


def test_an_interval_beside_the_answer_holds_what_all_rows_say(tmp_path: Path) -> None:
    board = Board(tmp_path, scores(100, 3, lead=1.5))
    found = board.run({"population": "these"})
    means = board.judge.scores.mean(axis=0)
    for one in found.answer["intervals"]:
        assert one["low"] <= means[int(one["a"][1:])] - means[int(one["b"][1:])] <= one["high"]


@pytest.mark.parametrize(("population", "low", "high"), [("future", 0, 10), ("these", -1, 11)])
def test_the_answer_is_the_rule_played_over_the_first_items_of_the_order(
    tmp_path: Path, population: str, low: float, high: float
) -> None:
    """Each item once, in the order of its hash, with the scores of each system that is still in question."""
    board = Board(tmp_path, scores(60, 4, lead=2.8))
    board.judge.refuses = {(item, 0) for item in range(0, 60, 9)}
    found = board.run({"population": population, "bounds": [low, high]}).answer
    rounds = Rounds(
        [f"\0i{item}" for item in range(60)], np.zeros(60, dtype=np.int64), [1.0], seed=0, future=population == "future"
    )
    sizes = None if population == "future" else np.full((4, 4), 60)
    rule = Decision(parse_question("best"), 4, alpha=0.05, items=sizes)
    whole = 0
    for item in rounds.items:
        if not rule.needed().any():
            break
        whole += bool(rule.needed().all())
        unread = np.array([(item, system) in board.judge.refuses for system in range(4)])
        read = (board.judge.scores[item] - low) / (high - low)
        rule.add(np.where(unread, 0.0, read), np.where(unread, 1.0, read))
    assert found["state"] == "answered"
    assert (found["items"], found["items_of_all_systems"]) == (rule.taken, whole)
    assert found["systems"] == [f"s{place}" for place in rule.answer() or ()]
    bounds = np.array([(bound.low, bound.high) for bound in rule.bounds()])
    assert np.array([(one["low"], one["high"]) for one in found["intervals"]]) == pytest.approx((high - low) * bounds)


LATENCIES = {
    "alike": lambda system, score: 0.1,
    "bad answers of the best are slow": lambda system, score: 0.1 + (3.0 if system == 1 and score < 5 else 0.0),
    "good answers of the best are slow": lambda system, score: 0.1 + (3.0 if system == 1 and score > 7 else 0.0),
}


@pytest.mark.parametrize("population", ["future", "these"])
def test_the_answer_is_the_same_however_long_replies_take(tmp_path: Path, population: str) -> None:
    answers = []
    for number, latency in enumerate(LATENCIES.values()):
        board = Board(tmp_path / str(number), scores(90, 3, lead=1.6))
        board.judge.latency_s = latency
        answers.append(decided(board.run({"population": population}, concurrency=64).answer))
    assert answers[0]["state"] == "answered"
    assert answers[1:] == answers[:1] * 2


@pytest.mark.parametrize("after", [True, False])
def test_a_killed_run_gives_the_same_answer_over_the_same_items(tmp_path: Path, *, after: bool) -> None:
    whole = Board(tmp_path / "whole", scores(80, 3, lead=1.8))
    answer = decided(whole.run().answer)
    board = Board(tmp_path / "killed", scores(80, 3, lead=1.8))
    for step in (9, 14, 22, 31):
        try:
            board.run({}, Crashing(step, after=after))
        except (Crash, BaseExceptionGroup):
            (Path(board.out) / "lock").unlink(missing_ok=True)
    assert decided(board.run().answer) == answer
    assert verify(LocalFiles(), board.out).findings == ()


def test_workers_give_the_answer_of_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = decided(Board(tmp_path / "whole", scores(80, 3, lead=1.8)).run().answer)
    board = Board(tmp_path / "workers", scores(80, 3, lead=1.8))
    board.workers = in_this_process(monkeypatch, board.judge)
    assert decided(board.run().answer) == answer
    assert answer["state"] == "answered"
    assert verify(LocalFiles(), board.out).findings == ()


def test_a_cap_leaves_a_statement_that_holds_and_a_higher_cap_goes_on(tmp_path: Path) -> None:
    board = Board(tmp_path, scores(80, 3, lead=1.8))
    with pytest.raises(BudgetSpent):
        board.run({}, max_tokens=700)
    found = status(LocalFiles(), board.out)
    assert (found.state, found.answer["state"]) == ("stopped", "open")
    assert "s1" in found.answer["systems"]
    assert found.pending > 0
    assert board.run({}, max_tokens=10**9).state == "answered"


def test_equal_systems_end_undecided_or_exactly_equal(tmp_path: Path) -> None:
    column = scores(40, 1, lead=0.0)
    board = Board(tmp_path / "future", np.hstack([column, column]))
    found = board.run()
    assert (found.state, found.answer["state"], found.scored) == ("undecided", "undecided", board.rows)
    assert found.answer["systems"] == ["s0", "s1"]
    board = Board(tmp_path / "these", np.hstack([column, column]))
    found = board.run({"population": "these"})
    assert (found.state, found.answer["equal"], found.answer["systems"]) == ("answered", True, ["s0", "s1"])


def test_unread_rows_count_as_anything_or_as_a_number(tmp_path: Path) -> None:
    """Half of the rows of the best one have no score: no answer holds whatever they would have got."""
    for unread, state in (("bounds", "undecided"), (0.0, "answered")):
        board = Board(tmp_path / str(unread), scores(80, 2, lead=2.0))
        board.judge.refuses = {(item, 1) for item in range(0, 80, 2)}
        found = board.run({"unread": unread, "population": "these"})
        assert found.state == state
        assert found.answer["unread"] > 0
        if state == "answered":
            assert found.answer["systems"] == ["s0"]
            assert "count as 0" in found.answer["text"]


def test_rows_scored_before_count_when_the_order_reaches_them(tmp_path: Path) -> None:
    board = Board(tmp_path / "a", scores(80, 3, lead=1.8))
    answer = decided(board.run().answer)
    other = Board(tmp_path / "b", scores(80, 3, lead=1.8))
    other.run(None, sample="100")
    found = other.run()
    assert decided(found.answer) == answer
    assert set(other.judge.asked.values()) == {1}


def test_sample_takes_the_first_items_of_the_order(tmp_path: Path) -> None:
    board = Board(tmp_path, scores(80, 4, lead=1.8))
    pilot = board.run(sample="40")
    assert (pilot.rows, pilot.state, pilot.answer["state"], pilot.answer["items"]) == (40, "complete", "open", 10)
    found = board.run()
    assert found.state == "answered"
    assert set(board.judge.asked.values()) == {1}


def test_plan_says_after_a_pilot_how_many_rows_it_will_take(tmp_path: Path) -> None:
    board = Board(tmp_path, scores(60, 4, lead=2.4))
    before = estimate(board.job({}).plan, LocalFiles())
    assert before.stop is not None
    assert (before.stop.rows, before.stop.rows_50) == (240, None)
    board.run(sample="60")
    estimated = estimate(board.job({}).plan, LocalFiles())
    after = estimated.stop
    assert after is not None
    assert after.rounds == 15
    assert 60 < after.rows_10 <= after.rows_50 <= after.rows_90 <= 240
    assert 0 <= after.undecided < 0.7
    assert after.sentence() in estimated.advice
    board.mode = "batch"
    batched = estimate(board.job({}).plan, LocalFiles()).stop
    assert batched is not None
    assert batched.rows_50 <= batched.rows_asked <= 2 * batched.rows_50
    assert f"{batched.rows_asked} rows are asked until then, in {batched.waves} waves" in batched.sentence()
    board.mode = "online"
    assert after.rows_10 / 2 < board.run().answer["rows"] < after.rows_90 * 1.5


def test_further_questions_are_listed_and_another_seed_is_refused(tmp_path: Path) -> None:
    board = Board(tmp_path, scores(80, 3, lead=2.0))
    assert board.run().answer["questions"] == 1
    found = board.run({"question": "s1 > s0"}).answer
    assert (found["questions"], found["yes"]) == (2, True)
    assert found["together"] == pytest.approx(0.9)
    assert "2 questions" in found["text"]
    assert board.run().answer["questions"] == 2
    with pytest.raises(OutputError, match=r"stop\.seed = 0, not 7"):
        board.run({"seed": 7})


def test_a_comparison_asks_its_two_systems_alone(tmp_path: Path) -> None:
    board = Board(tmp_path, scores(80, 5, lead=2.0))
    board.run({"question": "s3 >= s1 - 0.5"})
    assert {system for _, system in board.judge.asked} == {1, 3}


def test_rounds_take_each_task_alike_and_weights_decide(tmp_path: Path) -> None:
    """s0 is best in the long task, s1 in the short one: equal weights say s1, which a mean over rows would not."""
    rng = np.random.default_rng(1)
    long_, short = rng.normal([8.0, 4.0], 0.5, (90, 2)), rng.normal([1.0, 9.0], 0.5, (30, 2))
    values = np.clip(np.round(np.vstack([long_, short])), 0, 10)
    tasks = ["long"] * 90 + ["short"] * 30
    assert Board(tmp_path / "a", values, tasks=tasks).run({"task": "task"}).answer["systems"] == ["s1"]
    weighted = {"task": "task", "weights": {"long": 20, "short": 1}}
    assert Board(tmp_path / "b", values, tasks=tasks).run(weighted).answer["systems"] == ["s0"]


def test_mean_stops_at_its_width_for_each_system_and_task(tmp_path: Path) -> None:
    board = Board(tmp_path, scores(120, 2, lead=1.0), tasks=["x", "y"] * 60)
    found = board.run({"question": "mean", "width": 1.2, "task": "task"})
    assert found.state == "answered"
    assert [(one["system"], one["task"]) for one in found.answer["intervals"]] == [
        ("s0", "x"), ("s1", "x"), ("s0", "y"), ("s1", "y"),
    ]  # fmt: skip
    assert all(one["high"] - one["low"] <= 2.4 + 1e-6 for one in found.answer["intervals"])
    assert board.asked < board.rows


def test_a_width_that_every_mean_is_within_is_refused(tmp_path: Path) -> None:
    board = Board(tmp_path, scores(20, 2, lead=1.0))
    board.job({"question": "mean", "width": 4.9})
    with pytest.raises(SpecError, match="must be below 5, half of the score's range of 0 to 10"):
        board.job({"question": "mean", "width": 5})


def test_generations_that_a_system_lacks(tmp_path: Path) -> None:
    values = scores(100, 3, lead=2.0)
    values[:5, 2] = np.nan
    with pytest.raises(SpecError, match=r"s2 lacks 5\.0% of the 100 items"):
        Board(tmp_path / "a", values).run()
    assert Board(tmp_path / "b", values).run({"missing": "unread"}).answer["systems"] == ["s1"]


@pytest.mark.parametrize(
    ("stop", "match"),
    [
        ({"question": "s1 > s9"}, 'no row has system = "s9". Found: s0, s1, s2'),
        ({"question": "top 3"}, "needs at least 4 systems"),
        ({"task": "task", "weights": {"nowhere": 1}}, 'no row has task = "nowhere"'),
    ],
)
def test_a_question_that_does_not_fit_the_input_is_refused_before_anything_is_asked(
    tmp_path: Path, stop: dict, match: str
) -> None:
    board = Board(tmp_path, scores(20, 3, lead=1.0))
    with pytest.raises(SpecError, match=match):
        board.run(stop)
    assert board.asked == 0


def test_a_retry_changes_the_answer_with_the_scores(tmp_path: Path) -> None:
    board = Board(tmp_path, scores(60, 2, lead=2.0))
    board.judge.refuses = {(item, 1) for item in range(0, 60, 2)}
    assert board.run({"population": "these"}).state == "undecided"
    board.judge.refuses = set()
    found = board.run({"population": "these"}, retry=Retry(None))
    assert (found.state, found.answer["systems"], found.answer["unread"]) == ("answered", ["s1"], 0)


def test_a_score_out_of_bounds_ends_the_run_and_says_so(tmp_path: Path) -> None:
    board = Board(tmp_path, scores(60, 2, lead=1.0))
    with pytest.raises(SpecError, match=r"outside of 4 to 6, the bounds"):
        board.run({"bounds": [4, 6]})
    assert board.asked < board.rows
    assert board.run().state in ("answered", "undecided")
    assert set(board.judge.asked.values()) == {1}


def test_another_condition_begins_the_statement_again(tmp_path: Path) -> None:
    board = Board(tmp_path, scores(80, 3, lead=2.0))
    assert board.run().answer["systems"] == ["s1"]
    found = board.run({}, where="system <> 's1'")
    assert set(found.answer["systems"]) <= {"s0", "s2"}
    assert found.answer["questions"] == 2
    assert any("begins again" in said for said in board.said)
    assert found.pending == 0
    assert verify(LocalFiles(), board.out).findings == ()


def test_a_new_shard_begins_the_statement_again(tmp_path: Path) -> None:
    """The population was frozen with the first start: the same systems over other items are another statement."""
    board = Board(tmp_path, scores(40, 2, lead=3.0))
    (tmp_path / "in/2.parquet").rename(tmp_path / "2.parquet")
    assert board.run({"missing": "unread"}).answer["questions"] == 1
    (tmp_path / "2.parquet").rename(tmp_path / "in/2.parquet")
    assert board.run({"missing": "unread"}).answer["questions"] == 2
    assert any("begins again" in said for said in board.said)


def test_a_reread_changes_the_answer_with_the_scores(tmp_path: Path) -> None:
    board = Board(tmp_path, scores(60, 2, lead=2.0))
    assert board.run({"population": "these", "bounds": [0, 100]}).answer["systems"] == ["s1"]
    found = reread(LocalFiles(), board.out, ["judge.scale=[0, 3]"])
    assert found.answer["unread"] > 0
    assert found.answer["state"] in ("open", "undecided")


def test_analyses_of_a_folder_that_stopped_show_its_intervals_and_withhold_a_choice(tmp_path: Path) -> None:
    board = Board(tmp_path, scores(100, 3, lead=2.0))
    found = board.run()
    assert scan_scores(board.out).collect().height == found.scored
    coverage = run_coverage(board.out, "system")
    assert coverage is not None
    assert (coverage.rows, coverage.rows_total, coverage.systems_total) == (found.scored, board.rows, 3)
    assert coverage.text().startswith(f"The run ended at an answer, after {found.scored} of 300 rows: s1 is the best")
    assert "s1 minus s0: " in coverage.text()
    shared = found.answer["items_of_all_systems"]
    assert 0 < shared < found.answer["items"]
    assert (
        f"All systems were judged on the first {shared} of these {found.answer['items']} items alone" in coverage.text()
    )
    assert coverage.json()["answer"]["intervals"] == found.answer["intervals"]
    assert "ended early" in (progress({"": found}, ["s0", "s1", "s2"]).withheld or "")
    whole = board.run(None)
    coverage = run_coverage(board.out)
    assert coverage is not None
    assert (coverage.text(), coverage.answer) == ("", None)
    assert progress({"": whole}, ["s0", "s1", "s2"]).withheld is None


def test_reader_asks_how_many_requests_may_be_in_flight_without_the_statistics_of_the_loops_thread() -> None:
    class Asked:
        places = 3

        @property
        def load(self) -> LimiterStats:
            raise AssertionError("only the loop's thread may read what changes with each request")

    current_pass = CurrentPass()
    current_pass.scoring = cast(Scoring, Asked())
    assert current_pass.places == 3
