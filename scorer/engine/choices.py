"""Answers the requests of one judge step: several samples as the choices of one request, whose prompt is paid once.

Knows no wire: whether a server has choices shows in what its client brings. Whatever is missing is asked one by one,
each by a request of its own that waits for its own admission.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from scorer.errors import Interrupted, NoReply, Rejected, RowError, TooLong
from scorer.types import (
    Client,
    Completion,
    Request,
    RowStart,
)
from scorer.usage import (
    Spent,
)

Answer = Completion | RowError


class ChoiceBatching:
    """Answers requests, and remembers for each model whether its server returns several choices."""

    def __init__(self) -> None:
        self._gives: set[str] = set()
        self._separate: set[str] = set()

    async def answers(self, client: Client, requests: Sequence[Request]) -> list[Answer]:
        """An answer for each request, in their order; what several took stands in the first of them.

        Raises: BaseExceptionGroup of what stops a run. Cancelling it cancels every request.
        """
        groups = self._groups(requests)
        async with asyncio.TaskGroup() as tasks:
            asked = [tasks.create_task(self._together(client, group)) for group in groups]
        return [answer for task in asked for answer in task.result()]

    def _groups(self, requests: Sequence[Request]) -> list[list[Request]]:
        """Neighbours that are alike, together."""
        groups: list[list[Request]] = []
        for request in requests:
            if groups and request.alike and request.model not in self._separate and _alike(groups[-1][0], request):
                groups[-1].append(request)
            else:
                groups.append([request])
        return groups

    async def _together(self, client: Client, group: Sequence[Request]) -> list[Answer]:
        if len(group) == 1:
            return [await answer(client, group[0])]
        model = group[0].model
        try:
            # No seed: some servers would give every choice the same one, and so the same reply.
            whole = await client.complete(replace(group[0], seed=None, choices=len(group)))
        except RowError as error:
            if isinstance(error, TooLong) and error.spent is not None and not error.spent.attempts:
                return await self._one_by_one(client, group)  # so many replies at once no minute's limit admits
            if isinstance(error, NoReply):  # stored replies are found by index: of this sample nothing was stored
                self._separate.add(model)
                return await self._one_by_one(client, group)
            if isinstance(error, Rejected) and model not in self._gives:
                return await self._after_refusal(client, group, error)
            return [error, *_copies(error, group[1:])]
        given = list(whole.choices[: len(group)]) or [replace(whole, choices=())]
        if isinstance(given[0], RowError):
            given[0].spent = whole.spent
        else:
            given[0] = replace(given[0], spent=whole.spent)
        (self._gives if len(given) > 1 else self._separate).add(model)
        return [*given, *await self._one_by_one(client, group[len(given) :])]

    async def _after_refusal(self, client: Client, group: Sequence[Request], refusal: Rejected) -> list[Answer]:
        """The first asked alone: its answer tells whether the number of choices or the question was called wrong."""
        first = await answer(client, group[0])
        spent = (refusal.spent or Spent()) + (first.spent or Spent())
        if isinstance(first, RowError):
            first.spent = spent
        else:
            first = replace(first, spent=spent)
        if isinstance(first, Rejected):
            return [first, *_copies(first, group[1:])]
        self._separate.add(group[0].model)
        return [first, *await self._one_by_one(client, group[1:])]

    async def _one_by_one(self, client: Client, requests: Sequence[Request]) -> list[Answer]:
        async with asyncio.TaskGroup() as tasks:
            asked = [tasks.create_task(answer(client, request)) for request in requests]
        return [task.result() for task in asked]


async def answer(client: Client, request: Request) -> Answer:
    """The client's answer, or its error where that is the row's."""
    try:
        return await client.complete(request)
    except RowError as error:
        return error


def _copies(error: RowError, requests: Sequence[Request]) -> list[Answer]:
    """The same error for each of them, with nothing spent."""
    return [type(error)(error.detail) for _ in requests]


def _alike(one: Request, other: Request) -> bool:
    return replace(one, seed=other.seed, index=other.index) == other


class AllOrNone:
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
