"""Answers the requests of one judge step: several samples as the choices of one request, whose prompt is paid once.

Knows no wire: whether a server has choices shows in what its client brings. Whatever is missing is asked one by one,
each by a request of its own that waits for its own admission.
"""

from __future__ import annotations

import asyncio
from collections.abc import Container, Sequence
from dataclasses import replace

from scorer.error_frames import without_frames
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
Placed = tuple[int, Request]
"""A request and its place among those of its step."""


class ChoiceBatching:
    """Answers requests, and remembers for each model whether its server returns several choices."""

    def __init__(self) -> None:
        self._gives: set[str] = set()
        self._separate: set[str] = set()

    async def fill(
        self, step: list[Answer | None], client: Client, requests: Sequence[Request], *, begun: bool
    ) -> bool:
        """Asks the requests of one row that have no answer in `step`, and puts each answer there as it comes.

        `step` has a place for each request. What several requests took stands in the first of them. `begun`: a request
        of the row was answered before. Returns whether one is now. Raises BaseExceptionGroup of what stops a run, with
        the answers that came before in `step`. Cancelling it cancels every request.
        """
        places = [place for place, found in enumerate(step) if found is None]
        if not places:
            return begun
        asked = AllOrNone(client, begun=begun)
        async with asyncio.TaskGroup() as tasks:
            for group in groups_alike([(place, requests[place]) for place in places], self._separate):
                tasks.create_task(self._together(step, asked, group))
        return True

    async def _together(self, step: list[Answer | None], client: Client, group: Sequence[Placed]) -> None:
        (place, request), *others = group
        if not others:
            step[place] = await answer(client, request)
            return
        try:
            whole = await client.complete(as_choices(request, len(group)))
        except RowError as error:
            if isinstance(error, TooLong) and error.spent is not None and not error.spent.attempts:
                await self._one_by_one(step, client, group)  # no minute's limit admits so many replies at once
            elif isinstance(error, NoReply):  # stored replies are found by index: of this sample nothing was stored
                self._separate.add(request.model)
                await self._one_by_one(step, client, group)
            elif isinstance(error, Rejected) and request.model not in self._gives:
                await self._after_refusal(step, client, group, error)
            else:
                _all_end(step, group, error)
            return
        given = given_choices(whole, len(group))
        (self._gives if len(given) > 1 else self._separate).add(request.model)
        for (at, _), found in zip(group, given, strict=False):
            step[at] = found
        await self._one_by_one(step, client, group[len(given) :])

    async def _after_refusal(
        self, step: list[Answer | None], client: Client, group: Sequence[Placed], refusal: Rejected
    ) -> None:
        """The first asked alone: its answer tells whether the number of choices or the question was called wrong."""
        place, request = group[0]
        first = await answer(client, request)
        spent = (refusal.spent or Spent()) + (first.spent or Spent())
        if isinstance(first, RowError):
            first.spent = spent
        else:
            first = replace(first, spent=spent)
        if isinstance(first, Rejected):
            _all_end(step, group, first)
            return
        step[place] = first
        self._separate.add(request.model)
        await self._one_by_one(step, client, group[1:])

    async def _one_by_one(self, step: list[Answer | None], client: Client, group: Sequence[Placed]) -> None:
        async def ask(place: int, request: Request) -> None:
            step[place] = await answer(client, request)

        async with asyncio.TaskGroup() as tasks:
            for place, request in group:
                tasks.create_task(ask(place, request))


def groups_alike(asked: Sequence[Placed], separate: Container[str]) -> list[list[Placed]]:
    """Neighbours that are alike, together; those for a model in `separate`, by alias, each by itself."""
    groups: list[list[Placed]] = []
    for place, request in asked:
        if groups and request.alike and request.model not in separate and _alike(groups[-1][0][1], request):
            groups[-1].append((place, request))
        else:
            groups.append([(place, request)])
    return groups


def as_choices(request: Request, number: int) -> Request:
    """One request for so many replies. It has no seed: some servers would give every choice the same one."""
    return replace(request, seed=None, choices=number)


def given_choices(whole: Completion, wanted: int) -> list[Answer]:
    """The choices of a reply, at most as many as were wanted; what they took stands in the first of them."""
    given: list[Answer] = [*whole.choices[:wanted]] or [replace(whole, choices=())]
    first = given[0]
    if isinstance(first, RowError):
        first.spent = whole.spent
    else:
        given[0] = replace(first, spent=whole.spent)
    return given


async def answer(client: Client, request: Request) -> Answer:
    """The client's answer, or its error where that is the row's."""
    try:
        return await client.complete(request)
    except RowError as error:
        return without_frames(error)


def _all_end(step: list[Answer | None], group: Sequence[Placed], error: RowError) -> None:
    """All of them end in the same error; what it took stands in the first."""
    for number, (place, _) in enumerate(group):
        step[place] = type(error)(error.detail) if number else without_frames(error)


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
