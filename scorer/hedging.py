"""One question to several takers: another request goes out when the last is late, and the first answer wins.

Source: Dean and Barroso, "The Tail at Scale", CACM 56(2), 2013, "hedged requests". Knows nothing of what is asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

MOST = 3
"""So many requests for one answer, at most."""


async def first_answer(
    ask: Callable[[asyncio.Event], Coroutine[Any, Any, T]], late_s: float, passing: tuple[type[Exception], ...]
) -> T:
    """The first answer of `ask`, which is called again each time that the newest request is late by `late_s`.

    `ask(sent)` sets `sent` when its request goes out: what waits for admission is not late. Losers are cancelled and
    awaited. One that fails with an exception of `passing` loses too; where all do, the last failure is raised.
    Cancelling it cancels all.
    """

    async def one(sent: asyncio.Event) -> tuple[list[T], Exception | None]:
        try:
            return [await ask(sent)], None
        except passing as error:
            return [], error

    running: set[asyncio.Task[tuple[list[T], Exception | None]]] = set()
    answers: list[T] = []
    failure: Exception | None = None
    async with asyncio.TaskGroup() as group:
        for turn in range(MOST):
            sent = asyncio.Event()
            running.add(group.create_task(one(sent)))
            while running and not answers:
                done = await _ended(running, sent, late_s if turn < MOST - 1 else None)
                if not done:
                    break  # late: one more is asked
                running -= done
                for answer, lost in (task.result() for task in done):
                    answers += answer
                    failure = lost or failure
            if answers or not running:
                break
        for loser in running:
            loser.cancel()
    if not answers:
        assert failure is not None
        raise failure
    return answers[0]


async def _ended(running: set[asyncio.Task[T]], sent: asyncio.Event, late_s: float | None) -> set[asyncio.Task[T]]:
    """Those that ended, as soon as one does; empty once the newest request has been out for `late_s`."""
    going = asyncio.ensure_future(sent.wait())
    try:
        await asyncio.wait({*running, going}, return_when=asyncio.FIRST_COMPLETED)
        if not any(task.done() for task in running):
            await asyncio.wait(running, timeout=late_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        going.cancel()
    return {task for task in running if task.done()}
