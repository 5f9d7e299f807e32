"""The judge's side of a night: the rehearsal judge in bad weather, on a wire of real bytes, with books of its own.

Nothing in here trusts scorer: what was asked, charged, billed and answered is written down as it happens, and whatever
breaks a promise at that moment is told to `broken`.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from hashlib import blake2b
from random import Random
from typing import Any

import orjson

from scorer.errors import Unreachable
from scorer.rehearsal import replies
from scorer.rehearsal.config import FAULTS, RehearsalConfig
from scorer.rehearsal.judge import Outcome, RehearsalJudge
from scorer.schema import Call, Reply

OUTAGES = ("refused", "reset", "blackhole", "500", "503", "529", "html")
EPOCH = 1_790_000_000.0
PATIENCE_S = 15.0
"""Silence that needs no excuse: pacing, corrections from headers, opening a run."""
FORGET_S = 65.0
"""After so long, no sliding minute remembers what was asked under other limits."""
LONGEST_PAUSE_S = 60.0
ESTIMATES_ERR = 5
"""So often in a night a request may turn out larger than the tokens that were counted for it."""
BREAKS_AT = 8
"""So many failures in a row, and one probe at a time goes out."""
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


@dataclass(slots=True)
class RowBook:
    """What the judge knows of one row. `failures` and `throttles` are those that no outage explains."""

    good: int = 0
    bad: int = 0
    failures: int = 0
    throttles: int = 0
    closed: bool = False
    """It need not be asked, or it was told that it cannot be scored."""
    in_a_row: int = 0


@dataclass(frozen=True, slots=True)
class Terms:
    """What the run file declares and the judge charges. Prices are pico-dollars a token; None is no limit or no cap."""

    requests_per_minute: float
    tokens_per_minute: float
    concurrency: int
    retries: int
    input_pico: int
    output_pico: int


@dataclass(slots=True)
class World:
    """A judge, its weather and its books; it lives on while scorer dies and comes back."""

    config: RehearsalConfig
    terms: Terms
    draw: Random
    rows: dict[str, RowBook]
    broken: Callable[[str], None]
    after_good: Callable[[int], None]
    clock: Callable[[], float] = lambda: 0.0
    """That of the process that lives."""
    max_tokens: int | None = None
    max_pico: int | None = None

    open: int = 0
    most_open: int = 0
    good: int = 0
    billed_tokens: int = 0
    billed_pico: int = 0
    asked: list[tuple[float, int]] = field(default_factory=list)
    """When each request came, and the tokens that it was charged."""
    fates: dict[str, int] = field(default_factory=dict)
    outage: str = ""
    outage_until: float = -1.0
    storm_until: float = -1.0
    lies_until: float = -1.0
    quiet_until: float = 0.0
    """Until then there is an excuse for asking nothing."""
    excused_until: float = -1.0
    """Until then scorer cannot know the limits that the judge enforces."""
    judge: RehearsalJudge = field(init=False)
    digest: Any = field(default_factory=blake2b)
    _busy: dict[str, int] = field(default_factory=dict)
    _cut_at: float = -math.inf
    _cut_s: float = 1.0
    _failed_in_a_row: int = 0
    _lied: bool = False
    _beyond: int = 0

    def __post_init__(self) -> None:
        self.judge = RehearsalJudge(self.config, 0.0, EPOCH)

    # --- weather ------------------------------------------------------------------------------------------------------

    def begins(self, now: float) -> None:
        """A process starts: it knows what the run file declares and nothing else."""
        self._cut_at, self._cut_s, self._failed_in_a_row, self._lied = -math.inf, 1.0, 0, False
        for book in self.rows.values():
            book.in_a_row = 0
        self.excuse(now)
        if self._lowered:
            self.excused_until = max(self.excused_until, now + FORGET_S)

    @property
    def _lowered(self) -> bool:
        config, terms = self.config, self.terms
        return (config.requests_per_minute or math.inf) < terms.requests_per_minute or (
            config.tokens_per_minute or math.inf
        ) < terms.tokens_per_minute

    def breaks_down(self, kind: str, now: float, seconds: float) -> None:
        self.outage, self.outage_until = kind, now + seconds

    def storms(self, kind: str, now: float, seconds: float, wish_s: float) -> None:
        rest = 1 - sum(self.config.fault(name) for name in FAULTS)
        self._configure({f"fault_{kind}": 0.95 * rest, "retry_after_s": wish_s}, now)
        self.storm_until = now + seconds

    def lies(self, now: float, seconds: float) -> None:
        self.lies_until = now + seconds
        self.excused_until = max(self.excused_until, self.lies_until + FORGET_S)

    def changes_limits(self, factor: float, now: float) -> None:
        terms = self.terms
        changes = {
            "requests_per_minute": terms.requests_per_minute * factor,
            "tokens_per_minute": terms.tokens_per_minute * factor,
        }
        self.excused_until = max(self.excused_until, now + FORGET_S)
        self._configure(changes, now)

    def _configure(self, changes: dict[str, Any], now: float) -> None:
        self.config = self.config.changed(changes)
        self.judge.configure(self.config, now)

    def excuse(self, now: float, seconds: float = 0.0) -> None:
        """Silence until then, and the usual patience beyond it, says nothing."""
        if self._lied:  # until a true reply comes, each request may wait for a minute
            seconds = max(seconds, LONGEST_PAUSE_S)
        self.quiet_until = max(self.quiet_until, now + seconds + PATIENCE_S)

    def watch(self, now: float) -> None:
        """Looks whether scorer asks what it could ask."""
        if now <= self.quiet_until or self.open >= self.terms.concurrency:
            return
        if (self.max_pico is not None or self.max_tokens is not None) and self.open:
            return  # it may wait for a settlement to make room under its cap
        waiting = sum(not self._settled(row, book) for row, book in self.rows.items())
        if waiting or not self.open:
            self.broken(f"silence: {waiting} rows wait, {self.open} requests are out, and nothing is asked")

    def _settled(self, row: str, book: RowBook) -> bool:
        """Nothing more need be asked for it now."""
        spent = book.failures + book.throttles / 10 >= self.terms.retries
        return bool(book.good or book.closed or book.bad >= 3 or spent or self._busy.get(row))

    # --- one request --------------------------------------------------------------------------------------------------

    async def post(self, call: Call, timeout_s: float) -> Reply:
        """As `Transport.post`."""
        now = self._now()
        body = orjson.loads(call.body)
        row = _row(body)
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        self._busy[row] = self._busy.get(row, 0) + 1
        if self.open > self.terms.concurrency:
            self.broken(f"{self.open} requests are in flight, {self.terms.concurrency} may be")
        self.excuse(now, timeout_s if self._failed_in_a_row >= BREAKS_AT else 0.0)
        try:
            if now < self.outage_until:
                return await self._down(row, timeout_s)
            return await self._up(row, body, now, timeout_s)
        finally:
            self.open -= 1
            self._busy[row] -= 1

    async def _down(self, row: str, timeout_s: float) -> Reply:
        kind = self.outage
        if kind == "refused":
            await asyncio.sleep(self.draw.uniform(0.001, 3.0))
            self._failed(row, kind, in_outage=True)
            raise Unreachable("cannot reach the judge", billed=False)
        self.asked.append((self._now(), 0))
        if kind == "blackhole":
            await asyncio.sleep(timeout_s)
        else:
            await asyncio.sleep(self.draw.uniform(0.001, 2.0))
        # What hangs until after the outage cannot be told from a row that hangs by itself.
        self._failed(row, kind, in_outage=kind != "blackhole" or self._now() < self.outage_until)
        if kind in ("blackhole", "reset"):
            raise Unreachable("the judge broke off", billed=True)
        if kind == "html":
            status, _, body = replies.FAILURES["html"]
        else:
            status, body = replies.ALWAYS[kind]
        return Reply(status, {}, body)

    async def _up(self, row: str, body: Any, now: float, timeout_s: float) -> Reply:
        if self.storm_until and now >= self.storm_until:
            self.storm_until = 0.0
            self._configure({"fault_429": 0.0, "fault_429_bare": 0.0, "fault_429_date": 0.0}, now)
        outcome = self.judge.ask("chat", body, now, self.draw)
        self._enter(outcome, body, now)
        delay = outcome.delay_s
        if outcome.wire == "slow":
            delay += self.config.slow_s
        if outcome.status == 429:
            delay += self.draw.choice([0.0, self.draw.uniform(0.0, 3.0)])
        arrived = False
        try:
            await asyncio.sleep(min(delay, timeout_s))
            arrived = delay < timeout_s and outcome.wire in ("whole", "slow")
        finally:
            self.judge.settle(outcome, self._now(), delivered=arrived)
        if not arrived:
            self._failed(row, outcome.wire)
            raise Unreachable("the judge broke off, or did not answer in time", billed=True)
        headers = self._headers(outcome)
        self._arrived(row, outcome, headers, now)
        return Reply(outcome.status, headers, outcome.body)

    def _enter(self, outcome: Outcome, body: Any, now: float) -> None:
        """What is billed is billed when it is asked, whether or not anybody will hear the answer."""
        reserve = math.ceil(len(_text(body)) / self.config.chars_per_token) + int(body["max_tokens"])
        bill = outcome.bill
        used = bill.prompt_tokens + bill.completion_tokens
        self.asked.append((now, reserve if self.config.charge == "reserve" else used))
        self.fates[outcome.fault or outcome.fate] = self.fates.get(outcome.fault or outcome.fate, 0) + 1
        self.digest.update(f"{now!r} {_row(body)} {outcome.status} {outcome.fault}\n".encode())
        if outcome.fault in ("requests", "tokens") and now > self.excused_until:
            self._beyond += 1
            if outcome.fault == "requests" or self._beyond > ESTIMATES_ERR:
                self.broken(f"asked beyond the limit on {outcome.fault} a minute, which had long been told")
        if outcome.fate not in ("ok", "lost"):
            return
        self.billed_tokens += used
        self.billed_pico += bill.prompt_tokens * self.terms.input_pico + bill.completion_tokens * self.terms.output_pico
        if self.max_tokens is not None and self.billed_tokens > self.max_tokens:
            self.broken(f"{self.billed_tokens} tokens are billed, the cap is {self.max_tokens}")
        if self.max_pico is not None and self.billed_pico > self.max_pico:
            self.broken(f"{self.billed_pico} pico-dollars are billed, the cap is {self.max_pico}")

    def _headers(self, outcome: Outcome) -> dict[str, str]:
        now = self._now()
        headers = {"content-type": replies.JSON, "date": formatdate(EPOCH + now, usegmt=True), **outcome.headers}
        self._lied = now < self.lies_until
        if self._lied:
            headers |= self.draw.choice(_LIES)
            self.excuse(now)
        return headers

    def _arrived(self, row: str, outcome: Outcome, headers: dict[str, str], asked_at: float) -> None:
        now = self._now()
        if outcome.status == 429:
            self._throttled(row, headers, asked_at)
            return
        if outcome.fate in ("failed", "lost"):
            self._failed(row, outcome.fault)
            return
        self._failed_in_a_row, self._cut_s = 0, 1.0
        self.excuse(now)
        book = self.rows.get(row)
        if book is None:
            return
        book.in_a_row = 0
        if outcome.fate == "rejected" or outcome.fault == "refuse":
            book.closed = True
        elif outcome.fault in ("prose", "null"):
            book.bad += 1
        else:
            book.good += 1
            self.good += 1
            self.after_good(self.good)

    def _throttled(self, row: str, headers: dict[str, str], asked_at: float) -> None:
        """One 429 excuses one pause: others that were asked before it arrived excuse none."""
        now = self._now()
        self._failed_in_a_row = 0
        if (book := self.rows.get(row)) is not None:
            book.throttles += 1
        if asked_at <= self._cut_at:
            return
        wish = self._cut_s
        if "retry-after" in headers:
            wish = LONGEST_PAUSE_S if not headers["retry-after"].isdigit() else float(headers["retry-after"])
        self._cut_at, self._cut_s = now, min(LONGEST_PAUSE_S, self._cut_s * 2)
        self.excuse(now, min(wish, LONGEST_PAUSE_S))

    def _failed(self, row: str, kind: str, *, in_outage: bool = False) -> None:
        """A failure excuses its row's backoff, and the breaker's pause once there were eight in a row."""
        self.digest.update(f"{self._now()!r} {row} failed {kind}\n".encode())
        self._failed_in_a_row += 1
        pause = 0.5 * 2 ** min(6, max(0, self._failed_in_a_row - BREAKS_AT))
        if (book := self.rows.get(row)) is not None:
            book.in_a_row += 1
            book.failures += not in_outage
            pause = max(pause, 0.5 * 2 ** min(6, book.in_a_row - 1))
        self.excuse(self._now(), min(30.0, pause))

    def _now(self) -> float:
        return self.clock()


class Wire:
    """`Transport` into a world, made as `HttpTransport` is."""

    def __init__(self, world: World, *, timeout_s: float) -> None:
        self._world = world
        self._timeout_s = timeout_s

    async def __aenter__(self) -> Wire:
        return self

    async def __aexit__(self, *_: object) -> None: ...

    async def post(self, call: Call) -> Reply:
        return await self._world.post(call, self._timeout_s)


_ROW = re.compile(r"\[row:([^\]]+)\]")


def _text(body: Any) -> str:
    return "\n".join(message["content"] for message in body["messages"])


def _row(body: Any) -> str:
    found = _ROW.search(_text(body))
    return found[1] if found else "no row"
