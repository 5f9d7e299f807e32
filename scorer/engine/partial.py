"""Answers to rows that are known before they are asked: of an earlier start, or of a provider's batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from scorer.engine.choices import Answer
from scorer.types import Request, Row

Known = Callable[[int, Request], Answer | int]
"""The answer to a row's n-th request; else the number of its next attempt."""


class PartialAnswers(Protocol):
    """The answers to rows that are not finished."""

    def known_of(self, row: Row) -> Known | None:
        """What is known of a row; None where nothing is."""
        ...

    def keep(self, row: Row, answers: Sequence[Answer | None]) -> None:
        """Keeps the answers of a row that the end of the run cut off, by the number of the request; None for none."""
        ...

    def finished(self, row: Row) -> None:
        """A row of which something was known has a result."""
        ...


def known_answers(known: Known | None, requests: Sequence[Request], first: int) -> list[Answer | None]:
    """What is known of these requests, the first of which has the number `first`."""
    found = [0 if known is None else known(number, request) for number, request in enumerate(requests, first)]
    return [None if isinstance(one, int) else one for one in found]
