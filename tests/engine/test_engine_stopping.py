"""Promise: a run that stops keeps what is finished, gives interrupted rows no result, and leaves no request open."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
from support.clock import now, run
from support.engine_parts import Answering, Answers, Batches, Shelf, after_a_second, parts, rows, score_all

from scorer.engine.engine import ALIKE, StopFlag, first_cause
from scorer.errors import BudgetSpent, Interrupted, NoReply, Refused, SetupError, StorageError, TooManyFailed, advice_on
from scorer.types import Completion, Request, Score


def ending(names: Sequence[str]) -> Answering:
    """A client's answers: row by row scored, or an error of that name; one after another."""
    kinds = {"Refused": Refused, "NoReply": NoReply}

    async def answer(request: Request) -> Completion:
        number = request.key["row"]
        await asyncio.sleep(0.1 * number)
        name = names[min(number, len(names) - 1)]
        if name == "scored":
            return Completion("4")
        raise kinds[name](f"row {number}")

    return answer


@pytest.mark.parametrize(
    ("names", "stops_at"),
    [
        (["Refused"], ALIKE),
        (["Refused"] * (ALIKE - 1) + ["scored", "Refused"], None),
        (["scored", "Refused"], None),
        (["Refused"] * (ALIKE - 1) + ["NoReply"], None),
        (["NoReply", "Refused"], None),
    ],
)
def test_score_all_stops_when_first_200_rows_end_in_same_error(names: list[str], stops_at: int | None) -> None:
    async def scenario() -> None:
        shelf = Shelf()
        job = score_all(parts(shelf, Answers(ending(names))), Batches(rows(300)), in_flight=1000)
        if stops_at is None:
            await job
            assert len(shelf.results) == 300
            return
        with pytest.raises(
            TooManyFailed, match=rf"first {ALIKE} rows all ended in Refused; the last one says: row 199"
        ):
            await job
        assert len(shelf.results) == stops_at

    run(scenario())


def test_score_all_continues_free_run_whose_rows_end_in_same_error() -> None:
    async def scenario() -> None:
        shelf = Shelf()
        free = replace(parts(shelf, Answers(ending(["Refused"]))), stop_alike=False)
        await score_all(free, Batches(rows(300)), in_flight=1000)
        assert len(shelf.results) == 300

    run(scenario())


@pytest.mark.parametrize(
    ("names", "says", "unsaid"),
    [
        (["BadRow"], "`scorer retry` does not help", "Remove the cause"),
        (["BadRow", "Unavailable"], "`scorer retry` scores these rows again. Rows with BadRow need", "does not help"),
        (["Unreadable"], "Remove the cause, then `scorer retry`", "BadRow"),
    ],
)
def test_advice_on_gives_advice_for_errors_that_occurred(names: list[str], says: str, unsaid: str) -> None:
    advice = advice_on(names)
    assert says in advice
    assert unsaid not in advice


def test_drain_finishes_rows_in_flight_and_starts_no_other() -> None:
    async def scenario() -> None:
        shelf, client, drain, batches = Shelf(), Answers(after_a_second), StopFlag(), Batches(rows(1000, turns=[1, 2]))
        task = asyncio.create_task(score_all(parts(shelf, client), batches, in_flight=10, drain=drain))
        await asyncio.sleep(4.5)
        drain.asked = True
        await task
        assert now() == 6.0
        assert Counter(shelf.numbers) == Counter(range(30))
        assert client.cancelled == 0
        assert batches.closed

    run(scenario())


@pytest.mark.parametrize("turns", [[1], [3]])
def test_drain_leaves_interrupted_rows_without_result_and_finishes_others(turns: list[int]) -> None:
    """The limits refuse the first request of a row while they drain; others are being answered meanwhile."""

    async def answer(request: Request) -> Completion:
        if request.key["row"] % 2:
            raise Interrupted("draining")
        await asyncio.sleep(1.0)
        return Completion("4")

    async def scenario() -> None:
        shelf = Shelf()
        await score_all(parts(shelf, Answers(answer)), Batches(rows(10, turns=turns)))
        assert sorted(shelf.numbers) == [0, 2, 4, 6, 8]

    run(scenario())


