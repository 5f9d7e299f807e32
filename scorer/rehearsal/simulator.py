"""The simulated judge without a network: given the time and a request, it returns status, reply and delay.

Knows no event loop, no socket, no clock and no randomness of its own: server.py drives it in real time, a simulation in
virtual time, and a seed determines the run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import field, replace
from email.utils import formatdate
from heapq import heappop, heappush, heapreplace
from typing import TYPE_CHECKING, Any, Literal

import orjson

from scorer.frozen import dataclass
from scorer.rehearsal import messages, replies
from scorer.rehearsal.answers import Answerer, Declined, Prepared
from scorer.rehearsal.config import FAULTS, RehearsalConfig
from scorer.rehearsal.limits import Refusal, SimulatedLimits, duration
from scorer.rehearsal.prefix_cache import BLOCK_TOKENS, CacheUse, PrefixCache
from scorer.rehearsal.request_body import Endpoint
from scorer.rehearsal.request_log import NOTHING, Bill, Fate, RequestLog
from scorer.rehearsal.vocabulary import Vocabulary

if TYPE_CHECKING:
    from random import Random

Wire = Literal["whole", "slow", "cut", "reset", "hang"]
"""How the bytes travel: at once; trickling for slow_s; half, then closed; none but a reset; none, then closed."""

_WIRES: dict[str, Wire] = {"slow": "slow", "cut": "cut", "reset": "reset", "hang": "hang"}
_LOST = ("reset", "cut", "truncate", "hang")


@dataclass(frozen=True, slots=True)
class Outcome:
    """The answer to one request, `delay_s` after it was asked; to be settled once it left (or did not)."""

    status: int
    body: bytes
    fate: Fate
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    wire: Wire = "whole"
    fault: str = ""
    row: str = ""
    bill: Bill = NOTHING


class RehearsalJudge:
    """Decides what happens to each request, and counts it. `epoch` is the Unix time at `now` 0, for dates in replies.

    Requests at work are a queue of `capacity` places, first come, first served; one that is left keeps its place until
    its answer would have been ready, as with most providers.
    """

    def __init__(self, config: RehearsalConfig, now: float = 0.0, epoch: float = 0.0) -> None:
        self.epoch = epoch
        self.request_log = RequestLog(now)
        self.answers = 0
        """In batches."""
        self.vocabulary = Vocabulary()
        self._busy_until: list[float] = []  # a heap: when each place of `capacity` is free again
        self._limits = SimulatedLimits(config, now)
        self._cache: PrefixCache | None = None
        self._cache_of: tuple[float, int, float] | None = None
        self.configure(config, now)

    def __repr__(self) -> str:
        log = self.request_log
        fates = ", ".join(f"{n} {fate}" for fate, n in sorted(log.fates.items()))
        return f"<RehearsalJudge {log.requests} requests: {fates or 'none answered'}, {log.in_flight} open>"

    def configure(self, config: RehearsalConfig, now: float) -> None:
        """Takes another config from now on; requests under way end as they were decided, buckets keep their level."""
        self.config = config
        self._limits = SimulatedLimits(config, now, self._limits)
        self.answerer = Answerer(config, self.vocabulary)
        kept = config.cache_life_s, config.cache_least_tokens, config.chars_per_token
        if kept != self._cache_of:
            self._cache_of = kept
            self._cache = PrefixCache(*kept) if config.cache_life_s else None
        self._faults = [(name, share) for name in FAULTS if (share := config.fault(name))]
        while config.capacity is not None and len(self._busy_until) > config.capacity:
            heappop(self._busy_until)

    def reset(self, now: float) -> None:
        """An empty request log, full buckets. Requests under way are carried over."""
        self.request_log = RequestLog(now, self.request_log.in_flight)
        self._limits = SimulatedLimits(self.config, now)

    def ask(self, endpoint: Endpoint, body: Any, now: float, rng: Random) -> Outcome:
        """What becomes of a request whose JSON body this is (None where it was no JSON)."""
        self.request_log.received(now)
        try:
            question = self.answerer.read(endpoint, body)
            self.request_log.asked(question.row)
            outcome = self._admit(self.answerer.prepare(question), now, rng)
        except Declined as no:
            outcome = Outcome(no.status, no.body, "rejected" if no.status == 400 else "failed", fault=no.fault)
        return outcome if endpoint != "messages" else self._in_anthropics_words(outcome, now)

    def in_batch(
        self, endpoint: Endpoint, body: Any, now: float, rng: Random, tier: str | None, cache_misses: float = 0.0
    ) -> Outcome:
        """What becomes of a request in a batch: no limit, no latency, and of the faults but `prose` and `null`.

        It is not logged. Its reply names the `tier`. `cache_misses` is the probability that it reads nothing from
        the cache.
        """
        try:
            question = self.answerer.read(endpoint, body)
            prepared = self.answerer.prepare(question if tier is None else replace(question, tier=tier))
        except Declined as no:
            outcome = Outcome(no.status, no.body, "rejected", fault=no.fault, row=no.row)
            return outcome if endpoint != "messages" else self._in_anthropics_words(outcome, now)
        fault = self._fate(rng)
        if fault == "prose":
            prepared = self.answerer.without_verdict(prepared)
        cached = self._cached(prepared, now, 0.0, missed=bool(cache_misses) and rng.random() < cache_misses)
        self.answers += 1
        created = int(self.epoch + now)
        reply = self.answerer.reply(prepared, self.answers, created, cached=cached, null=fault == "null")
        return Outcome(200, reply, "ok", fault=fault, row=question.row, bill=self.answerer.bill(prepared, cached))

    def _in_anthropics_words(self, outcome: Outcome, now: float) -> Outcome:
        body = outcome.body if outcome.bill != NOTHING else messages.error(outcome.status, outcome.body)
        return replace(outcome, body=body, headers=messages.headers(outcome.headers, self.epoch + now))

    def settle(self, outcome: Outcome, now: float, *, delivered: bool) -> None:
        """Writes an answer into the log of requests; `delivered` says whether the client was still connected."""
        self.request_log.settled(now, outcome.fate, outcome.fault, outcome.row, outcome.bill, delivered=delivered)

    def tokenize(self, body: Any) -> tuple[int, bytes]:
        """Status and body of llama.cpp's POST /tokenize."""
        if self.config.always:
            return replies.ALWAYS[self.config.always]
        content = body.get("content") if isinstance(body, dict) else None
        if not isinstance(content, str):
            return 400, replies.error("'content' must be a string", "invalid_request_error", param="content")
        special = [1] if body.get("add_special") else []
        return 200, orjson.dumps({"tokens": special + self.vocabulary.ids(content)})

    def models(self) -> bytes:
        model = {"id": self.config.model, "object": "model", "created": int(self.epoch), "owned_by": "scorer"}
        return orjson.dumps({"object": "list", "data": [model]})

    def stats(self) -> dict[str, Any]:
        return self.request_log.stats()

    # --- from a question to its outcome ---------------------------------------------------------------------------

    def _admit(self, prepared: Prepared, now: float, rng: Random) -> Outcome:
        config, limits, question = self.config, self._limits, prepared.question
        if config.capacity_mode == "429" and config.capacity is not None and self._full(now):
            body = replies.error("Too many requests at once.", "requests", "concurrency_limit_exceeded")
            return self._throttled(body, "capacity", config.retry_after_s, now)

        if question.tier == "flex" and config.flex_refused and rng.random() < config.flex_refused:
            return Outcome(*replies.NO_CAPACITY[config.flex_refused_by], "r429", fault="no_capacity")
        if config.charge == "reserve" and question.max_tokens is not None:
            charge = prepared.prompt_tokens + question.max_tokens * question.choices
        else:
            charge = prepared.prompt_tokens + prepared.completion_tokens
        refusal = limits.admit(charge, now)
        if refusal:
            return self._over_limit(refusal, charge, now)
        self.request_log.charged(charge, now)

        fault = self._fate(rng)
        if fault.startswith("429"):
            body = replies.error("Rate limit reached for requests.", "requests", "rate_limit_exceeded")
            return self._throttled(body, fault, config.retry_after_s, now)
        delay_s, headers = self._delay(fault, now, rng), limits.headers(now)
        if fault in replies.FAILURES:
            status, headers["content-type"], body = replies.FAILURES[fault]
            return Outcome(status, body, "failed", headers, delay_s, fault=fault, row=question.row)
        if fault == "prose":
            prepared = self.answerer.without_verdict(prepared)
        if question.endpoint == "predict":
            headers["x-compute-tokens"] = str(prepared.prompt_tokens)
        cached = self._cached(prepared, now, delay_s)
        created = int(self.epoch + now)
        body = self.answerer.reply(prepared, self.request_log.requests, created, cached=cached, null=fault == "null")
        return Outcome(
            status=200,
            body=body[: len(body) // 2] if fault == "truncate" else body,
            fate="lost" if fault in _LOST else "ok",
            headers=headers,
            delay_s=delay_s,
            wire=_WIRES.get(fault, "whole"),
            fault=fault or ("refuse" if prepared.finish == "content_filter" else ""),
            row=question.row,
            bill=self.answerer.bill(prepared, cached),
        )

    def _cached(self, prepared: Prepared, now: float, delay_s: float, *, missed: bool = False) -> CacheUse | None:
        """What a prompt, which is answered in `delay_s`, reads from the cache and writes; None where no usage tells it.

        Where marks ask for it, a write is counted, and paid: of what the marked prefix has beyond the one that is read.
        """
        config, question = self.config, prepared.question
        if self._cache is None:
            share = config.cached_share
            return None if share is None else CacheUse(int(prepared.prompt_tokens * share))
        text = question.text if question.marked is None else question.text[: question.marked]
        found = 0 if missed else min(prepared.prompt_tokens, self._cache.read(text, now))
        self._cache.write(text, now, now + delay_s)
        if question.marked is None:
            return CacheUse(found)
        marked = min(prepared.prompt_tokens, int(len(text) / config.chars_per_token))
        fresh = marked - found
        writes = marked >= config.cache_least_tokens and fresh >= BLOCK_TOKENS
        return CacheUse(found, fresh if writes else 0, question.lasting)

    # --- limits, places, chance -----------------------------------------------------------------------------------

    def _over_limit(self, refusal: Refusal, charge: int, now: float) -> Outcome:
        what, amount = refusal.what, 1 if refusal.what == "requests" else charge
        limit = self.config.requests_per_minute if what == "requests" else self.config.tokens_per_minute
        if math.isinf(refusal.wait_s):
            message = f"Request too large on {what} per min: Limit {limit:.0f}, Requested {amount}."
            return self._throttled(replies.error(message, what, "rate_limit_exceeded"), what, None, now)
        message = (
            f"Rate limit reached on {what} per min: Limit {limit:.0f}, Requested {amount}. "
            f"Please try again in {duration(refusal.wait_s)}."
        )
        return self._throttled(replies.error(message, what, "rate_limit_exceeded"), what, refusal.wait_s, now)

    def _throttled(self, body: bytes, why: str, wait_s: float | None, now: float) -> Outcome:
        headers = self._limits.headers(now)
        if why == "429_date" and wait_s is not None:
            headers["retry-after"] = formatdate(math.ceil(self.epoch + now + wait_s), usegmt=True)
        elif why != "429_bare" and wait_s is not None:
            headers["retry-after"] = str(max(1, math.ceil(wait_s)))
            headers["retry-after-ms"] = str(math.ceil(wait_s * 1000))
        return Outcome(429, body, "r429", headers, fault=why)

    def _full(self, now: float) -> bool:
        return len(self._busy_until) == self.config.capacity and self._busy_until[0] > now

    def _fate(self, rng: Random) -> str:
        """One draw decides: the name of a fault, "" for none."""
        if self._faults:
            drawn = rng.random()
            for name, share in self._faults:
                drawn -= share
                if drawn < 0:
                    return name
        return ""

    def _delay(self, fault: str, now: float, rng: Random) -> float:
        """Seconds until the answer: the wait for a place, and the work."""
        median, sigma = self.config.latency_median_s, self.config.latency_sigma
        work_s = median * math.exp(rng.gauss(0, sigma)) if median else 0.0
        if fault == "hang":
            work_s = self.config.hang_s
        if self.config.capacity is None:
            return work_s
        if len(self._busy_until) < self.config.capacity:
            heappush(self._busy_until, now + work_s)
            return work_s
        done = max(now, self._busy_until[0]) + work_s
        heapreplace(self._busy_until, done)
        return done - now
