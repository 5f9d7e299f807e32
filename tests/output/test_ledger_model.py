"""Promise: through any interleaving of operations and crashes, the ledger has the totals of a reference model."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from copy import copy
from dataclasses import dataclass, field
from random import Random
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulation.disk import Disk
from simulation.loop import Fuse, MortalLoop, PowerCut

from scorer.files.local_files import LocalFiles
from scorer.output import ledger
from scorer.output.ledger import Ledger, damaged, totals
from scorer.output.ledger_totals import Totals
from scorer.usage import (
    Usage,
)

FOLDER = "out/ledger"
STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["reserve", "reserve", "settle", "settle", "cancel", "unknown", "write", "meanwhile", "cut", "kill", "open"]
        ),
        st.integers(0, 2**16),
    ),
    min_size=10,
    max_size=60,
)


@dataclass(slots=True)
class _Entry:
    """One request as the perfect bookkeeper knows it: what was reserved, and what became of it."""

    tokens: int
    pico: int
    end: str = "open"
    usage: Usage | None = None
    cost: int = 0
    intent_durable: bool = False
    end_durable: bool = False


@dataclass(slots=True)
class _Model:
    """Every request of the run so far. `lived` are those of the process that lives."""

    lived: dict[int, _Entry] = field(default_factory=dict)
    past: Totals = field(default_factory=Totals)

    def sums(self, *, durable: bool) -> Totals:
        """What the ledger should say: of the live ledger, or of the files that a crash leaves."""
        total = copy(self.past)
        for entry in self.lived.values():
            if durable and not entry.intent_durable:
                continue
            end = entry.end if entry.end_durable or not durable else "open"
            if end == "known":
                assert entry.usage is not None
                used = entry.usage
                total += Totals(1, used.prompt_tokens, used.completion_tokens, used.cached_tokens, entry.cost)
            elif end == "unknown" or (end == "open" and durable):
                total += Totals(maybe_requests=1, maybe_tokens=entry.tokens, maybe_pico=entry.pico)
        return total

    def written(self) -> None:
        for entry in self.lived.values():
            entry.intent_durable = True
            entry.end_durable = entry.end != "open"


class _Run:
    """A real ledger on a simulated disk beside its model; each step is done to both."""

    def __init__(self, *, strict: bool) -> None:
        self.strict = strict
        self.fuse = Fuse()
        self.disk = Disk(Random(0), self.fuse)
        self.loop = MortalLoop(0.0, self.fuse)
        self.model = _Model()
        self.owners = 0
        with self.disk.mounted():
            self.open()

    def open(self) -> None:
        """A new owner takes over and sums up what it finds."""
        self.owners += 1
        self.model.past = self.model.sums(durable=True)
        self.model.lived.clear()
        offload = self.loop.offload(lambda: (0.0, 0.0))
        self.ledger = Ledger(LocalFiles(), FOLDER, f"{self.owners:03d}", offload=offload, strict=self.strict)
        self.ledger.open()

    def step(self, name: str, number: int) -> None:
        live = [key for key, entry in self.model.lived.items() if entry.end == "open"]
        if name == "reserve":
            for _ in range(1 + number % 4):
                self.model.lived[self.ledger.reserve(number, 2 * number)] = _Entry(number, 2 * number)
        elif name in ("settle", "cancel", "unknown") and live:
            self.end(name, live[number % len(live)], number)
        elif name == "write":
            self.loop.run_until_complete(self.ledger.written() if number % 2 else self.ledger.close())
            self.written(everything=number % 2 == 0)
        elif name == "meanwhile":
            self.loop.run_until_complete(self.meanwhile(number))
        elif name in ("cut", "kill"):
            self.crash(number % 14 if name == "cut" else None)
        elif name == "open":
            self.loop.run_until_complete(self.ledger.close())
            self.model.written()
            self.disk.ends()
            self.open()

    async def meanwhile(self, number: int) -> None:
        """Requests come and end while a write is under way; the next one has them."""
        writing = asyncio.ensure_future(self.ledger.close())
        for turn in range(number % 8):
            await asyncio.sleep(0)
            if turn % 2 == 0:
                self.step("reserve", number - number % 4)
            else:
                self.end("settle", max(self.model.lived), number)
        await writing
        await self.ledger.close()
        self.model.written()

    def end(self, name: str, key: int, number: int) -> None:
        entry = self.model.lived[key]
        if name == "settle":
            usage = Usage(1 + number % 997, number % 7, number % 2)
            entry.end, entry.usage, entry.cost = "known", usage, number
            self.ledger.settle(key, usage, number)
        elif name == "cancel":
            entry.end = "cancelled"
            self.ledger.cancel(key)
        else:
            entry.end = "unknown"
            self.ledger.unknown(key)

    def written(self, *, everything: bool) -> None:
        """`written` promises intents alone; where it had something to write, the rest went with it."""
        if everything or any(not entry.intent_durable for entry in self.model.lived.values()):
            self.model.written()

    def crash(self, calls: int | None) -> None:
        """The machine loses power, perhaps in the middle of a last append; or the process is killed."""
        before = after = self.model.sums(durable=True)
        if calls is not None:
            self.fuse.arm(calls=calls)
            with suppress(PowerCut):
                self.loop.run_until_complete(self.ledger.close())
            self.model.written()
            after = self.model.sums(durable=True)
            self.fuse.arm()
            self.fuse.burnt = False
            self.disk.cut()
        else:
            self.disk.ends()
        self.loop.bury(quietly=True)
        self.loop = MortalLoop(0.0, self.fuse)
        found = totals(LocalFiles(), FOLDER)
        assert found in (before, after)
        assert damaged(LocalFiles(), FOLDER) is None
        self.model.past = found
        self.model.lived.clear()
        self.open()

    def agree(self) -> None:
        live = [entry for entry in self.model.lived.values() if entry.end == "open"]
        assert self.ledger.totals == self.model.sums(durable=False)
        assert self.ledger.open_tokens == sum(entry.tokens for entry in live)
        assert self.ledger.open_pico == sum(entry.pico for entry in live)
        assert totals(LocalFiles(), FOLDER) == self.model.sums(durable=True)


@pytest.mark.slow
@given(steps=STEPS, rotate_bytes=st.integers(20, 600), strict=st.booleans())
@settings(max_examples=200)
def test_ledger_matches_reference_model_through_any_steps_and_crashes(
    steps: list[tuple[str, int]], rotate_bytes: int, strict: bool
) -> None:
    """Slow: two hundred lives of a ledger on a simulated disk."""
    with mock.patch.multiple(ledger, ROTATE_BYTES=rotate_bytes, UNWRITTEN=2**20):  # it writes when a step says so
        run = _Run(strict=strict)
        with run.disk.mounted():
            for name, number in steps:
                run.step(name, number)
                run.agree()
    run.loop.bury(quietly=True)