@pytest.mark.parametrize("others", ["answered", "Refused"])
def test_drain_finishes_row_with_one_answered_request(others: str) -> None:
    """With several endpoints, some of a row's requests may be out while others still stand in a line."""

    async def answer(request: Request) -> Completion:
        await asyncio.sleep(1.0)
        if request.index % 3 == 1:
            await asyncio.sleep(5.0)  # out when the drain comes
            if others == "Refused":
                raise Refused("filtered, and paid")
        elif not request.begun:
            raise Interrupted("draining")
        return Completion("4")

    async def scenario() -> None:
        shelf, client = Shelf(), Answers(answer)
        await score_all(parts(shelf, client), Batches(rows(1, turns=[3, 2], strict=False)))
        assert [result.score for result in shelf.results] == [Score(5.0 if others == "answered" else 3.0)]
        assert sorted(client.asked) == [(0, 0), (0, 0), (0, 1), (0, 2), (0, 2), (0, 3), (0, 4)]
        assert client.cancelled == 0

    run(scenario())


@pytest.mark.parametrize("turns", [[1], [3]])
@pytest.mark.parametrize("error", [ZeroDivisionError("a bug"), SetupError("no key"), BudgetSpent("spent")])
def test_score_all_stops_at_once_on_fatal_error_and_keeps_finished_rows(error: Exception, turns: list[int]) -> None:
    async def answer(request: Request) -> Completion:
        await asyncio.sleep(float(request.key["row"]))
        if request.key["row"] == 5:
            raise error
        return Completion("4")

    async def scenario() -> None:
        shelf, client, batches = Shelf(), Answers(answer), Batches(rows(100, turns=turns), size=4)
        with pytest.raises(type(error)) as caught:
            await score_all(parts(shelf, client), batches, in_flight=20)
        assert caught.value is error
        assert now() == 5.0
        assert shelf.numbers == [0, 1, 2, 3, 4]
        assert client.open == 0
        assert batches.closed

    run(scenario())


def test_score_all_stops_on_storage_error() -> None:
    class Full(Shelf):
        async def room(self) -> None:
            if now() > 2:
                raise StorageError("the disk is full")

    async def scenario() -> None:
        client = Answers(after_a_second)
        with pytest.raises(StorageError):
            await score_all(parts(Full(), client), Batches(rows(100)), in_flight=10)
        assert client.open == 0

    run(scenario())


def test_score_all_cancelled_keeps_finished_rows_and_leaves_no_request_open() -> None:
    async def scenario() -> None:
        shelf, client, batches = Shelf(), Answers(after_a_second), Batches(rows(100, turns=[2]))
        task = asyncio.create_task(score_all(parts(shelf, client), batches, in_flight=10))
        await asyncio.sleep(2.5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (len(shelf.results), client.open, client.cancelled) == (20, 0, 20)
        assert batches.closed

    run(scenario())


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        ([Interrupted("i"), SetupError("s"), KeyError("bug")], KeyError),
        ([Interrupted("i"), SetupError("s")], SetupError),
        ([SetupError("first"), StorageError("second")], SetupError),
        ([Interrupted("i")], Interrupted),
        ([BaseExceptionGroup("deep", [Interrupted("i"), ExceptionGroup("deeper", [BudgetSpent("b")])])], BudgetSpent),
        ([asyncio.CancelledError(), SetupError("s")], asyncio.CancelledError),
    ],
)
def test_first_cause_ranks_bug_before_stop_before_interruption(
    errors: list[BaseException], expected: type[BaseException]
) -> None:
    assert type(first_cause(BaseExceptionGroup("all", errors))) is expected
