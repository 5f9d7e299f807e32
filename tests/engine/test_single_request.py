"""Promise: a row that is scored without its conversation asks and gets what it asks and gets in one."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from dataclasses import replace
from typing import Any

import pytest

from scorer.engine.engine import RunContext, score_row
from scorer.errors import NoReply, Refused, RowError, Unreadable
from scorer.judges.rating import Rating
from scorer.types import Completion, Conversation, Request, Result, Row

ROW = Row("a.parquet", 0, {"text": "It rains.", "key": 7}, tokens=40)
BAD = Row("a.parquet", 1, {"text": object()})
TEXTS = ["4", "Score: 2", "Score: 2\nIt is short.", "It is long.\nScore: 5", '{"score": 3}', "yes", "", "2 or 3", "{"]
ANSWERS: list[Completion | RowError] = [
    *map(Completion, TEXTS),
    *(Completion("Well", why) for why in ("length", "content_filter")),
    *(kind("as the server said") for kind in (NoReply, Refused, Unreadable)),
]


class Scripted:
    """A `Client` that gives one answer after the other, and the requests that it got."""

    def __init__(self, answers: Sequence[Completion | RowError]) -> None:
        self.asked: list[Request] = []
        self._answers = iter(answers)

    async def complete(self, request: Request) -> Completion:
        self.asked.append(request)
        answer = next(self._answers)
        if isinstance(answer, RowError):
            raise answer
        return answer


def scored(judge: Rating, row: Row, answers: Sequence[Completion | RowError], *, single: bool) -> tuple[Any, ...]:
    """What is asked about a row, and its result."""
    client = Scripted(answers)
    parts = RunContext(judge, client, None, lambda: 0, lambda reply: reply.text, single=judge if single else None)  # type: ignore[arg-type]
    result = ended(score_row(row, parts))
    error = None if result.error is None else (result.error.name, result.error.detail)
    return client.asked, result.score, error, result.raw, result.finish_reason


def ended(scoring: Coroutine[Any, Any, Result]) -> Result:
    """What a coroutine returns that waits for nothing."""
    try:
        scoring.send(None)
    except StopIteration as done:
        result: Result = done.value
        return result
    raise AssertionError("it waits")


@pytest.mark.parametrize(
    "options",
    [{}, {"reason": "before"}, {"keys": ["key"], "attempts": 2}, {"read": "json", "reason": "after"}],
    ids=lambda options: "-".join(options) or "defaults",
)
def test_row_of_a_single_request_is_scored_as_in_its_conversation(options: dict[str, Any]) -> None:
    judge = Rating(prompt="Rate: {text}", **options)
    assert judge.single_request(ROW) is not None
    more: list[Completion | RowError] = [Completion("3 or 4"), Completion("Score: 1")]
    for answer in ANSWERS:
        assert scored(judge, ROW, [answer, *more], single=True) == scored(judge, ROW, [answer, *more], single=False)
    assert scored(judge, BAD, more, single=True) == scored(judge, BAD, more, single=False)


def test_class_that_holds_another_conversation_than_rating_is_asked_by_it() -> None:
    class Doubled(Rating):
        def __call__(self, row: Row) -> Conversation:
            score = yield from super().__call__(row)
            return replace(score, value=2 * score.value)

    judge = Doubled(prompt="Rate: {text}")
    _, score, *_ = scored(judge, ROW, [Completion("Score: 2")], single=True)
    assert score.value == 4


@pytest.mark.parametrize(
    "options",
    [{"samples": 2}, {"turns": 2}, {"criteria": ["style"]}, {"rubric": "versus", "versus_reference": True}],
    ids=lambda options: next(iter(options)),
)
def test_rating_with_more_to_ask_is_held_as_a_conversation(options: dict[str, Any]) -> None:
    assert Rating(**({"rubric": "direct"} | options)).single_request(ROW) is None
