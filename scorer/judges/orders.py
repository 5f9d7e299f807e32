"""Two texts before one judge, in the order given and swapped: what `pairwise` and `versus_reference` have in common.

A judge leans to one side, so that one order alone says less than it seems to. With both, a row needs a reading in each.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, TypeVar

from scorer.errors import BadRow, Refused, RowError, SpecError, Truncated, Unreadable
from scorer.judges.rating import _choice_problems, _count_problems, _rank
from scorer.judges.template import Template
from scorer.schema import Completion, Message, Request, Row

ORDERS = ("both", "given")
PLACES = ("first", "second")
"""The prompt's placeholders for the two texts, in the order shown."""

_WARMER = 0.3

T = TypeVar("T")


class Orders:
    """The requests about two texts of a row, and what was read of the replies.

    `text` is a `Template` with {first} and {second} besides columns of the row. `a` and `b` are columns; where `b` is
    None, `constant_b` is the second text of every row. Both orders are asked at once, the given one first, each
    `samples` times; what is unreadable is asked again, `attempts` times in all, at temperature 0 then warmer.

    Raises: SpecError, with one sentence for each mistake; `problems` are the caller's own, told along.
    """

    def __init__(
        self,
        text: str,
        *,
        system: str | None,
        a: str,
        b: str | None,
        constant_b: str = "",
        orders: str,
        samples: int,
        attempts: int,
        keys: Sequence[str],
        temperature: float | None,
        problems: Sequence[str] = (),
    ) -> None:
        found = [
            *problems,
            *_choice_problems("orders", orders, ORDERS),
            *_count_problems("samples", samples),
            *_count_problems("attempts", attempts),
        ]
        try:
            self._template = Template(text)
            if text:
                found += [
                    f"judge.prompt: holds no {{{place}}}; it is where the {place} of the two texts is shown."
                    for place in PLACES
                    if place not in self._template.columns
                ]
        except SpecError as error:
            found += error.problems
        if found:
            raise SpecError(found)
        self._a, self._b, self._constant_b = a, b, constant_b
        self._opening = () if system is None else (Message("system", system),)
        self._swaps = (False, True) if orders == "both" else (False,)
        self._samples, self._attempts, self._keys = samples, attempts, tuple(keys)
        self._warmer = _WARMER if temperature == 0 else None
        shown = tuple(name for name in self._template.columns if name not in PLACES)
        texts = (a,) if b is None else (a, b)
        self.columns: tuple[str, ...] = tuple(dict.fromkeys((*shown, *texts, *keys)))
        self.constant = "\n".join((system or "", self._template.constant, constant_b)).strip("\n")

    def ask(
        self, row: Row, read: Callable[[Completion], T], top_logprobs: int = 0
    ) -> Generator[list[Request], list[Completion | RowError], list[list[T]]]:
        """What `read` made of the replies: for each order, the given one first, its samples that were read.

        `read` raises RowError for a reply that says nothing; Unreadable ones are asked again. Raises: the most telling
        of these errors where an order has no sample that was read; BadRow.
        """
        messages = [self._messages(row, swapped) for swapped in self._swaps]
        key = {name: row.values.get(name) for name in self._keys}
        places = [order for order in range(len(self._swaps)) for _ in range(self._samples)]
        taken: list[list[T]] = [[] for _ in self._swaps]
        failed: dict[int, RowError] = {}
        open_, asked = list(range(len(places))), 0
        for attempt in range(self._attempts):
            answers = yield [
                Request(
                    messages=messages[places[place]],
                    temperature=self._warmer if attempt else None,
                    seed=asked + at if attempt or self._samples > 1 else None,
                    top_logprobs=top_logprobs,
                    key=key,
                    index=asked + at,
                    tokens=row.tokens,
                )
                for at, place in enumerate(open_)
            ]
            asked += len(open_)
            for place, answer in zip(open_, answers, strict=True):
                failed.pop(place, None)
                try:
                    if isinstance(answer, RowError):
                        raise answer
                    taken[places[place]].append(read(answer))
                except RowError as error:
                    failed[place] = error
            open_ = [place for place in open_ if isinstance(failed.get(place), Unreadable)]
            if not open_:
                break
        if not all(taken):
            raise min((failed[place] for place, order in enumerate(places) if not taken[order]), key=_rank)
        return taken

    def _messages(self, row: Row, swapped: bool) -> tuple[Message, ...]:
        texts = [self._text(row, self._a), self._constant_b if self._b is None else self._text(row, self._b)]
        if swapped:
            texts.reverse()
        shown: Mapping[str, Any] = {**row.values, **dict(zip(PLACES, texts, strict=True))}
        return (*self._opening, Message("user", self._template.fill(shown)))

    @staticmethod
    def _text(row: Row, column: str) -> str:
        value = row.values.get(column)
        if not isinstance(value, str):
            what = "null" if value is None else f"a {type(value).__name__}"
            raise BadRow(f"Column {column!r} is {what}; a comparison needs a string.")
        return value


def unread(answer: Completion, what: str = "verdict") -> RowError:
    """Why a reply gives no verdict: the filter, the limit, or its own words."""
    if answer.finish_reason == "content_filter":
        return Refused(f"The content filter stopped the reply before a {what}.")
    if answer.finish_reason == "length":
        return Truncated(f"The reply reached max_output_tokens before a {what}; raise it.")
    return Unreadable(f"The reply holds no {what}, or more than one.")


def prompt_text(
    kind: str, prompt: str | None, rubric: str | None, rubrics: Mapping[str, str], problems: list[str]
) -> str:
    """The prompt or the built-in one behind `rubric`; adds a sentence to `problems` for each mistake."""
    if rubric is not None:
        if prompt is not None:
            problems.append("judge.prompt and judge.rubric: both are given; one of them is allowed.")
        problems += _choice_problems("rubric", rubric, tuple(rubrics))
        return rubrics.get(rubric, "")
    if prompt is None:
        problems.append(
            f"judge.prompt: missing; {kind} needs a prompt, or rubric = {' | '.join(repr(name) for name in rubrics)}."
        )
    return prompt or ""
