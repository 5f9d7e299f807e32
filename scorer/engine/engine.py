"""Scores rows with bounded concurrency: drives each row's judge. Knows no judge, wire, limit or file by name."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import field
from typing import TYPE_CHECKING, cast

from scorer.engine.admission import LARGE, ByteBudget, RowSlots
from scorer.engine.choices import Answer, ChoiceBatching
from scorer.engine.judging import SingleRequestJudge, checked_score, judge_step
from scorer.engine.partial import PartialAnswers, known_answers
from scorer.engine.row_result import result_of
from scorer.engine.uniform_failures import UniformFailureGuard
from scorer.error_frames import without_frames
from scorer.errors import (
    Damaged,
    InputError,
    Interrupted,
    RowError,
    ScorerError,
    StorageError,
)
from scorer.frozen import dataclass, replace
from scorer.types import (
    Client,
    Completion,
    Conversation,
    Judge,
    Request,
    Result,
    Row,
    Score,
    Store,
)

if TYPE_CHECKING:
    from scorer.engine.dedupe import Deduplicator

ALIKE = 200
"""A run whose first so many rows all end in the same error is stopped: further rows would fail the same way."""


@dataclass(frozen=True, slots=True)
class RunContext:
    """The parts that score a run's rows.

    `now_us` is the wall clock in microseconds since 1970, UTC. `raw` is what to keep of a reply, None for nothing.
    With `deduplicator`, rows that ask the same are asked once. `stop_alike`: a run whose first rows all fail alike is
    stopped, which is no use where rows cost nothing. With `partial`, answers that are known are not asked for, and
    those of rows that the end of the run cuts off are kept. `single` is the judge where it scores most rows by
    one reply.
    """

    judge: Judge
    client: Client
    store: Store
    now_us: Callable[[], int]
    raw: Callable[[Completion], str] | None = None
    sharing: ChoiceBatching = field(default_factory=ChoiceBatching)
    deduplicator: Deduplicator | None = None
    stop_alike: bool = True
    partial: PartialAnswers | None = None
    single: SingleRequestJudge | None = None

    def result(self, row: Row, score: Score | None, error: RowError | None, answers: Sequence[Answer]) -> Result:
        """The result of a row that ends now."""
        return result_of(row, score, error, answers, raw_of=self.raw, now_us=self.now_us())


class StopFlag:
    """Asks a run to drain: no further row is begun, those in flight are finished."""

    def __init__(self) -> None:
        self.asked = False


async def run(parts: RunContext, batches: AsyncIterator[list[Row]], *, slots: RowSlots, drain: StopFlag) -> None:
    """Scores every row: as many rows, and as much of their text, are under way at once as `slots` has.

    The requests of large rows hold at most `slots.size` bytes of text at once, too, however many each of them asks for.
    Of rows that wait for the answer to a duplicate only the text counts, and there are at most
    `admission.MOST_WAITING`.

    Raises SetupError, BudgetSpent, StorageError or TooManyFailed, whichever came first, after cancelling what is in
    flight; what is finished is in the store. Cancelling it does the same. Where `batches` raises StorageError or
    InputError, the rows under way are finished before that is raised.
    """
    unread: StorageError | InputError | None = None
    try:
        async with asyncio.TaskGroup() as group, aclosing(batches):  # type: ignore[type-var]
            rows = RowTasks(parts, slots, drain, group)
            while not drain.asked:
                try:
                    batch = await anext(batches, None)
                except (StorageError, InputError) as error:  # the rows under way are finished, so that none is lost
                    unread = error
                    break
                if batch is None:
                    break
                await rows.begin(batch)
    except BaseExceptionGroup as failures:
        raise first_cause(failures) from None
    if unread is not None:
        raise unread


_Begun = tuple[Row, bytes | None]
"""A row that has a slot, and the hash of what it asks where rows that ask the same are asked once."""


class RowTasks:
    """The tasks that score rows. A task goes on to the next row, so that most rows need no task of their own."""

    def __init__(self, parts: RunContext, slots: RowSlots, drain: StopFlag, group: asyncio.TaskGroup) -> None:
        self._parts = parts
        self._weighed = replace(parts, client=ByteBudget(parts.client, slots.size))
        self._slots = slots
        self._drain = drain
        self._group = group
        self._alike = UniformFailureGuard(ALIKE if parts.stop_alike else None)
        self._read: deque[Row] = deque()  # of the batch, those that are not begun

    async def begin(self, batch: Sequence[Row]) -> None:
        """Returns once each row of the batch has a slot, or the run drains."""
        self._read.extend(batch)
        while self._read and not self._drain.asked:
            await self._parts.store.room()
            while (begun := self._next()) is not None:
                self._group.create_task(self._score(begun))
            if self._read and not self._drain.asked:
                await self._slots.changed()

    def _next(self) -> _Begun | None:
        """The next row that has something to ask, with a slot taken. None where no further row may begin now."""
        slots, deduplicator, read = self._slots, self._parts.deduplicator, self._read
        while read and not self._drain.asked and slots.took(read[0].size):
            row = read.popleft()
            if row.problem is not None:
                slots.free(row.size)
                self._add(self._parts.result(row, None, row.problem, []))
                continue
            question = None if deduplicator is None else deduplicator.question(row)
            if deduplicator is None or question is None:
                return row, None
            if (known := deduplicator.known(question, row, self._parts.now_us())) is not None:
                slots.free(row.size)
                self._parts.store.add(known)
            elif deduplicator.waits(question, row):
                slots.step_aside()
            else:
                return row, question
        return None

    async def _score(self, begun: _Begun | None) -> None:
        """Scores a row that has a slot, and then one row after another."""
        try:
            while begun is not None:
                row, question = begun
                try:
                    result = await score_row(row, self._parts if row.size < LARGE else self._weighed)
                except Interrupted:  # draining turned it away before its first request
                    self._turned_away(question)
                    return
                finally:
                    self._slots.free(row.size)
                self._add(result)
                if question is not None:
                    self._answer_duplicates(question, result)
                del result  # it may hold long replies, and the store may have written it before the next row ends
                await self._parts.store.room()
                begun = self._next()
        finally:
            self._slots.look()

    def _answer_duplicates(self, question: bytes, result: Result) -> None:
        assert self._parts.deduplicator is not None
        copies, others = self._parts.deduplicator.finished(question, result, self._parts.now_us())
        for copy in copies:  # nothing was asked: they say nothing of what `_alike` looks for
            self._slots.leave(copy.row.size)
            self._parts.store.add(copy)
        for other in others:
            self._group.create_task(self._score_later(other, question))

    def _add(self, result: Result) -> None:
        self._parts.store.add(result)
        if not (
            self._alike.over or isinstance(result.error, Damaged)
        ):  # a damaged row group says nothing of the next one
            self._alike.look(result)

    def _turned_away(self, question: bytes | None) -> None:
        if question is not None and self._parts.deduplicator is not None:
            for other in self._parts.deduplicator.turned_away(question):
                self._slots.leave(other.size)

    async def _score_later(self, row: Row, question: bytes) -> None:
        await self._slots.come_back()
        await self._score((row, question))


async def score_row(row: Row, parts: RunContext) -> Result:
    """The result of one row. Raises only what stops the whole run."""
    partial = parts.partial
    known = None if partial is None else partial.known_of(row)
    received: list[Answer] = []
    step: list[Answer | None] = []  # the answers to the requests that are asked together now
    begun = False  # a row that has an answer is finished, also in a drain
    score: Score | None = None
    error: RowError | None = None
    conversation: Conversation | None = None
    try:
        single = parts.single if known is None else None
        if single is not None and (request := judge_step(single.single_request, row)) is not None:
            try:
                received.append(await parts.client.complete(request))
            except RowError as failed:
                received.append(without_frames(failed))
            score = judge_step(single.single_score, received[0])
            if score is not None:
                score, error = checked_score(score)
                return parts.result(row, score, error, received)
            begun = True
        conversation = parts.judge(row)
        requests = judge_step(next, conversation)
        if begun:
            requests = judge_step(conversation.send, received.copy())
        while True:
            if len(requests) == 1 and known is None:
                request = replace(requests[0], begun=True) if begun else requests[0]
                try:
                    answers: list[Answer] = [await parts.client.complete(request)]
                except RowError as failed:
                    answers = [without_frames(failed)]
                begun = True
            else:
                step = known_answers(known, requests, len(received))
                begun = await _fill(step, requests, parts, begun=begun)
                answers, step = cast(list[Answer], step), []
            received += answers
            requests = judge_step(conversation.send, answers)
    except StopIteration as done:
        score, error = checked_score(done.value)
    except RowError as problem:
        error = without_frames(problem)
    except BaseException:  # which ends the run
        if partial is not None and (received or any(step)):
            partial.keep(row, [*received, *step])
        raise
    finally:
        if conversation is not None:
            conversation.close()  # what ends the run is kept, and would keep the row in memory
    if known is not None and partial is not None:
        partial.finished(row)
    return parts.result(row, score, error, received)


async def _fill(step: list[Answer | None], requests: Sequence[Request], parts: RunContext, *, begun: bool) -> bool:
    """Asks what has no answer in `step` yet. True where the row is begun."""
    try:
        return await parts.sharing.fill(step, parts.client, requests, begun=begun)
    except BaseExceptionGroup as failures:
        raise first_cause(failures) from None  # so that a drain is not taken for a failure


def first_cause(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The exception of the group to re-raise: unexpected errors first, then ScorerError, then Interrupted."""
    leaves: list[BaseException] = []

    def walk(error: BaseException) -> None:
        if isinstance(error, BaseExceptionGroup):
            for inner in error.exceptions:
                walk(inner)
        else:
            leaves.append(error)

    walk(group)
    return min(leaves, key=lambda e: (isinstance(e, ScorerError), isinstance(e, Interrupted)))
