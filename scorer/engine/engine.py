"""Scores rows with bounded concurrency: drives each row's judge. Knows no judge, wire, limit or file by name."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import field, replace
from typing import TYPE_CHECKING

from scorer.engine.admission import LARGE, ByteBudget, RowSlots
from scorer.engine.choices import ChoiceBatching
from scorer.engine.judging import checked_score, next_requests
from scorer.errors import (
    Damaged,
    InputError,
    Interrupted,
    RowError,
    ScorerError,
    StorageError,
    TooManyFailed,
    mended_by,
)
from scorer.frozen import dataclass
from scorer.types import (
    Client,
    Completion,
    Conversation,
    Judge,
    Request,
    Result,
    Row,
    RowStart,
    Score,
    Store,
)
from scorer.usage import (
    Spent,
)

if TYPE_CHECKING:
    from scorer.engine.dedupe import Deduplicator

ALIKE = 200
"""A run whose first so many rows all end in the same error is stopped: no row can mend what is wrong."""


@dataclass(frozen=True, slots=True)
class RunContext:
    """The parts that score a run's rows.

    `now_us` is the wall clock in microseconds since 1970, UTC. `raw` is what to keep of a reply, None for nothing.
    With `deduplicator`, rows that ask the same are asked once. `stop_alike`: a run whose first rows all fail alike is
    stopped, which is no use where rows cost nothing.
    """

    judge: Judge
    client: Client
    store: Store
    now_us: Callable[[], int]
    raw: Callable[[Completion], str] | None = None
    sharing: ChoiceBatching = field(default_factory=ChoiceBatching)
    deduplicator: Deduplicator | None = None
    stop_alike: bool = True


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

    Over a complexity of 15: the three inner functions share the slots and the task group of the run.
    """
    weighed = replace(parts, client=ByteBudget(parts.client, slots.size))
    alike = UniformFailureGuard(ALIKE if parts.stop_alike else None)
    deduplicator = parts.deduplicator

    async def score(row: Row, question: bytes | None = None) -> None:
        try:
            result = await score_row(row, parts if row.size < LARGE else weighed)
        except Interrupted:  # draining turned it away before its first request
            for other in (
                deduplicator.turned_away(question) if deduplicator is not None and question is not None else ()
            ):
                slots.leave(other.size)
            return
        finally:
            slots.free(row.size)
        parts.store.add(result)
        alike.look(result)
        if deduplicator is not None and question is not None:
            copies, others = deduplicator.finished(question, result, parts.now_us())
            for copy in copies:  # nothing was asked: they say nothing of what `alike` looks for
                slots.leave(copy.row.size)
                parts.store.add(copy)
            for other in others:
                group.create_task(after_all(other, question))

    async def after_all(row: Row, question: bytes) -> None:
        await slots.come_back()
        await score(row, question)

    def begin(row: Row) -> None:
        if row.problem is not None:
            slots.free(row.size)
            result = result_of(row, None, row.problem, [], parts)
            parts.store.add(result)
            if not isinstance(row.problem, Damaged):  # a damaged row group says nothing of the next one
                alike.look(result)
            return
        question = None if deduplicator is None else deduplicator.question(row)
        if deduplicator is not None and question is not None:
            if (known := deduplicator.known(question, row, parts.now_us())) is not None:
                slots.free(row.size)
                parts.store.add(known)
                return
            if deduplicator.waits(question, row):
                slots.step_aside()
                return
        group.create_task(score(row, question))

    unread: StorageError | InputError | None = None
    try:
        async with asyncio.TaskGroup() as group, aclosing(batches):  # type: ignore[type-var]
            while True:
                try:
                    batch = await anext(batches, None)
                except (StorageError, InputError) as error:  # the rows under way are finished, so that none is lost
                    unread = error
                    break
                if batch is None or drain.asked:
                    break
                for row in batch:
                    await parts.store.room()
                    if not slots.took(row.size):
                        await slots.take(row.size)
                    if drain.asked:
                        return
                    begin(row)
    except BaseExceptionGroup as failures:
        raise first_cause(failures) from None
    if unread is not None:
        raise unread


