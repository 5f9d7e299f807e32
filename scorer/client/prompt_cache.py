"""Which prefixes of prompts a provider is to cache: the constant one, and those that later requests are seen to repeat.

A prefix that is never asked for again costs a quarter more and saves nothing, so a kind of prefix is cached where
enough of its kind were repeated of late. A kind is a place in the conversation: "before the second placeholder", "after
the question". Knows no wire and sends nothing.

Source of the figures: Anthropic, "Prompt caching" (November 2026, as quoted by gateways): a write costs 1.25 of the
input price and a read 0.1, an entry lives for 5 minutes after its last use, and a prompt has at most 4 marks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from hashlib import blake2b

import orjson

from scorer.patterns import pattern
from scorer.types import Prefix, Request

LIFE_S = 300.0
"""Seconds after its last use for which an entry is kept. OpenAI keeps one for 5 to 10 minutes."""
HOUR_S = 3600.0
"""The same for an entry that is asked to last."""
MOST_MARKS = 4
PAYS = 0.3
"""The share of repeats from which on a kind of prefix is cached. 1.25 (1 - r) + 0.1 r < 1 where r > 0.22."""
PAYS_LASTING = 0.6
"""The same for an hour: 2 (1 - r) + 0.1 r < 1 where r > 0.53."""
SEEN = 8.0
"""Prefixes of a kind that are seen before it is judged."""
FADE = 1 - 1 / 256
"""The weight of an earlier prefix of a kind beside the next one."""
MOST_HELD = 1 << 16
"""Hashes of prefixes that are held. Beyond so many, those that were not used within a life are dropped."""
BYTES_A_TOKEN = 4
DENSE = 2
"""The fewest bytes of a token in any text that a judge is likely to read. Shorter prefixes than that are not tried."""

LEAST_OPENAI = 1024
"""Source: OpenAI, "Prompt caching" (November 2026): from 1,024 tokens on."""
_LEAST_CLAUDE = (
    (pattern(r"opus-4-[5-9]|haiku-4-[5-9]"), 4096),
    (pattern(r"sonnet-4-[6-9]|haiku-3|3-5-haiku|3-haiku|claude-3-haiku"), 2048),
    (pattern(r"claude|anthropic"), 1024),
)
"""Source: Anthropic, "Prompt caching", minimum cacheable lengths, November 2026. Pages disagree about Sonnet 4.6 (1,024
or 2,048 tokens); the larger one is taken. A shorter prefix that is marked is not cached, and nothing else happens."""


def least_tokens(name: str) -> int:
    """The fewest tokens of a prefix that the model's provider caches."""
    lowered = name.lower().replace(".", "-").replace("_", "-")
    return next((least for family, least in _LEAST_CLAUDE if family.search(lowered)), LEAST_OPENAI)


class _Kind:
    """How many prefixes of a kind were seen of late, and how many of them repeated an earlier one."""

    __slots__ = ("_pays_from", "repeated", "seen")

    def __init__(self, pays_from: float) -> None:
        self._pays_from = pays_from
        self.seen = self.repeated = 0.0

    def add(self, *, repeats: bool) -> None:
        self.seen = self.seen * FADE + 1.0
        self.repeated = self.repeated * FADE + repeats

    @property
    def pays(self) -> bool:
        return self.seen >= SEEN and self.repeated >= self._pays_from * self.seen


class PromptCache:
    """Chooses the prefixes of one model's requests. `clock` returns seconds; `least` is the fewest tokens of a prefix.

    The constant prefix is always chosen, where it is long enough. Of the others, kinds are chosen by what was seen.
    `lasting`: entries are to be kept for an hour.
    """

    def __init__(self, least: int, clock: Callable[[], float], *, lasting: bool = False) -> None:
        self._least_bytes = least * DENSE
        self._clock = clock
        self._lasting = lasting
        self._life_s, self._pays_from = (HOUR_S, PAYS_LASTING) if lasting else (LIFE_S, PAYS)
        self._kinds: dict[tuple[int, int], _Kind] = {}
        self._used: dict[bytes, float] = {}

    def prefixes(self, request: Request) -> tuple[Prefix, ...]:
        """The prefixes to cache, the shortest first: at most 4. To be called once for each request."""
        if 3 * sum(len(message.content) for message in request.messages) < self._least_bytes:
            return ()
        constant: Prefix | None = None
        chosen: list[Prefix] = []
        now = self._clock()
        for kind, prefix in self._candidates(request):
            if prefix.constant:
                constant = prefix
                continue
            used = self._used.pop(prefix.key, None)
            of_kind = self._kinds.setdefault(kind, _Kind(self._pays_from))
            of_kind.add(repeats=used is not None and now - used < self._life_s)
            self._used[prefix.key] = now
            if of_kind.pays:
                chosen.append(prefix)
        if len(self._used) > MOST_HELD:
            self._used = {key: used for key, used in self._used.items() if now - used < self._life_s}
            while len(self._used) > MOST_HELD:
                del self._used[next(iter(self._used))]
        first = [] if constant is None else [constant]
        return (*first, *chosen[len(first) - MOST_MARKS :])

    def _candidates(self, request: Request) -> Iterator[tuple[tuple[int, int], Prefix]]:
        """The places where a prefix may end, each with its kind: within a message at its `ends`, and at its end."""
        # Providers put the schema before the messages: prompts with different ones have no prefix in common.
        schema = b"" if request.schema is None else orjson.dumps(request.schema)
        running = blake2b(schema, digest_size=16)
        size, same = 0, True
        for number, message in enumerate(request.messages):
            content, done = message.content, 0
            running.update(f"\0{message.role}\0".encode())
            ends = dict.fromkeys((message.constant, *message.ends, len(content)))
            for place, end in enumerate(ends):
                if end <= done:
                    continue
                part = content[done:end].encode("utf-8", "surrogatepass")
                running.update(part)
                size, done = size + len(part), end
                same = same and end <= message.constant
                if size >= self._least_bytes:
                    yield (number, place), Prefix(number, end, running.copy().digest(), size, same, self._lasting)
