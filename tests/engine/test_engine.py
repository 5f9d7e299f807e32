"""Promise: one result for each row, as soon as it is done, with a bounded number of rows under way."""

from __future__ import annotations

import asyncio
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.clock import now, run
from support.engine_parts import Answers, Batches, Shelf, Turns, after_a_second, parts, rows, score_all

from scorer.errors import BadRow, NoReply, Refused, RowError, Unreadable
from scorer.types import Completion, Conversation, Request, Result, Row, Score
from scorer.usage import Spent, Usage

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
