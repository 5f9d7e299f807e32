"""Scripted parts of the engine: a store, a judge, a client, and rows in batches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any

import pyarrow as pa
from support.clock import now

from scorer.engine import engine
from scorer.engine.admission import RowSlots
from scorer.engine.engine import RunContext, StopFlag
from scorer.errors import RowError
from scorer.types import Completion, Conversation, Request, Result, Row, Score

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
