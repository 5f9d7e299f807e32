"""What each request about a row is of (model, order, criterion, sample), and the different prompts of a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scorer.judges.criteria import names_of
from scorer.types import Message, Request

TWO_ORDERS = ("pairwise", "versus_reference")
"""Kinds of judges that may show two texts in both orders."""
_ORDERS = ("given order", "swapped order")


@dataclass(frozen=True, slots=True)
class ReplyPlace:
    """Which request a reply answers.

    `model` is its alias, `order` that of a pair (0 given, 1 swapped), `criterion` the one that is asked about apart
    from others, "" for all; `place` is the how-manieth it is. Requests are counted from 1 by model, order and
    criterion, explanations (the first of two turns) by themselves.
    """

    model: str = ""
    order: int = 0
    place: int = 1
    explains: bool = False
    criterion: str = ""


class ReplyPlaces:
    """Tells what the requests of a judge are of. `options` are those of [judge], and `kind` its kind."""

    def __init__(self, kind: str, options: Mapping[str, Any]) -> None:
        self._kind, self._explains = kind, options.get("turns") == 2
        samples = options.get("samples", 1)
        self.samples: int = samples if isinstance(samples, int) else 1
        self.criteria = names_of(options.get("criteria")) if options.get("ask_criteria") == "apart" else ()
        """The criteria that are asked apart, in their order; none where they are asked together."""

    def of(self, requests: Sequence[Request]) -> list[ReplyPlace]:
        """The place of each request."""
        starts = _first_turns(requests)
        different = list(dict.fromkeys(starts))
        in_orders = self._kind in TWO_ORDERS and len(different) == 2
        seen: dict[tuple[Any, ...], int] = {}
        places = []
        for request, start in zip(requests, starts, strict=True):
            explains = self._explains and request.messages == start
            number = different.index(start)
            order, criterion = number if in_orders else 0, self.criteria[number] if self.criteria else ""
            key = (request.model, order, criterion, explains)
            seen[key] = seen.get(key, 0) + 1
            places.append(ReplyPlace(request.model, order, seen[key], explains, criterion))
        return places

    def names(self, places: Sequence[ReplyPlace]) -> list[str]:
        """What each request asks about, in words; "" for a single one."""
        if len(places) == 1:
            return [""]
        models = len({place.model for place in places}) > 1
        in_orders = len({place.order for place in places}) > 1
        names = []
        for place in places:
            parts = [place.model] if models else []
            parts += [_ORDERS[place.order]] if in_orders else []
            parts += [place.criterion] if place.criterion else []
            parts += [f"sample {place.place}"] if self.samples > 1 and place.place <= self.samples else []
            parts += ["asked again"] if place.place > self.samples else []
            parts += ["explanation"] if place.explains else []
            names.append(", ".join(parts))
        return names

    def prompts(self, requests: Sequence[Request]) -> list[tuple[str, str]]:
        """The different prompts of the first turn, each with what it is of: one, or one for each order.

        Of criteria that are asked apart it is what all prompts begin with, and for each criterion what follows.
        """
        texts = dict.fromkeys(_text(first) if first else "" for first in _first_turns(requests))
        if self.criteria and len(texts) == len(self.criteria) > 1:
            shared = _common_beginning(list(texts))
            ends = [text[len(shared) :] for text in texts]
            return [
                *([("for each criterion", shared.rstrip("\n"))] if shared else []),
                *zip(self.criteria, ends, strict=True),
            ]
        if self._kind not in TWO_ORDERS or len(texts) != 2:
            return [("", text or request.prompt) for text, request in list(zip(texts, requests, strict=False))[:1]]
        return list(zip(_ORDERS, texts, strict=True))


def _first_turns(requests: Sequence[Request]) -> list[tuple[Message, ...]]:
    """The messages of each request up to the row's own first turn, by which questions differ; the first has no more."""
    length = len(requests[0].messages) if requests else 0
    return [request.messages[:length] for request in requests]


def _common_beginning(texts: Sequence[str]) -> str:
    """The paragraphs with which all texts begin, with the empty line behind them."""
    first, last = min(texts), max(texts)
    length = next((n for n, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    return first[: first.rfind("\n\n", 0, length) + 2] if "\n\n" in first[:length] else ""


def _text(messages: Sequence[Message]) -> str:
    """Messages as one text; several each under its role."""
    if len(messages) == 1:
        return messages[0].content
    return "\n\n".join(f"[{message.role}]\n{message.content}" for message in messages)
