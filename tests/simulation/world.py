"""The judge of a simulated run: the rehearsal judge with faults, over a transport of real bytes, with its own records.

Nothing in here trusts scorer: what was asked, charged, billed and answered is written down as it happens, and whatever
breaks a promise at that moment goes to `broken`.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate
from hashlib import blake2b
from random import Random
from typing import Any

import orjson
from simulation.connections import Lines
from simulation.patience import Patience
from simulation.settings import Setting
from simulation.wrong_usage import Truth

from scorer.errors import Unreachable
from scorer.rehearsal import replies
from scorer.rehearsal.config import FAULTS
from scorer.rehearsal.simulator import Outcome, RehearsalJudge
from scorer.types import Call, Reply

EPOCH = 1_790_000_000.0
FORGET_S = 65.0
"""After so long, no sliding minute contains requests under other limits."""
ESTIMATES_ERR = 5
"""Requests in a run that may be larger than the tokens that were counted for them."""
_LIES: tuple[dict[str, str], ...] = (
    {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "6m0s"},
    {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "99h"},
    {"x-ratelimit-limit-requests": "1"},
    {"x-ratelimit-limit-tokens": "1"},
    {"x-ratelimit-limit-requests": "1e12", "x-ratelimit-remaining-requests": "1e12"},
    {"x-ratelimit-limit-tokens": "-1", "x-ratelimit-remaining-tokens": "-1"},
    {"x-ratelimit-limit-requests": "a few", "x-ratelimit-remaining-tokens": "\u221e"},
    {"retry-after": "86400", "retry-after-ms": "nan"},
)
_ROW = re.compile(r"\[row:([^\]]+)\]")

LET_THROUGH_S = 0.01
"""Between a permit and its request passes a turn of the loop or two."""


@dataclass(slots=True)
class RowCounts:
    """What the judge knows of one row: replies with a verdict, replies without one, failures that were its own.

    `closed` rows need not be asked, or were told that they cannot be scored; `out` requests are under way.
    """

    good: int = 0
    bad: int = 0
    failures: int = 0
    throttles: int = 0
    closed: bool = False
    out: int = 0


class World:
    """A judge, its weather and its counters; it lives on while scorer dies and comes back.

    `clock` is that of the process that lives, and the caps are those of its run file. `after_good` is told how many
    verdicts were given so far.
    """

    def __init__(self, setting: Setting, broken: Callable[[str], None], after_good: Callable[[int], None]) -> None:
        self.clock: Callable[[], float] = lambda: 0.0
        self.caps: dict[str, float] = {}
        self.rows = {
            row: RowCounts(closed=kind in ("null", "damaged"))
            for row, kind in setting.kinds.items()
            if setting.topic(row) == row
        }
        self.asked: list[tuple[float, int]] = []
        """The time of each request and the tokens that it was charged."""
        self.fates: Counter[str] = Counter()
        self.billed_tokens = self.billed_pico = 0
        self.truth = Truth(setting.lie, Random(f"truth of {setting.seed}"))
        self.patience = Patience()
        self._begun: set[str] = set()
        """The rows that the process that lives has asked for."""
        self._paused_at = math.inf
        self.excused_until = -1.0
        """Until then scorer cannot know the enforced limits."""
        self._setting = setting
        self._broken = broken
        self._after_good = after_good
        self._draw = Random(f"world of {setting.seed}")
        self._config = setting.config
        self._judge = RehearsalJudge(setting.config, 0.0, EPOCH)
        self._digest = blake2b(digest_size=8)
        self._others = RowCounts()  # requests that are about no row
        self._open = self._good = self._beyond = 0
        self._outage, self._outage_until = "", -1.0
        self._good_now = Counter[str]()  # verdicts that the process got that lives now
        self._storm_until: float | None = None
        self._late_s = 0.0
        """The longest time until a 429: an overloaded gateway sends it late."""
        self._lies_until = -1.0

    @property
    def digest(self) -> str:
        """A digest of all requests and answers with their times."""
        return self._digest.hexdigest()

    @property
    def paid_again(self) -> int:
        """Verdicts for rows that already had one."""
        return sum(max(0, counts.good - 1) for counts in self.rows.values())

    # --- weather ------------------------------------------------------------------------------------------------------

    def begins(self) -> None:
        """A process starts: it knows only the declared limits."""
        self._good_now.clear()
        self._begun.clear()
        self._paused_at = math.inf
        self.patience = Patience(self.patience.until)
        self.patience.excuse(self.clock())
        if (self._config.requests_per_minute or math.inf) < self._setting.requests_per_minute:
            self.excuse_limits(self.clock())

    def paused(self, seconds: float) -> None:
        """From now on no further row may be begun; a request that was let through just before may still come."""
        self._paused_at = self.clock() + LET_THROUGH_S
        self.patience.excuse(self.clock(), seconds)

    def resumed(self) -> None:
        self._paused_at = math.inf
        self.patience.excuse(self.clock())

    def lines(self) -> Lines:
        """The connections of a new client."""
        return Lines(self._setting.twice, Random(f"lines of {self._setting.seed}"), lambda: self.clock())

    def excuse_limits(self, since: float) -> None:
        """Requests under limits that scorer cannot know yet are no violation."""
        self.excused_until = max(self.excused_until, since + FORGET_S)

    def breaks_down(self, kind: str, seconds: float) -> None:
        self._outage, self._outage_until = kind, self.clock() + seconds

    def storms(self, kind: str, seconds: float, wish_s: float) -> None:
        """Nearly every request gets a 429 of that kind, with that Retry-After."""
        rest = 1 - sum(self._config.fault(name) for name in FAULTS)
        self._configure({f"fault_{kind}": 0.95 * rest, "retry_after_s": wish_s})
        self._storm_until = self.clock() + seconds
        self._late_s = self._draw.choice([0.0, 4.0, 4.0])

    def lies(self, seconds: float) -> None:
        """Sends wrong rate headers for a while."""
        self._lies_until = self.clock() + seconds
        self.excuse_limits(self._lies_until)

    def changes_limits(self, factor: float) -> None:
        """Multiplies the declared limits; the next reply's headers say so."""
        names = ("requests_per_minute", "tokens_per_minute")
        self.excuse_limits(self.clock())
        self._configure({name: getattr(self._setting, name) * factor for name in names})

    def _configure(self, changes: dict[str, Any]) -> None:
        self._config = self._config.changed(changes)
        self._judge.configure(self._config, self.clock())

    def watch(self) -> None:
        """Checks that scorer sends requests when it could."""
        if self.clock() <= self.patience.until or self._open >= self._setting.concurrency:
            return
        if self.caps and self._open:
            return  # it may wait for a settlement to make room under its cap
        waiting = sum(self._waits(counts) for counts in self.rows.values())
        if waiting or not self._open:
            self._broken(f"silence: {waiting} rows wait, {self._open} requests are out, and nothing is asked")

    def _waits(self, counts: RowCounts) -> bool:
        spent = counts.failures + counts.throttles / 10 >= self._setting.retries
        return not (counts.good or counts.closed or counts.bad >= 3 or counts.out or spent)

    # --- one request --------------------------------------------------------------------------------------------------

    async def post(self, call: Call, timeout_s: float) -> Reply:
        """See `Transport.post`."""
        body = orjson.loads(call.body)
        row = _row(body)
        counts = self.rows.get(row, self._others)
        if row not in self._begun and row in self.rows and self.clock() > self._paused_at:
            self._broken(f"{row} is begun in a pause")
        self._begun.add(row)
        self._open += 1
        counts.out += 1
        if self._open > self._setting.concurrency:
            self._broken(f"{self._open} requests are in flight, {self._setting.concurrency} may be")
        self.patience.asked(self.clock(), timeout_s)
        try:
            if self.clock() < self._outage_until:
                return await self._down(row, counts, timeout_s)
            return await self._up(row, counts, body, timeout_s)
        finally:
            self._open -= 1
            counts.out -= 1

    async def _down(self, row: str, counts: RowCounts, timeout_s: float) -> Reply:
        kind = self._outage
        if kind != "refused":
            self.asked.append((self.clock(), 0))
        await asyncio.sleep(timeout_s if kind == "blackhole" else self._draw.uniform(0.001, 2.0))
        # What hangs until after the outage cannot be told from a row that hangs by itself.
        counts.failures += kind == "blackhole" and self.clock() >= self._outage_until
        self._failed(row, kind)
        if kind == "refused":
            raise Unreachable("cannot reach the judge", billed=False)
        if kind in ("blackhole", "reset"):
            raise Unreachable("the judge broke off", billed=True)
        status, body = (
            (replies.FAILURES[kind][0], replies.FAILURES[kind][2]) if kind == "html" else replies.ALWAYS[kind]
        )
        return Reply(status, {}, body)

    async def _up(self, row: str, counts: RowCounts, body: Any, timeout_s: float) -> Reply:
        asked_at = self.clock()
        if self._storm_until is not None and asked_at >= self._storm_until:
            self._storm_until = None
            self._configure({"fault_429": 0.0, "fault_429_bare": 0.0, "fault_429_date": 0.0})
        outcome = self._judge.ask("chat", body, asked_at, self._draw)
        bill = self._enter(outcome, body)
        delay = outcome.delay_s
        if outcome.wire == "slow":
            delay += self._config.slow_s
        if outcome.status == 429:
            delay += self._draw.uniform(0.3, 1.0) * self._late_s
        arrived = False
        try:
            await asyncio.sleep(min(delay, timeout_s))
            arrived = delay < timeout_s and outcome.wire in ("whole", "slow")
        finally:
            self._judge.settle(outcome, self.clock(), delivered=arrived)
            if bill is not None and arrived and outcome.fate == "ok":
                self.truth.arrived(self.clock(), *self._price(*bill))
            elif bill is not None:
                self.truth.lost(*self._price(*bill))
        if not arrived:
            counts.failures += 1
            self._failed(row, outcome.wire)
            raise Unreachable("the judge broke off, or did not answer in time", billed=True)
        headers = self._headers(outcome, asked_at)
        self._arrived(row, counts, outcome, headers, asked_at)
        lies = bill is not None and self._setting.lie
        return Reply(outcome.status, headers, self.truth.rewritten(outcome.body, *bill) if lies else outcome.body)

    def _price(self, prompt: int, completion: int) -> tuple[int, int]:
        """A bill in tokens and pico-dollars."""
        input_pico, output_pico = self._setting.pico
        return prompt + completion, prompt * input_pico + completion * output_pico

    def _enter(self, outcome: Outcome, body: Any) -> tuple[int, int] | None:
        """A request is billed when it arrives, whether or not its reply is received.

        Returns the true bill, prompt and completion; None where nothing is billed.
        """
        now, bill = self.clock(), outcome.bill
        reserve = math.ceil(len(_text(body)) / self._config.chars_per_token) + int(body["max_tokens"])
        used = bill.prompt_tokens + bill.completion_tokens
        self.asked.append((now, reserve if self._config.charge == "reserve" else used))
        self.fates[outcome.fault or outcome.fate] += 1
        self._digest.update(f"{now!r} {_row(body)} {outcome.status} {outcome.fault}\n".encode())
        # Nobody is told how much a bucket holds: what is larger than that finds it full or not.
        holds = (self._config.tokens_per_minute or math.inf) / 60 * self._config.burst_s
        larger = outcome.fault == "tokens" and reserve > holds
        if outcome.fault in ("requests", "tokens") and now > self.excused_until and not larger:
            self._beyond += 1
            if outcome.fault == "requests" or self._beyond > ESTIMATES_ERR:
                self._broken(f"asked beyond the limit on {outcome.fault} a minute, which had long been reported")
        if outcome.fate not in ("ok", "lost"):
            return None
        true = self.truth.billed(bill.prompt_tokens, bill.completion_tokens)
        tokens, pico = self._price(*true)
        self.billed_tokens += tokens
        self.billed_pico += pico
        self.truth.note(tokens, pico)
        more_tokens, more_pico = self.truth.beyond(self._setting.concurrency)
        if self.billed_tokens > self.caps.get("max_tokens", math.inf) + more_tokens:
            self._broken(f"{self.billed_tokens} tokens are billed, the cap is {self.caps['max_tokens']}")
        if self.billed_pico > round(self.caps.get("max_usd", 10**6) * 10**12) + more_pico:
            self._broken(f"{self.billed_pico} pico-dollars are billed, the cap is {self.caps['max_usd']} USD")
        return true

    def _headers(self, outcome: Outcome, asked_at: float) -> dict[str, str]:
        date = formatdate(EPOCH + self.clock(), usegmt=True)
        headers = {"content-type": replies.JSON, "date": date, **outcome.headers}
        if self.clock() < self._lies_until:
            self.patience.lied(asked_at)
            headers |= self._draw.choice(_LIES)
        elif outcome.status == 200:
            self.patience.heard_truth(asked_at)
        return headers

    def _arrived(self, row: str, counts: RowCounts, outcome: Outcome, headers: dict[str, str], asked_at: float) -> None:
        now = self.clock()
        if outcome.status == 429:
            counts.throttles += 1
            self.patience.throttled(now, asked_at, headers.get("retry-after"))
            return
        if outcome.fate in ("failed", "lost"):
            counts.failures += 1
            self._failed(row, outcome.fault)
            return
        self.patience.answered(now, asked_at, row)
        if outcome.fate == "rejected" or b'"finish_reason":"content_filter"' in outcome.body:
            counts.closed = True  # whatever else befell this reply
        elif outcome.fault in ("prose", "null"):
            counts.bad += 1
        else:
            counts.good += 1
            if counts is not self._others:
                self._good_now[row] += 1
                if self._setting.topics and self._good_now[row] > 1:
                    self._broken(f"{row} was answered, and another row asked the same again")
                self._good += 1
                self._after_good(self._good)

    def _failed(self, row: str, kind: str) -> None:
        self._digest.update(f"{self.clock()!r} {row} failed {kind}\n".encode())
        self.patience.failed(self.clock(), row)


class Wire:
    """A `Transport` to the world, with the constructor of `HttpTransport`."""

    def __init__(self, world: World, *, timeout_s: float, **_: object) -> None:
        self._world = world
        self._timeout_s = timeout_s
        self._lines = world.lines()

    async def __aenter__(self) -> Wire:
        return self

    async def __aexit__(self, *_: object) -> None: ...

    async def post(self, call: Call) -> Reply:
        answer = self._world.post(call, min(self._timeout_s, call.timeout_s or self._timeout_s))
        return await self._lines.post(answer, fresh=call.fresh)


def _text(body: Any) -> str:
    return "\n".join(message["content"] for message in body["messages"])


def _row(body: Any) -> str:
    found = _ROW.search(_text(body))
    return found[1] if found else "no row"
