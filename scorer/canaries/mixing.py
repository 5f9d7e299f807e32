"""The canaries that one process asks among its rows, and their answers in the order in which they were asked."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import replace

from scorer.canaries.known_rows import CanaryPool, RowsAlone, WithoutCanaries
from scorer.config.spec import Spec
from scorer.engine.engine import RunContext
from scorer.output.canary_files import CanaryAnswer
from scorer.types import Result, Row


def patience_s(spec: Spec) -> float:
    """The longest time that a reply may take: a canary without an answer by then was asked again, or waits for that."""
    return max(model.timeout_s for model in spec.all_models)


class CanaryRows:
    """Draws a canary for each 1 / `share` rows, with replacement: `seed` and its number say which known row it is.

    A row is drawn once all rows before it were begun, so the order of drawing is that of asking. `answered` is called
    with the answers, and the seconds since each was drawn, in this order: an answer waits for those to the canaries
    before it, but for none that was drawn `patience_s` ago. Such a late answer is handed on when it comes. `credit` is
    the share of a canary that is due at the start.
    """

    def __init__(
        self,
        known: CanaryPool,
        share: float,
        seed: str,
        answered: Callable[[CanaryAnswer, float], None],
        *,
        clock: Callable[[], float],
        patience_s: float,
        credit: float | None = None,
    ) -> None:
        self._known, self._share, self._seed, self._clock = known, share, seed, clock
        self._patience_s = patience_s
        self._on_answer = answered
        self._credit = 1.0 - share if credit is None else credit
        self._number = 0
        self._drawn: deque[tuple[int, float]] = deque()
        """Number and time of the canaries that are not handed on yet, in their order."""
        self._rows: dict[int, tuple[Row, float]] = {}
        """Those without an answer: which known row each is, and when it was drawn."""
        self._answers: dict[int, CanaryAnswer] = {}

    async def mixed(self, batches: AsyncIterator[list[Row]]) -> AsyncGenerator[list[Row]]:
        """The rows with canaries among them. A canary is a batch of its own."""
        async with aclosing(batches):  # type: ignore[type-var]
            async for batch in batches:
                first = 0
                for number in range(len(batch)):
                    self._credit += self._share
                    if self._credit >= 1.0:
                        self._credit -= 1.0
                        yield batch[first : number + 1]
                        first = number + 1
                        yield [self.draw()]
                if first < len(batch):
                    yield batch[first:]

    def draw(self) -> Row:
        """The next canary."""
        number, self._number = self._number, self._number + 1
        row = self._known.rows[random.Random(f"{self._seed} {number}").randrange(len(self._known.rows))]
        self._rows[number] = row, self._clock()
        self._drawn.append((number, self._clock()))
        return replace(row, number=number)

    def around(self, parts: RunContext) -> RunContext:
        """The parts of a run for rows with canaries among them, whose results come here."""
        partial = None if parts.partial is None else RowsAlone(parts.partial)
        return replace(parts, store=WithoutCanaries(parts.store, self._take), partial=partial)

    def _take(self, result: Result) -> None:
        number = result.row.number
        row, drawn_at = self._rows.pop(number)
        answer = self._known.answer(result, row, self._clock() - drawn_at)
        if not self._drawn or number < self._drawn[0][0]:
            self._on_answer(answer, self._clock() - drawn_at)  # it was waited for no more
            return
        self._answers[number] = answer
        self._hand_on_ready()

    def _hand_on_ready(self) -> None:
        """Hands on the answers that wait for none any more."""
        given_up = self._clock() - self._patience_s
        while self._drawn and (self._drawn[0][0] in self._answers or self._drawn[0][1] <= given_up):
            self._hand_on()

    def _hand_on(self) -> None:
        number, drawn_at = self._drawn.popleft()
        if (answer := self._answers.pop(number, None)) is not None:
            self._on_answer(answer, self._clock() - drawn_at)

    def flush(self) -> None:
        """Hands on the answers that wait for others, which will not come."""
        while self._drawn:
            self._hand_on()

    @property
    def waiting(self) -> int:
        """How many canaries have no answer."""
        return len(self._rows)

    @property
    def oldest_s(self) -> float | None:
        """How long ago the first canary was drawn that is not handed on yet; None where there is none."""
        return self._clock() - self._drawn[0][1] if self._drawn else None
