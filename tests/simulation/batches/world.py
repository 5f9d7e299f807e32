"""The provider of a simulated run: batches and an online endpoint, and what each request was paid, by its bytes.

Nothing in here trusts scorer: whatever breaks a promise at that moment goes to `broken`.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from random import Random
from typing import Any

import orjson
from simulation.batches.settings import Setting

from scorer.errors import Unreachable
from scorer.rehearsal.batches.log import BILLED, BatchLog, LineFate
from scorer.rehearsal.batches.simulator import SimulatedBatches
from scorer.rehearsal.request_body import Endpoint
from scorer.rehearsal.request_log import Bill
from scorer.rehearsal.simulator import RehearsalJudge
from scorer.types import Call, Reply

EPOCH = 1_790_000_000.0


@dataclass(slots=True)
class Paid:
    """One request, by its bytes: how often it was paid in batches and online.

    `unknown` payments are those that nobody could have known of: of a line that is in no file, of a batch that the
    provider made twice, of an online request that was out when its process died or that was never answered. `lost` ones
    were made online by a process that died: their replies may not have been stored.
    """

    row: str
    batch: int = 0
    online: int = 0
    unknown: int = 0
    lost: int = 0


class PaidLog(BatchLog):
    """A log that tells the world of each line."""

    def __init__(self, world: BatchWorld) -> None:
        super().__init__()
        self._world = world

    def line(self, fate: LineFate, custom_id: str, row: str, body: bytes, bill: Bill) -> None:
        super().line(fate, custom_id, row, body, bill)
        self._world.line(fate, custom_id, row, body, bill)


class BatchWorld:
    """It lives on while scorer dies and comes back. `clock` is that of whoever lives; `caps` are those of its file."""

    def __init__(self, setting: Setting, broken: Callable[[str], None]) -> None:
        self.clock: Callable[[], float] = lambda: 0.0
        self.caps = dict(setting.caps)
        self.judge = RehearsalJudge(setting.config, 0.0, EPOCH)
        self.batches = SimulatedBatches(self.judge, setting.config.batch, Random(f"provider of {setting.seed}"))
        self.batches.store.log = PaidLog(self)
        self.paid: dict[bytes, Paid] = {}
        self.failures = Counter[str]()
        self.pico = self.tokens = self.online_requests = 0
        self.lost_pico = self.lost_tokens = 0
        """Paid online by processes that died: a ledger without caps need not have it."""
        self.executed = Counter[str]()
        """How often each line of a chunk was executed, by its custom_id."""
        self._setting = setting
        self._broken = broken
        self._draw = Random(f"online of {setting.seed}")
        self._out: dict[int, bytes] = {}
        self._mine: list[tuple[bytes, int, int]] = []
        self._endpoint: Endpoint = "chat" if setting.provider == "openai" else "messages"
        self._digest = blake2b(digest_size=8)

    @property
    def digest(self) -> str:
        """A digest of all that was paid."""
        return self._digest.hexdigest()

    def begins(self) -> None:
        """A process starts."""
        self._out.clear()
        self._mine.clear()

    def dies(self) -> None:
        """The process is gone: whether its online requests were paid, nobody will ever know."""
        for key in self._out.values():
            if key in self.paid:
                self.paid[key].unknown += 1
        for key, tokens, pico in self._mine:
            self.paid[key].lost += 1
            self.lost_tokens += tokens
            self.lost_pico += pico
        self.begins()

    def line(self, fate: LineFate, custom_id: str, row: str, body: bytes, bill: Bill) -> None:
        """A line of a batch has ended."""
        if fate in ("error", "status_0", "lost"):
            self.failures[_row_of(self, body)] += 1
        if fate not in BILLED:
            return
        paid = self._pay(body, row, bill, 2)
        paid.batch += 1
        self.executed[custom_id] += 1
        twin = self.executed[custom_id] > 1  # the provider made two batches of one create
        paid.unknown += 1 if twin or fate == "lost_paid" else 0

    def _pay(self, body: bytes, row: str, bill: Bill, divisor: int) -> Paid:
        tokens = bill.prompt_tokens + bill.completion_tokens
        price = self._setting.pico
        self.tokens += tokens
        self.pico += (bill.prompt_tokens * price[0] + bill.completion_tokens * price[1]) // divisor
        self._digest.update(f"{self.clock()!r} {row} {divisor}\n".encode())
        if self.tokens > self.caps.get("max_tokens", math.inf):
            self._broken(f"{self.tokens} tokens are billed, the cap is {self.caps['max_tokens']}")
        if self.pico > self.caps.get("max_usd", math.inf) * 10**12 + 1:
            self._broken(f"{self.pico} pico-dollars are billed, the cap is {self.caps['max_usd']} USD")
        key = blake2b(body, digest_size=16).digest()
        return self.paid.setdefault(key, Paid(row))

    async def post(self, call: Call, timeout_s: float) -> Reply:
        """An online request."""
        self.online_requests += 1
        outcome = self.judge.ask(self._endpoint, orjson.loads(call.body), self.clock(), self._draw)
        key = blake2b(call.body, digest_size=16).digest()
        number, tokens, pico = self.online_requests, self.tokens, self.pico
        if outcome.fate in ("ok", "lost"):
            self._pay(call.body, outcome.row, outcome.bill, 1).online += 1
            self._mine.append((key, self.tokens - tokens, self.pico - pico))
        self._out[number] = key
        try:
            await asyncio.sleep(min(outcome.delay_s, timeout_s))
        finally:
            self.judge.settle(outcome, self.clock(), delivered=True)
        self._out.pop(number, None)
        if outcome.delay_s >= timeout_s or outcome.wire not in ("whole", "slow"):
            self.paid[key].unknown += 1
            raise Unreachable("the judge broke off", billed=True)
        return Reply(outcome.status, outcome.headers, outcome.body)


class Wire:
    """A `Transport` to the world, with the constructor of `HttpTransport`."""

    def __init__(self, world: BatchWorld, *, timeout_s: float, **_: object) -> None:
        self._world, self._timeout_s = world, timeout_s

    async def __aenter__(self) -> Wire:
        return self

    async def __aexit__(self, *_: object) -> None: ...

    async def post(self, call: Call) -> Reply:
        return await self._world.post(call, min(self._timeout_s, call.timeout_s or self._timeout_s))


def _row_of(world: BatchWorld, body: bytes) -> str:
    found: Any = world.judge.answerer.read(world._endpoint, orjson.loads(body))
    return str(found.row)