async def score_row(row: Row, parts: RunContext) -> Result:
    """The result of one row. Raises only what stops the whole run."""
    received: list[Completion | RowError] = []  # all answers; a row that has one is finished, also in a drain
    score: Score | None = None
    error: RowError | None = None
    conversation: Conversation | None = None
    try:
        conversation = parts.judge(row)
        requests = next_requests(next, conversation)
        while True:
            if len(requests) == 1:
                request = replace(requests[0], begun=True) if received else requests[0]
                try:
                    answers: list[Completion | RowError] = [await parts.client.complete(request)]
                except RowError as failed:
                    answers = [failed]
            else:
                answers = await _all_of(parts, requests, begun=bool(received))
            received += answers
            requests = next_requests(conversation.send, answers)
    except StopIteration as done:
        score, error = checked_score(done.value)
    except RowError as problem:
        error = problem
    finally:
        if conversation is not None:
            conversation.close()  # what ends the run is kept, and would keep the row in memory
    return result_of(row, score, error, received, parts)


async def _all_of(parts: RunContext, requests: Sequence[Request], *, begun: bool) -> list[Completion | RowError]:
    """An answer for each request, in their order."""
    try:
        return await parts.sharing.answers(_AllOrNone(parts.client, begun=begun), requests)
    except BaseExceptionGroup as failures:
        raise first_cause(failures) from None  # so that a drain is not taken for a failure


class _AllOrNone:
    """The client of several requests of one row: a drain turns away all of them, or none once one was answered."""

    def __init__(self, client: Client, *, begun: bool) -> None:
        self._client = client
        self._begun = begun
        self._row = RowStart()
        self._open = 0
        self._known = asyncio.Event()  # that the row is begun, or that all were turned away

    async def complete(self, request: Request) -> Completion:
        if self._begun:
            return await self._client.complete(replace(request, begun=True))
        self._open += 1
        try:
            try:
                completion = await self._client.complete(replace(request, row=self._row))
            finally:
                self._open -= 1
        except Interrupted:
            if self._open:
                await self._known.wait()
            self._known.set()
            if not self._begun:
                raise
            return await self._client.complete(replace(request, begun=True))
        except RowError:
            self._answered()
            raise
        self._answered()
        return completion

    def _answered(self) -> None:
        self._begun = True
        self._known.set()


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


class UniformFailureGuard:
    """Stops a run whose first `most` rows all fail with the same error. None: never."""

    def __init__(self, most: int | None) -> None:
        self._most = most
        self._name: str | None = "" if most is not None else None
        self._rows = 0

    def look(self, result: Result) -> None:
        if self._name is None:
            return
        name = result.error.name if result.error is not None else None
        if name is None or self._name not in ("", name):
            self._name = None
            return
        self._name = name
        self._rows += 1
        if self._most is not None and self._rows >= self._most:
            assert result.error is not None
            raise TooManyFailed(
                f"The first {self._rows} rows all ended in {name}; the last one says: "
                f"{result.error.detail.rstrip('.')}. What is finished is kept. {mended_by([name])}"
            )


def result_of(
    row: Row, score: Score | None, error: RowError | None, answers: Sequence[Completion | RowError], parts: RunContext
) -> Result:
    """The result of a row, with the replies, tokens, cost and seconds of all its requests."""
    model = finish_reason = None
    raw: list[str | None] = []
    spent: Spent | None = None
    keep = parts.raw
    for answer in answers:
        if isinstance(answer, Completion):
            model, finish_reason = answer.model, answer.finish_reason
            raw.append(keep(answer) if keep is not None else None)
        else:
            raw.append(None)
        if answer.spent is not None:
            spent = answer.spent if spent is None else spent + answer.spent
    if spent is None:
        spent = Spent()
    return Result(
        row=row,
        score=score,
        error=error,
        raw=tuple(raw) if keep is not None and raw else None,
        model=model,
        finish_reason=finish_reason,
        usage=spent.usage,
        cost_pico=spent.cost_pico,
        attempts=spent.attempts,
        waited_s=spent.waited_s,
        answered_s=spent.answered_s,
        finished_at=parts.now_us(),
    )
