"""Cuts requests into chunks: by count, bytes and prompt tokens, and by what the caps still hold. Pure.

All requests of a row's turn go into one chunk, so that a row is in at most one batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Literal

from scorer.batch.types import Bounds, Frame
from scorer.frozen import dataclass
from scorer.output.chunk_files import ChunkLine

Full = Literal["requests", "bytes", "enqueued_tokens", "max_tokens", "max_usd"]
"""Why a turn does not fit. In an empty chunk: bytes, and it never does; or a cap, and it does once that is raised."""
CAPS: tuple[Full, ...] = ("max_tokens", "max_usd")


@dataclass(frozen=True, slots=True)
class Turn:
    """The requests that a row's judge yields together. `sizes` are the bytes of each, as it stands in the file."""

    lines: Sequence[ChunkLine]
    sizes: Sequence[int]
    prompt_tokens: int


@dataclass(frozen=True, slots=True)
class Room:
    """What one chunk may hold. `tokens` and `pico` are what the caps leave, in the worst case; None: no bound."""

    bounds: Bounds
    enqueued_tokens: int | None = None
    tokens: int | None = None
    pico: int | None = None

    def halved(self, requests: int) -> Room:
        """Room for half of a chunk of so many requests, which failed as a whole: at least one request."""
        most = max(1, min(self.bounds.requests, requests) // 2)
        return replace(self, bounds=Bounds(most, self.bounds.bytes))


@dataclass(frozen=True, slots=True)
class Cut:
    """The turns of one chunk; the turn that did not fit any more, and why. None where the turns ended before."""

    turns: Sequence[Turn]
    over: Turn | None = None
    full: Full | None = None


@dataclass(slots=True)
class _Held:
    requests: int = 0
    size: int = 0
    prompt_tokens: int = 0
    tokens: int = 0
    pico: int = 0

    def with_turn(self, turn: Turn, frame: Frame) -> _Held:
        return _Held(
            self.requests + len(turn.lines),
            self.size + sum(turn.sizes) + len(frame.between) * len(turn.sizes),
            self.prompt_tokens + turn.prompt_tokens,
            self.tokens + sum(line.tokens for line in turn.lines),
            self.pico + sum(line.pico for line in turn.lines),
        )

    def over(self, room: Room) -> Full | None:
        held: tuple[tuple[Full, int, int | None], ...] = (
            ("requests", self.requests, room.bounds.requests),
            ("bytes", self.size, room.bounds.bytes),
            ("enqueued_tokens", self.prompt_tokens, room.enqueued_tokens),
            ("max_tokens", self.tokens, room.tokens),
            ("max_usd", self.pico, room.pico),
        )
        return next((name for name, much, most in held if most is not None and much > most), None)


def cut(turns: Iterable[Turn], room: Room, frame: Frame) -> Cut:
    """The first turns that fit one chunk together; one turn alone may exceed `requests` and `enqueued_tokens`.

    A panel of five asks five requests of one row: they stay together where a halved chunk would hold two, and where the
    tokens that may be enqueued are fewer than the prompts of one row, only the provider can say so.
    """
    taken: list[Turn] = []
    held = _Held(size=len(frame.head) + len(frame.tail))
    for turn in turns:
        larger = held.with_turn(turn, frame)
        limits = room if taken else Room(Bounds(larger.requests, room.bounds.bytes), None, room.tokens, room.pico)
        if (full := larger.over(limits)) is not None:
            return Cut(taken, turn, full)
        taken.append(turn)
        held = larger
    return Cut(taken)
