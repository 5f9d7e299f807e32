"""Promise: a judge that leaves its band ends the run with exit code 8 and known suspect rows; canaries are no rows."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import polars as pl
import pytest
from support.canary_runs import EPOCH, KNOWN, ROWS, Judge, layout, ran, tree
from support.clock import inline, now
from support.clock import run as in_virtual_time

from scorer.analysis.sequential.drift import Drift
from scorer.build.assemble import make_client
from scorer.build.plan import check
from scorer.canaries.known_rows import SHARD, RowsAlone
from scorer.config.spec import Canary
from scorer.errors import Drifted, Interrupted, OutputError, Refused, SpecError
from scorer.files.files import Files
from scorer.files.local_files import LocalFiles
from scorer.job.canary_estimate import canary_estimate
from scorer.job.estimate import estimate
from scorer.job.forget import Choice
from scorer.job.job import Job
from scorer.job.retry import retry_of
from scorer.output.canary_files import (
    FULL,
    Alarm,
    AnswerWriter,
    CanaryAnswer,
    CanaryState,
    load_answers,
    load_state,
    merge_answers,
    save_state,
)
from scorer.output.layout import Layout
from scorer.output.partial_rows import PartialRows
from scorer.output.status import status
from scorer.output.verify.folder import verify
from scorer.types import Call, Reply, Row


def test_run_within_its_band_ends_as_one_without_canaries(tmp_path: Path) -> None:
    judge = Judge(lambda _: 0.1)
    found = ran(tmp_path, judge)
    assert (found.state, found.rows, found.scored, found.suspect) == ("complete", ROWS, ROWS, None)
    assert verify(LocalFiles(), f"{tmp_path}/out").complete
    rows = pl.read_parquet(tmp_path / "out/scores/*.parquet")
    assert rows["shard"].unique().to_list() == [f"{tmp_path}/in.parquet"]
    answers = load_answers(LocalFiles(), layout(tmp_path))
    asked = [text for text in judge.rows if text.startswith("known")]
    assert answers.num_rows == len(asked) == pytest.approx(0.5 * ROWS, abs=1)
    assert found.requests == ROWS + len(asked), "their cost is in the ledger"
    assert answers.column("canary").to_pylist() == list(range(len(asked)))
    assert {abs(answer["score"] - answer["known"]) for answer in answers.to_pylist()} == {0.0, 2.0}
    assert {answer["loss"] for answer in answers.to_pylist()} == {0.0, 0.5}
    assert 45 < len(set(answers.column("row").to_pylist()[:KNOWN])) < 82, (
        "drawn with replacement: 63.4 of 100, within 6 sigma"
    )


def test_drift_ends_the_run_and_names_the_suspect_rows(tmp_path: Path) -> None:
    judge = Judge(lambda at: 0.1 if at < 12 else 0.8)
    with pytest.raises(Drifted) as error:
        ran(tmp_path, judge)
    assert error.value.exit_code == 8
    assert "--accept-drift" in str(error.value)
    found = status(LocalFiles(), f"{tmp_path}/out")
    assert found.state == "stopped"
    assert found.pending > 0
    alarm = load_state(LocalFiles(), layout(tmp_path)).standing
    assert alarm is not None
    assert EPOCH + 9 < alarm.since / 1e6 < EPOCH + 15, "the drift began after 12 s"
    rows = pl.read_parquet(tmp_path / "out/segments/in/*.parquet")
    assert rows["finished_at"].dt.timestamp("us").max() <= alarm.until, "rows in flight at the alarm are suspect, too"
    assert alarm.until / 1e6 < EPOCH + 24
    watch = Drift(0.1, ROWS // 2)
    in_order = load_answers(LocalFiles(), layout(tmp_path)).to_pylist()
    numbers = [answer["canary"] for answer in in_order if watch.add(answer["loss"])]
    assert numbers[0] == alarm.canary
    times = [round(answer["asked_at"].timestamp(), 3) for answer in in_order]
    assert times == sorted(times), "losses are watched in the order in which canaries were asked"
    assert [answer["finished_at"] for answer in in_order] != sorted(answer["finished_at"] for answer in in_order)
    assert found.suspect is not None
    assert found.pending + found.scored == ROWS


def test_next_start_asks_canaries_first_and_ends_again_where_the_judge_is_no_better(tmp_path: Path) -> None:
    judge = Judge(lambda _: 0.1 if len(judge.rows) < 150 else 0.8)
    with pytest.raises(Drifted):
        ran(tmp_path, judge)
    before, asked = status(LocalFiles(), f"{tmp_path}/out"), len(judge.rows)
    with pytest.raises(Drifted):
        ran(tmp_path, judge)
    assert all(text.startswith("known") for text in judge.rows[asked:])
    assert len(judge.rows) - asked == 100
    assert status(LocalFiles(), f"{tmp_path}/out").scored == before.scored


@pytest.mark.parametrize("sets", [(), ("model.max_output_tokens=99",)])
def test_recovered_judge_goes_on_and_suspect_rows_are_scored_again(tmp_path: Path, sets: tuple[str, ...]) -> None:
    bad = [True]
    judge = Judge(lambda at: 0.8 if bad[0] and at >= 12 else 0.1)
    with pytest.raises(Drifted):
        ran(tmp_path, judge)
    bad[0] = False
    found = ran(tmp_path, judge)
    assert (found.state, found.scored) == ("complete", ROWS)
    assert found.suspect is not None, "they were not scored again"
    first = pl.read_parquet(tmp_path / "out/scores/*.parquet")
    alarm = load_state(LocalFiles(), layout(tmp_path)).alarms[0]
    span = pl.col("finished_at").dt.timestamp("us").is_between(alarm.since, alarm.until)
    suspect = set(first.filter(span)["row"])
    asked = len(judge.rows)
    again = ran(tmp_path, judge, suspect=True, sets=sets)
    assert (again.state, again.suspect) == ("complete", None)
    rows = pl.read_parquet(tmp_path / "out/scores/*.parquet")
    assert set(rows.filter(pl.col("generation") == 1)["row"]) == suspect
    assert {int(text[3:]) for text in judge.rows[asked:] if text.startswith("row")} == suspect
    assert verify(LocalFiles(), f"{tmp_path}/out").complete
    with pytest.raises(SpecError, match="no suspect rows"):
        retry_of(LocalFiles(), f"{tmp_path}/out", (), suspect=True)


def test_an_alarm_of_the_last_rows_keeps_the_run_stopped_until_a_round_of_canaries_says_otherwise(
    tmp_path: Path,
) -> None:
    level = [0.1]
    judge = Judge(lambda _: level[0])
    ran(tmp_path, judge)
    alarm = Alarm(canary=40, mean=0.8, band=0.1, since=int(EPOCH * 10**6), until=int((EPOCH + 99) * 10**6))
    state = load_state(LocalFiles(), layout(tmp_path))
    save_state(LocalFiles(), layout(tmp_path), state.with_alarms((alarm,)))
    found = status(LocalFiles(), f"{tmp_path}/out")
    assert (found.state, found.pending) == ("stopped", 0)
    level[0], asked = 0.8, len(judge.rows)
    with pytest.raises(Drifted):
        ran(tmp_path, judge)
    assert status(LocalFiles(), f"{tmp_path}/out").state == "stopped"
    level[0] = 0.1
    found = ran(tmp_path, judge)
    assert (found.state, found.scored) == ("complete", ROWS)
    assert found.suspect is not None, "they were not scored again"
    assert all(text.startswith("known") for text in judge.rows[asked:])


def test_accepted_drift_is_recorded_and_gets_a_band_of_its_own(tmp_path: Path) -> None:
    judge = Judge(lambda _: 0.1 if len(judge.rows) < 150 else 0.8)
    tree(tmp_path, 600)
    with pytest.raises(Drifted):
        ran(tmp_path, judge)
    found = ran(tmp_path, judge, Choice(accept_drift=True))
    assert (found.state, found.scored, found.suspect) == ("complete", 600, None)
    state = load_state(LocalFiles(), layout(tmp_path))
    assert [alarm.ended for alarm in state.alarms] == ["accepted"]
    assert [stretch.why for stretch in state.stretches] == ["start", "accepted"]
    band = state.stretches[-1].band
    assert band is not None
    assert 0.4 < band < 0.6


def test_band_is_learned_from_the_first_canaries(tmp_path: Path) -> None:
    canary = {"shards": [f"{tmp_path}/known.parquet"], "human": "human", "share": 0.5}
    judge = Judge(lambda at: 0.05 if at < 20 else 0.9)
    with pytest.raises(Drifted):
        ran(tmp_path, judge, canary=canary)
    stretch = load_state(LocalFiles(), layout(tmp_path)).stretches[0]
    assert stretch.band is not None
    assert 0.02 < stretch.band < 0.2
    assert stretch.watched == 100


def test_judge_that_grows_strict_or_lenient_is_found_by_its_signed_errors(tmp_path: Path) -> None:
    canary = {"shards": [f"{tmp_path}/known.parquet"], "human": "human", "share": 0.5, "band": 0.45, "shift": 0.03}
    with pytest.raises(Drifted, match="too high"):
        ran(tmp_path, Judge(lambda _: 0.9, lenient=True), canary=canary)
    assert load_state(LocalFiles(), layout(tmp_path)).alarms[0].kind == "up"


def test_interrupted_run_keeps_its_answers_and_goes_on_where_it_was(tmp_path: Path) -> None:
    """Half of the evidence is from each of two starts: neither alone raises the alarm."""
    judge = Judge(lambda _: 0.6)

    async def stopped() -> None:
        plan = check(tree(tmp_path, canary={**tree(tmp_path)["canary"], "band": 0.15}))
        connect = partial(make_client, transport=judge)
        job = Job(plan, LocalFiles(), offload=inline, wall_s=lambda: EPOCH + now(), connect=connect)
        task = asyncio.create_task(job.run())
        await asyncio.sleep(5)
        job.stop()
        with pytest.raises(Interrupted):
            await task

    in_virtual_time(stopped())
    before = load_answers(LocalFiles(), layout(tmp_path)).num_rows
    assert before > 15
    with pytest.raises(Drifted):
        ran(tmp_path, judge, canary={**tree(tmp_path)["canary"], "band": 0.15})
    answers = load_answers(LocalFiles(), layout(tmp_path)).column("canary").to_pylist()
    assert answers == sorted(set(answers))
    assert len(answers) > before


def test_many_files_of_answers_become_one_and_a_crash_meanwhile_doubles_none(tmp_path: Path) -> None:
    files, where = LocalFiles(), layout(tmp_path)
    given = CanaryAnswer("k", 1, known=3.0, asked_at=10**15, finished_at=10**15, loss=0.5)
    for number in range(40):
        AnswerWriter(files, where).write([(2 * number, given), (2 * number + 1, given)], number)
    before = load_answers(files, where)
    first = (tmp_path / "out/canary/000000000-000000001-0.parquet").read_bytes()
    merge_answers(files, where)
    assert [path.name for path in (tmp_path / "out/canary").iterdir()] == ["000000000-000000079-0.parquet"]
    (tmp_path / "out/canary/000000000-000000001-0.parquet").write_bytes(first)
    assert load_answers(files, where).equals(before)
    (tmp_path / "out/canary/000000000-000000001-0.parquet").write_bytes(first[:100])
    with pytest.raises(OutputError, match="cannot be read"):
        load_answers(files, where)


@pytest.mark.parametrize(
    "output", [{"flush_rows": 4, "flush_s": 60.0}, {"flush_rows": 1000, "flush_s": 1.0}], ids=["rows", "seconds"]
)
def test_answers_to_canaries_are_durable_as_soon_as_those_to_rows(tmp_path: Path, output: dict[str, Any]) -> None:
    """Kills every 4 seconds cost all canaries while the rows went on: their answers were written every 5 seconds."""
    judge = Judge(lambda _: 0.1)

    async def killed() -> tuple[int, int]:
        given = tree(tmp_path)
        plan = check({**given, "output": {**given["output"], **output}})
        connect = partial(make_client, transport=judge)
        job = Job(plan, LocalFiles(), offload=inline, wall_s=lambda: EPOCH + now(), connect=connect)
        task = asyncio.create_task(job.run())
        await asyncio.sleep(4.0)
        rows = pl.read_parquet(tmp_path / "out/segments/in/*.parquet").height
        found = load_answers(LocalFiles(), layout(tmp_path)).num_rows
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return rows, found

    rows, found = in_virtual_time(killed())
    assert rows >= 24
    assert found >= 0.5 * rows - 8, "a canary for two rows, less those that wait for one that was asked before"


def test_a_hanging_canary_keeps_no_later_one_from_being_stored_and_is_stored_itself(tmp_path: Path) -> None:
    """The third canary takes 200 s; `model.timeout_s`, the time that others wait for it, is 300 s and then 20 s."""
    judge, found = Judge(lambda _: 0.1), {}
    reply, hung = judge.reply, "known"

    async def slow(call: Call, number: int) -> Reply:
        if sum(text.startswith(hung) for text in judge.rows) == 2 and hung.encode() in call.body:
            judge.rows.append(hung)
            await asyncio.sleep(200)
        return await reply(call, number)

    judge.reply = slow  # type: ignore[method-assign]

    async def killed(patience_s: float) -> None:
        given = tree(tmp_path)
        plan = check({**given, "output": {"path": f"{tmp_path}/{patience_s:g}", "flush_s": 1.0}})
        connect = partial(make_client, transport=judge)
        with mock.patch("scorer.canaries.watching.patience_s", return_value=patience_s):
            job = Job(plan, LocalFiles(), offload=inline, wall_s=lambda: EPOCH + now(), connect=connect)
            task = asyncio.create_task(job.run())
            await asyncio.sleep(40.0)
            found[patience_s] = load_answers(LocalFiles(), Layout(f"{tmp_path}/{patience_s:g}")).num_rows
            await task

    for patience_s in (300.0, 20.0):
        judge.rows.clear()
        in_virtual_time(killed(patience_s))
        assert load_answers(LocalFiles(), Layout(f"{tmp_path}/{patience_s:g}")).num_rows == 150
    assert found == {300.0: 2, 20.0: 149}


def test_answers_that_are_written_often_make_few_files(tmp_path: Path) -> None:
    files, where = LocalFiles(), layout(tmp_path)
    given = CanaryAnswer("k", 1, known=3.0, asked_at=10**15, finished_at=10**15, loss=0.5)
    writer = AnswerWriter(files, where)
    for number in range(30):
        writer.write([(20 * number + one, given) for one in range(20)], number)
    assert load_answers(files, where).column("canary").to_pylist() == list(range(600))
    assert len(list((tmp_path / "out/canary").iterdir())) == 600 // FULL + 1


def test_plan_says_how_soon_a_drift_is_found(tmp_path: Path) -> None:
    given = tree(tmp_path)
    found = estimate(check(given), LocalFiles())
    assert found.canaries is not None
    assert found.canaries.n == ROWS // 2
    assert any("[canary]: 150 known rows" in advice for advice in found.advice)
    estimated = canary_estimate(Canary(shards=("k",), human="h", share=0.01, band=0.15), 100_000)
    assert estimated.rows_median is not None
    assert estimated.rows_95 is not None
    assert 5000 < estimated.rows_median < 9000
    assert estimated.rows_95 <= 16_000
    assert 0.02 < estimated.share_that_halves < 0.023
    assert canary_estimate(Canary(shards=("k",), human="h", share=0.01), 100).rows_median is None


@pytest.mark.parametrize(
    ("canary", "more", "said"),
    [
        ({"shards": ["k.parquet"]}, {}, "either canary.human"),
        ({"shards": ["k.parquet"], "human": "h", "score": "s"}, {}, "either canary.human"),
        ({"shards": ["k.parquet"], "human": "h"}, {"judge": {"prompt": "{a}", "dedupe": True}}, "judge.dedupe"),
        (
            {"shards": ["k.parquet"], "human": "h"},
            {"judge": {"kind": "likelihood", "prompt": "{a}", "response": "a"}},
            "canary.range is missing",
        ),
        ({"shards": ["k.parquet"], "human": "h", "share": 1.5}, {}, "canary.share"),
    ],
)
def test_canaries_that_do_not_fit_are_refused(
    tmp_path: Path, canary: dict[str, Any], more: dict[str, Any], said: str
) -> None:
    with pytest.raises(SpecError) as error:
        check(tree(tmp_path, canary=canary, **more))
    assert said in str(error.value)


def test_what_a_cut_off_canary_was_answered_is_never_taken_for_another_one(tmp_path: Path) -> None:
    """Numbers of canaries begin anew with each start, and say another known row then."""
    kept = PartialRows(LocalFiles(), f"{tmp_path}/partial", "judge")
    parts = RowsAlone(kept)
    for shard in ("in.parquet", f"{SHARD}known.parquet"):
        parts.keep(Row(shard, 0, {}), [Refused("no")])
    kept.close()
    kept.open()
    assert parts.known_of(Row("in.parquet", 0, {})) is not None
    assert parts.known_of(Row(f"{SHARD}known.parquet", 0, {})) is None
    assert kept.known_of(Row(f"{SHARD}known.parquet", 0, {})) is None


def test_an_alarm_is_written_after_the_answers_that_raised_it_and_found_again_where_a_kill_cost_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def saved(files: Files, where: Layout, state: CanaryState) -> None:
        stored = load_answers(files, where).column("canary").to_pylist()
        assert {alarm.canary for alarm in state.alarms} <= set(stored)
        save_state(files, where, state)

    monkeypatch.setattr("scorer.canaries.watching.save_state", saved)
    judge = Judge(lambda _: 0.1 if len(judge.rows) < 150 else 0.8)
    with pytest.raises(Drifted):
        ran(tmp_path, judge)
    before = load_state(LocalFiles(), layout(tmp_path))
    save_state(LocalFiles(), layout(tmp_path), CanaryState(before.stretches))
    asked = len(judge.rows)
    with pytest.raises(Drifted):
        ran(tmp_path, judge)
    found = load_state(LocalFiles(), layout(tmp_path)).standing
    assert (found.canary, found.since) == (before.alarms[0].canary, before.alarms[0].since)
    assert len(judge.rows) - asked == 100, "a round of canaries, and no row"
