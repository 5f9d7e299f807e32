"""Runs a row's judge over the replies that are there, up to the requests that have no reply yet. Pure."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence

from scorer.engine.judging import checked_score, next_requests
from scorer.errors import RowError
from scorer.frozen import dataclass
from scorer.types import Completion, Conversation, Judge, Request, Row, Score

Answer = Completion | RowError


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


Known = Callable[[int, Request], Answer | int]
"""The answer to a row's n-th request; else the number of its next attempt."""


def advance(judge: Judge, row: Row, known: Known) -> Finished | list[Missing]:
    """The end of a row, or what is missing for its next step."""
    if row.problem is not None:
        return Finished(None, row.problem, ())
    received: list[Answer] = []
    conversation: Conversation | None = None
    try:
        conversation = judge(row)
        requests = next_requests(next, conversation)
        while True:
            answers, missing = _split(requests, len(received), known)
            if missing:
                return missing
            received += answers
            requests = next_requests(conversation.send, answers)
    except StopIteration as done:
        score, error = checked_score(done.value)
        return Finished(score, error, received)
    except RowError as error:
        return Finished(None, error, received)
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


class ContinuedJudge:
    """A judge that asks only what has no reply yet; `known_of` returns what is known of a row, None for nothing.

    `received` has all answers of a row while it is judged, and until they are taken, by shard and number.
    """

    def __init__(self, judge: Judge, known_of: Callable[[Row], Known | None]) -> None:
        self._judge = judge
        self._known_of = known_of
        self.columns, self.fields, self.constant = judge.columns, judge.fields, judge.constant
        self.received: dict[tuple[str, int], list[Answer]] = {}

    def __call__(self, row: Row) -> Conversation:
        known = self._known_of(row)
        return self._judge(row) if known is None else self._continued(row, known)

    def _continued(self, row: Row, known: Known) -> Generator[list[Request], list[Answer], Score]:
        received = self.received[row.shard, row.number] = []
        conversation = self._judge(row)
        try:
            requests = next(conversation)
            while True:
                answers: list[Answer | int] = [known(n, request) for n, request in enumerate(requests, len(received))]
                asked = [request for request, found in zip(requests, answers, strict=True) if isinstance(found, int)]
                replies = iter((yield asked) if asked else ())
                whole = [next(replies) if isinstance(found, int) else found for found in answers]
                received += whole
                requests = conversation.send(whole)
        except StopIteration as done:
            score: Score = done.value
            return score
        finally:
            conversation.close()
