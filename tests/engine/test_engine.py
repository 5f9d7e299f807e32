"""Promise: one result for each row, as soon as it is done, with a bounded number of rows under way.

Over 300 lines: scripted parts, and a test for each way in which a run may go on or end.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.clock import now, run

from scorer.engine import engine
from scorer.engine.admission import RowSlots
from scorer.engine.engine import ALIKE, RunContext, StopFlag, first_cause
from scorer.errors import (
    BadRow,
    BudgetSpent,
    Interrupted,
    NoReply,
    Refused,
    RowError,
    SetupError,
    StorageError,
    TooManyFailed,
    Unreadable,
    mended_by,
)
from scorer.types import (
    Completion,
    Conversation,
    Request,
    Result,
    Row,
    Score,
)
from scorer.usage import (
    Spent,
    Usage,
)

Answering = Callable[[Request], Coroutine[Any, Any, Completion]]


class Shelf:
    """A store that remembers what came and when; it takes nothing while `roomy` is unset."""

    def __init__(self) -> None:
        self.results: list[Result] = []
        self.times: list[float] = []
        self.roomy = asyncio.Event()
        self.roomy.set()

    def add(self, result: Result) -> None:
        self.results.append(result)
        self.times.append(now())

    async def room(self) -> None:
        await self.roomy.wait()

    @property
    def numbers(self) -> list[int]:
        return [result.row.number for result in self.results]


class Turns:
    """A judge that asks as many requests in each turn as the row's values say; its score counts the answers."""

    columns: tuple[str, ...] = ()
    fields: tuple[pa.Field, ...] = ()
    constant = ""

    def __call__(self, row: Row) -> Conversation:
        count = index = 0
        for turn in row.values.get("turns", (1,)):
            answers = yield [Request(key={"row": row.number}, index=index + place) for place in range(turn)]
            index += turn
            count += sum(isinstance(answer, Completion) for answer in answers)
            for answer in answers:
                if isinstance(answer, RowError) and row.values.get("strict", True):
                    raise answer
        return Score(float(count))


class Answers:
    """A client that answers as it is told, and counts what is under way."""

    def __init__(self, answer: Answering) -> None:
        self._answer = answer
        self.asked: list[tuple[int, int]] = []
        self.open = 0
        self.most = 0
        self.cancelled = 0

    async def complete(self, request: Request) -> Completion:
        self.asked.append((request.key["row"], request.index))
        self.open += 1
        self.most = max(self.most, self.open)
        try:
            return await self._answer(request)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.open -= 1


async def after_a_second(request: Request) -> Completion:
    await asyncio.sleep(1.0)
    return Completion("4")


def rows(count: int, size: int = 1, **values: Any) -> list[Row]:
    return [Row("s.parquet", number, values, size=size) for number in range(count)]


class Batches:
    """Rows in batches, and how many of them were taken."""

    def __init__(self, given: Sequence[Row], size: int = 7) -> None:
        self._given, self._size = given, size
        self.taken = 0
        self.closed = False

    async def __call__(self) -> AsyncIterator[list[Row]]:
        try:
            for start in range(0, len(self._given), self._size):
                batch = list(self._given[start : start + self._size])
                self.taken += len(batch)
                yield batch
                await asyncio.sleep(0)
        finally:
            self.closed = True


def parts(shelf: Shelf, client: Answers, judge: Any = None, **more: Any) -> RunContext:
    return RunContext(judge or Turns(), client, shelf, now_us=lambda: int(now() * 1e6), **more)


async def score_all(
    some: RunContext,
    batches: Batches,
    *,
    in_flight: int = 100,
    in_flight_bytes: int = 10**9,
    drain: StopFlag | None = None,
) -> None:
    await engine.run(some, batches(), slots=RowSlots(in_flight, in_flight_bytes), drain=drain or StopFlag())


# --- one result for each row ------------------------------------------------------------------------------------------

_ENDING = st.sampled_from(["answered", "Refused", "NoReply"])


@settings(max_examples=25)
@given(
    plan=st.lists(
        st.tuples(
            st.lists(st.integers(0, 3), max_size=3),  # turns
            st.booleans(),  # a judge that gives up at the first error
            st.floats(0, 5),  # seconds that an answer takes
            st.lists(_ENDING, min_size=1, max_size=3),  # what becomes of its requests, in turn
        ),
        max_size=20,
    ),
    in_flight=st.integers(1, 6),
)
def test_score_all_gives_every_row_exactly_one_score_or_error(
    plan: list[tuple[list[int], bool, float, list[str]]], in_flight: int
) -> None:
    given_rows = [
        Row("s.parquet", number, {"turns": turns, "strict": strict})
        for number, (turns, strict, _, _) in enumerate(plan)
    ]

    async def answer(request: Request) -> Completion:
        _, _, seconds, endings = plan[request.key["row"]]
        await asyncio.sleep(seconds)
        ending = endings[request.index % len(endings)]
        if ending == "answered":
            return Completion(str(request.index), spent=Spent(1, usage=Usage(5, 1, 2), cost_pico=7))
        error: RowError = {"Refused": Refused, "NoReply": NoReply}[ending]("no")
        error.spent = Spent(2)
        raise error

    async def scenario() -> Shelf:
        shelf = Shelf()
        some = parts(shelf, Answers(answer), raw=lambda completion: completion.text)
        await score_all(some, Batches(given_rows), in_flight=in_flight)
        return shelf

    results = run(scenario()).results
    assert sorted(result.row.number for result in results) == list(range(len(plan)))
    for result in results:
        turns, strict, _, endings = plan[result.row.number]
        became: list[str] = []
        for turn in turns:
            became += [endings[index % len(endings)] for index in range(len(became), len(became) + turn)]
            if strict and any(ending != "answered" for ending in became):
                break
        failed = [ending for ending in became if ending != "answered"]
        answered = len(became) - len(failed)
        assert (result.score is None) == (result.error is not None)
        if strict and failed:
            assert result.error is not None
            assert result.error.name == failed[0]
        else:
            assert result.score == Score(float(answered))
        raw = tuple(str(index) if ending == "answered" else None for index, ending in enumerate(became))
        assert result.raw == (raw or None)
        assert result.attempts == answered + 2 * len(failed)
        assert result.usage == (Usage(5 * answered, answered, 2 * answered) if answered else None)
        assert result.cost_pico == (7 * answered if answered else None)


