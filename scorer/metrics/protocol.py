"""What a metric is: two columns of text in, one column of numbers out.

Of several references of a row it is asked about each by itself (references.py), unless it has a true `takes_lists`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from scorer.frozen import dataclass


class Metric(Protocol):
    """An automatic score of each response. Called in batches, by one thread at a time.

    A reward model can be one: its class is made without arguments in a process of its own, and the reference column may
    hold the prompt.
    """

    @property
    def needs_reference(self) -> bool:
        """False where it looks at the response alone."""
        ...

    def __call__(self, responses: Sequence[str | None], references: Sequence[str | None]) -> list[float | None]:
        """One score for each row, in their order.

        None where the response, or a reference that is needed, is null; an empty text is a text and has a score.
        """
        ...


@dataclass(frozen=True, slots=True)
class EachPair:
    """A metric that looks at one response and its reference; `score` may say None where it cannot tell."""

    score: Callable[[str, str], float | None]

    @property
    def needs_reference(self) -> bool:
        return True

    def __call__(self, responses: Sequence[str | None], references: Sequence[str | None]) -> list[float | None]:
        return [
            None if response is None or reference is None else self.score(response, reference)
            for response, reference in zip(responses, references, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class EachResponse:
    """A metric that looks at one response, whatever its reference."""

    score: Callable[[str], float]

    @property
    def needs_reference(self) -> bool:
        return False

    def __call__(self, responses: Sequence[str | None], references: Sequence[str | None]) -> list[float | None]:
        return [None if response is None else self.score(response) for response in responses]
