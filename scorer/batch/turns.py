"""Runs a row's judge over the replies that are there, up to the requests that have no reply yet. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from scorer.engine.choices import Answer
from scorer.engine.judging import checked_score, judge_step
from scorer.engine.partial import Known, PartialAnswers
from scorer.error_frames import without_frames
from scorer.errors import RowError
from scorer.frozen import dataclass
from scorer.types import Conversation, Judge, Request, Row, Score


@dataclass(frozen=True, slots=True)
class Missing:
    """A request without a reply: the `number`-th that the judge yields for its row, from 0.

    It is asked for the `attempt`-th time.
    """

    request: Request
    number: int
    attempt: int


@dataclass(frozen=True, slots=True)
class Finished:
    """How a row ended: a score or an error, and all answers in the order of their requests."""

    score: Score | None
    error: RowError | None
    answers: Sequence[Answer]


def advance(judge: Judge, row: Row, known: Known) -> Finished | list[Missing]:
    """The end of a row, or what is missing for its next step."""
    if row.problem is not None:
        return Finished(None, row.problem, ())
    received: list[Answer] = []
    conversation: Conversation | None = None
    try:
        conversation = judge(row)
        requests = judge_step(next, conversation)
        while True:
            answers, missing = _split(requests, len(received), known)
            if missing:
                return missing
            received += answers
            requests = judge_step(conversation.send, answers)
    except StopIteration as done:
        score, error = checked_score(done.value)
        return Finished(score, error, received)
    except RowError as error:
        return Finished(None, without_frames(error), received)
    finally:
        if conversation is not None:
            conversation.close()


def _split(requests: Sequence[Request], first: int, known: Known) -> tuple[list[Answer], list[Missing]]:
    answers: list[Answer] = []
    missing: list[Missing] = []
    for number, request in enumerate(requests, first):
        found = known(number, request)
        if isinstance(found, int):
            missing.append(Missing(request, number, found))
        else:
            answers.append(found)
    return answers, missing


class KnownRows:
    """What is known of rows that are not finished: what `partial` kept of an earlier start, else what batches answered.

    It is the `PartialAnswers` of rows that are asked online after batches.
    """

    def __init__(self, partial: PartialAnswers, in_batches: Callable[[Row], Known | None]) -> None:
        self._partial = partial
        self._in_batches = in_batches
        self.keep, self.finished = partial.keep, partial.finished

    def known_of(self, row: Row) -> Known | None:
        """What is known of a row; None where nothing is."""
        kept, batched = self._partial.known_of(row), self._in_batches(row)
        if kept is None or batched is None:
            return kept or batched
        first, second = kept, batched

        def known(number: int, request: Request) -> Answer | int:
            found = first(number, request)
            return second(number, request) if isinstance(found, int) else found

        return known
