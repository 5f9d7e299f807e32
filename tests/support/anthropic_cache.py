"""Anthropic's Messages API with its prompt cache, on the loop's clock: an independent reading of their documentation.

An entry is written at a marked block, once the request is answered; it is read by a request whose blocks up to one of
its own marks, or up to 20 blocks before that, are the same. It lives for 5 minutes after its last use.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson
from support.transport import FakeTransport

from scorer.types import Call, Reply

LOOKED_BACK = 20
FRESH, WRITE, READ, OUTPUT = 1.0, 1.25, 0.1, 5.0
"""USD per million tokens."""


@dataclass
class CachingServer(FakeTransport):
    """Answers each request after `seconds(number)`, by `act(number)` where that is no 200; counts what it bills.

    `written` and `read` have the tokens of each request that was answered, `usd` their sum of money. A token is 4
    bytes. A text block that is blank, or a fifth mark, is refused.
    """

    least: int = 1024
    life_s: float = 300.0
    seconds: Callable[[int], float] = lambda _: 1.0
    act: Callable[[int], int] = lambda _: 200
    caches: bool = True
    usd: float = 0.0
    written: list[int] = field(default_factory=list)
    read: list[int] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        FakeTransport.__init__(self)
        self._entries: dict[bytes, tuple[float, float]] = {}  # readable from, and until

    async def reply(self, call: Call, number: int) -> Reply:
        body = orjson.loads(call.body)
        self.bodies.append(body)
        blocks = _blocks(body)
        texts = [text for text, _ in blocks]
        marks = [place for place, (_, marked) in enumerate(blocks) if marked]
        if any(not text.strip() for text in texts) or len(marks) > 4:
            return Reply(400, {}, orjson.dumps({"error": {"type": "invalid_request_error", "message": "blank, or 5"}}))
        now = asyncio.get_running_loop().time()
        tokens = [math.ceil(sum(len(text.encode()) for text in texts[: place + 1]) / 4) for place in range(len(texts))]
        keys = [orjson.dumps(texts[: place + 1]) for place in range(len(texts))]
        read = 0
        for mark in reversed(marks):
            places = range(mark, max(-1, mark - LOOKED_BACK), -1)
            hit = next((place for place in places if self._readable(keys[place], now)), None)
            if hit is not None:
                read = tokens[hit]
                self._entries[keys[hit]] = (self._entries[keys[hit]][0], now + self.life_s)
                break
        await asyncio.sleep(self.seconds(number))
        if (status := self.act(number)) != 200:
            return Reply(status, {}, b'{"error": {"type": "api_error", "message": "no"}}')
        answered = asyncio.get_running_loop().time()
        written = 0
        for mark in marks if self.caches else ():
            if tokens[mark] >= self.least and tokens[mark] > read:
                written = tokens[mark] - read
                since, until = self._entries.get(keys[mark], (answered, 0.0))
                self._entries[keys[mark]] = (since if until > now else answered, answered + self.life_s)
        fresh = tokens[-1] - read - written
        self.usd += (fresh * FRESH + written * WRITE + read * READ + OUTPUT) / 1e6
        self.written.append(written)
        self.read.append(read)
        usage = {
            "input_tokens": fresh,
            "cache_creation_input_tokens": written,
            "cache_read_input_tokens": read,
            "output_tokens": 1,
        }
        value = {
            "id": f"msg_{number}",
            "content": [{"type": "text", "text": "4"}],
            "stop_reason": "end_turn",
            "model": "claude",
            "usage": usage,
        }
        return Reply(200, {}, orjson.dumps(value))

    def _readable(self, key: bytes, now: float) -> bool:
        since, until = self._entries.get(key, (0.0, 0.0))
        return since <= now < until


def _blocks(body: dict[str, Any]) -> list[tuple[str, bool]]:
    """The texts of the system prompt and of all messages, in their order, with whether each is marked."""
    found = []
    for content in (body.get("system", []), *(message["content"] for message in body["messages"])):
        for block in [{"text": content}] if isinstance(content, str) else content:
            assert set(block.get("cache_control", {"type": "ephemeral"}).values()) == {"ephemeral"}
            found.append((block["text"], "cache_control" in block))
    return found
