"""Promise: canaries that several workers ask raise the alarm that one process raises for the same losses in order."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.canary_runs import ROWS, Judge, layout, ran, start_of, tree
from support.clock import now
from support.inprocess_workers import InThisProcess, in_this_process

from scorer.analysis.sequential.drift import Drift
from scorer.errors import Drifted
from scorer.files.local_files import LocalFiles
from scorer.job.forget import Choice
from scorer.output.canary_files import CanaryAnswer, load_answers, load_state
from scorer.output.status import Status, status
from scorer.output.verify.folder import verify
from scorer.workers.canary_streams import CanaryStreams
from scorer.workers.messages import AnsweredCanary


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch) -> Judge:
    judge = Judge(lambda at: 0.1)
    in_this_process(monkeypatch, judge)
    return judge


def with_workers(folder: Path, judge: Judge, choice: Choice | None = None) -> Status:
    start = start_of(judge)
    return ran(folder, judge, choice, launcher=lambda owner: InThisProcess(owner, lambda: start + now()))


def test_workers_within_the_band_end_as_a_run_without_canaries(tmp_path: Path, judge: Judge) -> None:
    found = with_workers(tmp_path, judge)
    assert (found.state, found.rows, found.scored, found.suspect) == ("complete", ROWS, ROWS, None)
    assert verify(LocalFiles(), f"{tmp_path}/out").complete
    answers = load_answers(LocalFiles(), layout(tmp_path))
    asked = [text for text in judge.rows if text.startswith("known")]
    assert answers.num_rows == len(asked) == pytest.approx(0.5 * ROWS, abs=2)
    assert answers.column("canary").to_pylist() == list(range(len(asked)))
    assert found.requests == ROWS + len(asked)


def test_drift_ends_workers_and_the_next_start_asks_a_round_of_canaries_first(tmp_path: Path, judge: Judge) -> None:
    judge.wrong = lambda at: 0.1 if at < 8 else 0.8
    with pytest.raises(Drifted):
        with_workers(tmp_path, judge)
    files = LocalFiles()
    before = status(files, f"{tmp_path}/out")
    assert 0 < before.scored < ROWS
    alarm = load_state(files, layout(tmp_path)).standing
    assert alarm is not None
    answers = load_answers(files, layout(tmp_path)).to_pylist()
    watch = Drift(0.1, ROWS // 2)
    assert [answer["canary"] for answer in answers if watch.add(answer["loss"])] == [alarm.canary]
    times = [round(answer["asked_at"].timestamp(), 3) for answer in answers]
    assert times == sorted(times), "numbered in the order in which both workers asked"
    asked = len(judge.rows)
    judge.wrong = lambda at: 0.8
    with pytest.raises(Drifted):
        with_workers(tmp_path, judge)
    assert len(judge.rows) - asked == 100
    assert all(text.startswith("known") for text in judge.rows[asked:])
    assert status(files, f"{tmp_path}/out").scored == before.scored
    judge.wrong = lambda at: 0.1
    found = with_workers(tmp_path, judge)
    assert (found.state, found.scored) == ("complete", ROWS)
    assert [one.ended for one in load_state(files, layout(tmp_path)).alarms] == ["recovered"]


def test_accepted_drift_goes_on_with_workers(tmp_path: Path, judge: Judge) -> None:
    judge.wrong = lambda at: 0.1 if len(judge.rows) < 150 else 0.8
    tree(tmp_path, 400)
    with pytest.raises(Drifted):
        with_workers(tmp_path, judge)
    found = with_workers(tmp_path, judge, Choice(accept_drift=True))
    assert (found.state, found.scored, found.suspect) == ("complete", 400, None)
    assert [one.why for one in load_state(LocalFiles(), layout(tmp_path)).stretches] == ["start", "accepted"]


def test_answers_of_workers_come_in_the_order_of_asking_and_a_dead_worker_holds_none_back() -> None:
    at = 0.0
    streams = CanaryStreams(lambda: at)

    def report(worker: int, *asked: float, oldest: float | None = None) -> list[int]:
        given = [AnsweredCanary(CanaryAnswer("k", int(10 * one), 1.0, 0, 0), at - one) for one in asked]
        streams.report(worker, given, None if oldest is None else at - oldest)
        return [answer.row for answer in streams.ready()]

    streams.begin(1)
    streams.begin(2)
    at = 2.0
    assert report(1, 0.5, 1.5) == [], "the second worker may have asked before"
    assert report(2, oldest=0.9) == [5]
    assert report(2, 0.9, oldest=1.2) == [9]
    at = 3.0
    assert report(1, 2.5) == []
    streams.gone(2)
    assert [answer.row for answer in streams.ready()] == [15, 25]
