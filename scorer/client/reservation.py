"""Computes the Demand of a request: the tokens and the money that are reserved before it is sent. Sends nothing."""

from __future__ import annotations

from functools import partial
from typing import Literal, Protocol

from scorer.client.request_body import asked_output
from scorer.limits import Asked, Demand
from scorer.types import Request
from scorer.usage import Usage

TEMPLATE_TOKENS = 16
"""The most that a chat template adds for one message."""
ADDED_TOKENS = 64
"""What a server may add to any prompt before a bill shows how much it is."""


_FOR_AN_HOUR = b'"1h"'
"""In no text of a prompt, where JSON escapes the quotes."""


class Tariff(Protocol):
    """What a usage costs, in pico-dollars (10^-12 USD)."""

    def cost_pico(self, usage: Usage) -> int: ...
    def worst_pico(self, prompt_tokens: int, completion_tokens: int, *, written: Literal["", "5m", "1h"] = "1h") -> int:
        """`written`: for how long the server may be asked to write to its cache."""
        ...


class Reservation:
    """The demands of one model's requests. `max_output_tokens` serves requests without one; no `tariff`: no price."""

    def __init__(self, tariff: Tariff | None, max_output_tokens: int) -> None:
        self._max_output_tokens = max_output_tokens
        self._worst_pico = tariff.worst_pico if tariff else None
        # Those of a request that asks for no caching, and of one that asks for minutes of it.
        self._plain_pico = self._minutes_pico = self._worst_pico
        if tariff is not None and tariff.worst_pico(1, 0) != tariff.worst_pico(1, 0, written=""):
            self._plain_pico = partial(tariff.worst_pico, written="")
            self._minutes_pico = partial(tariff.worst_pico, written="5m")

    def demand(
        self,
        request: Request,
        body: bytes,
        *,
        asked: tuple[int, int] | None = None,
        begun: bool = False,
    ) -> Demand:
        """What `request` may take, by the first body that goes out.

        No tokeniser makes more tokens than there are bytes, so bytes bound the prompt from above: those of the body,
        with all that `model.extra` put into it, or of the request's texts where that body does not hold them yet.
        `asked` is the output that the body asks for, as `Call.output`.
        """
        continuation = request.continuation
        messages, prompt = request.messages, len(body)
        held = 0
        for message in messages:
            held += len(message.content)
        if prompt < held or continuation is not None or not messages:
            texts = [message.content for message in messages] or [request.prompt, continuation or ""]
            prompt = max(prompt, sum(map(_bytes, texts)))
        limit, choices = asked or asked_output(body)
        if request.choices > choices:
            choices = request.choices
        if continuation is None:
            limit = limit or request.max_output_tokens or self._max_output_tokens
            output = limit * choices
        else:  # forced, the continuation itself may be what is generated
            output = limit or 1
            limit = limit or _bytes(continuation) + 1
        worst_pico = self._plain_pico
        if worst_pico is not self._worst_pico and (b"cache_control" in body or b"cachePoint" in body):
            worst_pico = self._worst_pico if _FOR_AN_HOUR in body else self._minutes_pico
        most, most_output = prompt + TEMPLATE_TOKENS * (len(messages) or 2) + ADDED_TOKENS, limit * choices
        return Demand(  # without names of fields it takes half as long
            request.tokens or prompt // 4,
            output,
            most + most_output,
            worst_pico(most, most_output) if worst_pico else 0,
            not (begun or request.begun),
            Asked(most, limit, choices, worst_pico),
            request.row,
        )


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
