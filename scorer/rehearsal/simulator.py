"""The simulated judge without a network: given the time and a request, it returns status, reply and delay.

Knows no event loop, no socket, no clock and no randomness of its own: server.py drives it in real time, a simulation in
virtual time, and a seed determines the run.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import field
from email.utils import formatdate
from heapq import heappop, heappush, heapreplace
from typing import TYPE_CHECKING, Any, Literal

import orjson

from scorer.frozen import dataclass
from scorer.rehearsal import replies
from scorer.rehearsal.classes import classified
from scorer.rehearsal.config import FAULTS, RehearsalConfig
from scorer.rehearsal.limits import Refusal, SimulatedLimits, duration
from scorer.rehearsal.prefix_cache import PrefixCache
from scorer.rehearsal.reply_writer import ReplyWriter, Spoken, prose
from scorer.rehearsal.request_body import Endpoint, InvalidRequest, Question, read
from scorer.rehearsal.request_log import NOTHING, Bill, Fate, RequestLog
from scorer.rehearsal.vocabulary import Vocabulary, forced_logprobs

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

    Requests at work are a queue of `capacity` places, first come, first served; whoever hangs up keeps its place until
    its answer would have been ready, as with most providers.
    """

    def __init__(self, config: RehearsalConfig, now: float = 0.0, epoch: float = 0.0) -> None:
        self.epoch = epoch
        self.books = RequestLog(now)
        self.vocabulary = Vocabulary()
        self._busy_until: list[float] = []  # a heap: when each place of `capacity` is free again
        self._limits = SimulatedLimits(config, now)
        self._cache: PrefixCache | None = None
        self._cache_of: tuple[float, int, float] | None = None
        self.configure(config, now)

    def __repr__(self) -> str:
        fates = ", ".join(f"{n} {fate}" for fate, n in sorted(self.books.fates.items()))
        return (
            f"<RehearsalJudge {self.books.requests} requests: {fates or 'none answered'}, {self.books.in_flight} open>"
        )

    def configure(self, config: RehearsalConfig, now: float) -> None:
        """Takes another config from now on; requests under way end as they were decided, buckets keep their level."""
        self.config = config
        self._limits = SimulatedLimits(config, now, self._limits)
        self._speaker = ReplyWriter(config)
        self._row = re.compile(config.row_regex)
        kept = config.cache_life_s, config.cache_least_tokens, config.chars_per_token
        if kept != self._cache_of:
            self._cache_of = kept
            self._cache = PrefixCache(*kept) if config.cache_life_s else None
        self._poison = re.compile(config.poison) if config.poison else None
        self._refuse = re.compile(config.refuse) if config.refuse else None
        self._faults = [(name, share) for name in FAULTS if (share := config.fault(name))]
        while config.capacity is not None and len(self._busy_until) > config.capacity:
            heappop(self._busy_until)

    def reset(self, now: float) -> None:
        """Empty books, full buckets. Requests under way are carried over."""
        self.books = RequestLog(now, self.books.in_flight)
        self._limits = SimulatedLimits(self.config, now)

    def ask(self, endpoint: Endpoint, body: Any, now: float, rng: Random) -> Outcome:
        """What becomes of a request whose JSON body this is (None where it was no JSON)."""
        self.books.received(now)
        if self.config.always:
            status, text = replies.ALWAYS[self.config.always]
            return Outcome(status, text, "failed", fault=f"always_{self.config.always}")
        if isinstance(body, dict) and (refused := next((key for key in self.config.refuses if key in body), None)):
            return _rejected(f"Unsupported parameter: '{refused}' is not supported with this model.", refused)
        try:
            question = read(endpoint, body, self._row)
        except InvalidRequest as fault:
            return _rejected(str(fault), fault.param)
        self.books.asked(question.row)
        prompt_tokens = max(1, math.ceil(len(question.text) / self.config.chars_per_token))
        context = self.config.context_tokens
        if self._poison and self._poison.search(question.text):
            return Outcome(400, replies.too_long(context or 1, prompt_tokens), "rejected", fault="poison")
        if context and prompt_tokens + len(question.forced) > context:
            return Outcome(400, replies.too_long(context, prompt_tokens), "rejected", fault="context")
        try:
            spoken = self._spoken(question)
        except KeyError as unknown:
            return _rejected(f"failed to parse grammar: {unknown} is no token id", "grammar")
        return self._admit(question, spoken, prompt_tokens, now, rng)

    def settle(self, outcome: Outcome, now: float, *, delivered: bool) -> None:
        """Writes an answer into the books; `delivered` says whether somebody was still there to take it."""
        self.books.settled(now, outcome.fate, outcome.fault, outcome.row, outcome.bill, delivered=delivered)

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
        return self.books.stats()

    # --- from a question to its outcome ---------------------------------------------------------------------------

    def _admit(self, question: Question, spoken: Spoken, prompt_tokens: int, now: float, rng: Random) -> Outcome:
        config, limits = self.config, self._limits
        if config.capacity_mode == "429" and config.capacity is not None and self._full(now):
            body = replies.error("Too many requests at once.", "requests", "concurrency_limit_exceeded")
            return self._throttled(body, "capacity", config.retry_after_s, now)

        if question.tier == "flex" and config.flex_refused and rng.random() < config.flex_refused:
            return Outcome(429, replies.NO_CAPACITY, "r429", fault="no_capacity")
        said, finish = self._within(question, spoken)
        if config.charge == "reserve" and question.max_tokens is not None:
            charge = prompt_tokens + question.max_tokens * question.choices
        else:
            charge = prompt_tokens + (len(said.tokens) + self._reasoning(question)) * question.choices
        refusal = limits.admit(charge, now)
        if refusal:
            return self._over_limit(refusal, charge, now)
        self.books.charged(charge, now)

        fault = self._fate(rng)
        if fault.startswith("429"):
            body = replies.error("Rate limit reached for requests.", "requests", "rate_limit_exceeded")
            return self._throttled(body, fault, config.retry_after_s, now)
        delay_s, headers = self._delay(fault, now, rng), limits.headers(now)
        if fault in replies.FAILURES:
            status, headers["content-type"], body = replies.FAILURES[fault]
            return Outcome(status, body, "failed", headers, delay_s, fault=fault, row=question.row)
        if fault == "prose":
            said, finish = self._within(question, prose())
        if question.endpoint == "predict":
            headers["x-compute-tokens"] = str(prompt_tokens)
        cached_tokens = int(prompt_tokens * (config.cached_share or 0))
        if self._cache is not None:
            cached_tokens = min(prompt_tokens, self._cache.read(question.text, now))
            self._cache.write(question.text, now, now + delay_s)
        output = len(said.tokens) + self._reasoning(question)
        bill = Bill(prompt_tokens, output * question.choices, cached_tokens)
        body = self._completion(question, said, finish, bill, now, null=fault == "null")
        return Outcome(
            status=200,
            body=body[: len(body) // 2] if fault == "truncate" else body,
            fate="lost" if fault in _LOST else "ok",
            headers=headers,
            delay_s=delay_s,
            wire=_WIRES.get(fault, "whole"),
            fault=fault or ("refuse" if finish == "content_filter" else ""),
            row=question.row,
            bill=bill,
        )

    def _within(self, question: Question, spoken: Spoken) -> tuple[Spoken, str]:
        """What may be said of it, and the finish reason."""
        if self._refuse and self._refuse.search(question.text):
            return Spoken(), "content_filter"
        room = None if question.max_tokens is None else max(0, question.max_tokens - self._reasoning(question))
        if room is not None and room < len(spoken.tokens):
            return spoken.cut(room), "length"
        return spoken, "stop"

    def _reasoning(self, question: Question) -> int:
        """The tokens that a reply takes before its text."""
        most = self.config.reasoning_tokens if question.endpoint == "chat" else 0
        return most if question.max_tokens is None else min(most, question.max_tokens)

    def _spoken(self, question: Question) -> Spoken:
        """The reply's tokens: of a grammar with the empty end token, which max_tokens may cut; of a classifier none.

        Raises: KeyError for an id that /tokenize never gave.
        """
        if question.classifies:
            return Spoken()
        if question.forced:
            return Spoken([*self.vocabulary.tokens(question.forced), ""])
        return self._speaker.say(question.row, question.schema)

    def _completion(
        self, question: Question, said: Spoken, finish: str, bill: Bill, now: float, *, null: bool
    ) -> bytes:
        text = None if null or finish == "content_filter" else said.text
        logprobs = None
        if question.top is not None and text is not None:
            logprobs = self._logprobs(question, said, question.top)
        usage = None
        if self.config.usage:
            reasoning = self._reasoning(question) * question.choices
            counts = self._cache is not None or self.config.cached_share is not None
            cached = bill.cached_tokens if counts else None
            usage = replies.usage(bill.prompt_tokens, bill.completion_tokens, reasoning, cached)
        if question.classifies:
            identity = f"{question.endpoint}-{self.books.requests}"
            return b"null" if null else classified(question, self.config, identity, int(self.epoch + now), usage)
        envelope, choice = (
            (replies.chat, replies.chat_choice) if question.endpoint == "chat" else (replies.text, replies.text_choice)
        )
        choices = [choice(i, text, finish, logprobs) for i in range(question.choices)]
        identity = f"{'chatcmpl' if question.endpoint == 'chat' else 'cmpl'}-{self.books.requests}"
        told = envelope(identity, int(self.epoch + now), self.config.model, choices, usage)
        return orjson.dumps(told if question.tier is None else {**told, "service_tier": question.tier})

    def _logprobs(self, question: Question, said: Spoken, top: int) -> list[dict[str, Any]]:
        if not question.forced:
            return said.logprobs(top)
        drawn = forced_logprobs(question.text, said.tokens)
        return [
            {
                "id": self.vocabulary.id(token),
                "token": token,
                "bytes": list(token.encode()),
                "logprob": logprob,
                "top_logprobs": [],
            }
            for token, logprob in zip(said.tokens, drawn, strict=True)
        ]

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


def _rejected(message: str, param: str | None) -> Outcome:
    return Outcome(400, replies.error(message, "invalid_request_error", param=param), "rejected", fault="unasked")
