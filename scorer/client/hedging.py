"""Hedges a request: sends another one when the last is late, and takes the first answer.

Source: Dean and Barroso, "The Tail at Scale", CACM 56(2), 2013, "hedged requests". Knows nothing of what is asked.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

LOOK_S = 1.0
MOST = 3
"""So many requests for one answer, at most."""
PATIENCE = 0.3
"""The second request is late after this share of the time: a row that met one that hangs has waited long enough."""


async def first_answer(
    ask: Callable[[asyncio.Event], Coroutine[Any, Any, T]],
    late_s: Callable[[], float | None],
    passing: tuple[type[Exception], ...],
) -> T:
    """The first answer of `ask`, which is called again each time that the newest request is out for `late_s()`.

    The second is late after `PATIENCE` of that. `late_s` is called repeatedly; None while it is unknown. `ask(sent)`
    sets `sent` when its request goes out: what waits for admission is not late. Losers are cancelled and awaited. One
    that fails with an exception of `passing` loses too; where all do, the last failure is raised. Cancelling it cancels
    all.
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
                share = PATIENCE if turn else 1.0
                done = await _ended(running, sent, late_s if turn < MOST - 1 else None, share)
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


async def _ended(
    running: set[asyncio.Task[T]], sent: asyncio.Event, late_s: Callable[[], float | None] | None, share: float
) -> set[asyncio.Task[T]]:
    """Those that ended, as soon as one does; empty once the newest request is late. `late_s` None: none is."""
    going = asyncio.ensure_future(sent.wait())
    try:
        await asyncio.wait({*running, going}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        going.cancel()
    clock = asyncio.get_running_loop().time
    since = clock()
    while not (done := {task for task in running if task.done()}):
        late = late_s() if late_s is not None else math.inf
        left = LOOK_S if late is None else since + share * late - clock()
        if left <= 0:
            return set()
        await asyncio.wait(running, timeout=min(left, LOOK_S), return_when=asyncio.FIRST_COMPLETED)
    return done