def test_result_has_model_of_last_reply_and_seconds_of_all_replies() -> None:
    async def answer(request: Request) -> Completion:
        return Completion(
            "", model=f"m{request.index}", finish_reason=f"f{request.index}", spent=Spent(1, waited_s=0.5, answered_s=2)
        )

    async def scenario() -> Result:
        shelf = Shelf()
        await score_all(parts(shelf, Answers(answer)), Batches(rows(1, turns=[1, 2])))
        return shelf.results[0]

    result = run(scenario())
    assert (result.model, result.finish_reason) == ("m2", "f2")
    assert (result.waited_s, result.answered_s, result.attempts) == (1.5, 6.0, 3)
    assert result.raw is None  # nothing was to be kept


def test_score_all_gives_result_to_row_without_requests_and_to_bad_row() -> None:
    class Broken(Turns):
        def __call__(self, row: Row) -> Conversation:
            if row.number:
                raise BadRow("a null")
            yield []
            return Score(1.0)

    async def scenario() -> None:
        shelf, client = Shelf(), Answers(after_a_second)
        await score_all(parts(shelf, client, Broken()), Batches(rows(2)))
        assert client.asked == []
        assert [(r.score, r.error and r.error.name, r.attempts) for r in shelf.results] == [
            (Score(1.0), None, 0),
            (None, "BadRow", 0),
        ]

    run(scenario())


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_score_all_ends_row_as_unreadable_when_judge_score_is_not_finite(value: float) -> None:
    class Careless(Turns):
        def __call__(self, row: Row) -> Conversation:
            yield [Request(key={"row": row.number})]
            return Score(value)

    async def scenario() -> Result:
        shelf = Shelf()
        await score_all(parts(shelf, Answers(after_a_second), Careless()), Batches(rows(1)))
        return shelf.results[0]

    result = run(scenario())
    assert result.score is None
    assert isinstance(result.error, Unreadable)


def test_score_all_sends_requests_of_turn_at_once_and_keeps_reply_order() -> None:
    async def slower_first(request: Request) -> Completion:
        await asyncio.sleep(3.0 - request.index)
        return Completion(str(request.index))

    async def scenario() -> None:
        shelf = Shelf()
        some = parts(shelf, Answers(slower_first), raw=lambda completion: completion.text)
        await score_all(some, Batches(rows(1, turns=[3])))
        assert shelf.results[0].raw == ("0", "1", "2")
        assert now() == 3.0

    run(scenario())


# --- bounded, and never held up ---------------------------------------------------------------------------------------


def test_score_all_bounds_rows_in_flight_and_rows_read_ahead() -> None:
    async def scenario() -> None:
        shelf, client, batches = Shelf(), Answers(after_a_second), Batches(rows(1000), size=10)

        async def look() -> None:
            while len(shelf.results) < 1000:
                assert batches.taken - len(shelf.results) <= 50 + 10
                await asyncio.sleep(0.5)

        async with asyncio.TaskGroup() as group:
            group.create_task(look())
            await score_all(parts(shelf, client), batches, in_flight=50)
        assert client.most == 50
        assert now() <= 1000 / 50 + 1

    run(scenario())


@pytest.mark.parametrize(("size", "most"), [(10, 10), (30, 3), (99, 1), (1000, 1)])
def test_score_all_bounds_bytes_in_flight_and_runs_oversized_row_alone(size: int, most: int) -> None:
    async def scenario() -> None:
        shelf, client = Shelf(), Answers(after_a_second)
        await score_all(parts(shelf, client), Batches(rows(20, size=size)), in_flight=50, in_flight_bytes=100)
        assert client.most == most
        assert len(shelf.results) == 20

    run(scenario())


def test_score_all_completes_other_rows_while_one_straggles() -> None:
    async def answer(request: Request) -> Completion:
        await asyncio.sleep(1000 if request.key["row"] == 3 else 1)
        return Completion("4")

    async def scenario() -> None:
        shelf = Shelf()
        await score_all(parts(shelf, Answers(answer)), Batches(rows(400)), in_flight=5)
        assert shelf.numbers[-1] == 3
        assert shelf.times[-2] <= 110

    run(scenario())


def test_score_all_starts_no_row_while_store_has_no_room() -> None:
    async def scenario() -> None:
        shelf, client = Shelf(), Answers(after_a_second)
        shelf.roomy.clear()
        task = asyncio.create_task(score_all(parts(shelf, client), Batches(rows(3))))
        await asyncio.sleep(100)
        assert client.asked == []
        shelf.roomy.set()
        await task
        assert len(shelf.results) == 3

    run(scenario())


# --- stopping ---------------------------------------------------------------------------------------------------------


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
def test_mended_by_gives_advice_for_errors_that_occurred(names: list[str], says: str, unsaid: str) -> None:
    advice = mended_by(names)
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
