"""Takes the lock of a folder, with further tries while a probe holds it or its holder may be dead."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator
from itertools import count

from scorer.errors import InUse, OutputError
from scorer.files.files import Files, Lock

LOCK_TRIES = 5
"""Tries to take a local lock: `scorer status` holds it for an instant when it probes it."""


def lock_again_s(refused: OutputError, tries: int) -> float | None:
    """Seconds to wait before the next try to take a lock, after `tries` tries; None where its holder is alive."""
    if isinstance(refused, InUse):
        return refused.again_s
    return 0.05 if tries < LOCK_TRIES else None


def take(files: Files, path: str, owner: str) -> Lock:
    """Takes the lock; blocks while it has to wait. Raises OutputError where its holder is alive."""
    attempts = _attempts(files, path, owner, lambda _: None)
    while True:
        try:
            pause_s = next(attempts)
        except StopIteration as taken:
            lock: Lock = taken.value
            return lock
        time.sleep(pause_s)


async def take_on_loop(files: Files, path: str, owner: str, say: Callable[[str], None]) -> Lock:
    """The same on the event loop's clock. `say` gets a sentence where the holder may be dead."""
    attempts = _attempts(files, path, owner, say)
    while True:
        try:
            pause_s = next(attempts)
        except StopIteration as taken:
            lock: Lock = taken.value
            return lock
        await asyncio.sleep(pause_s)


def _attempts(files: Files, path: str, owner: str, say: Callable[[str], None]) -> Generator[float, None, Lock]:
    """Yields the pause before each further try and returns the lock."""
    for tries in count(1):
        try:
            return files.lock(path, owner)
        except OutputError as refused:
            pause_s = lock_again_s(refused, tries)
            if pause_s is None:
                raise
            if isinstance(refused, InUse) and tries == 1:
                say(f"{refused} Waiting a moment, in case that process is dead.")
        yield pause_s
    raise AssertionError("count() does not end")
