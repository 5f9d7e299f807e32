"""Promise: one sample in one turn is asked, read and scored as any number of samples is."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scorer.errors import NoReply, Refused, RowError, Unreadable
from scorer.judges.rating import Rating
from scorer.types import Completion, Request, Row, Score

ROW = Row("a.parquet", 0, {"text": "It rains.", "key": 7}, tokens=40)

ANSWERS = st.one_of(
    st.sampled_from(
        ["4", "Score: 2", "Score: 2\nIt is short.", "It is long.\nScore: 5", "yes", "No.", "9", "", "2 or 3", "{"]
    ).map(Completion),
    st.sampled_from(["length", "content_filter"]).map(lambda why: Completion("Well", why)),
    st.sampled_from([NoReply, Refused, Unreadable]).map(lambda kind: kind("as it was told")),
)


def driven(
    steps: Generator[list[Request], list[Completion | RowError], Any], answers: Sequence[Completion | RowError]
) -> tuple[list[Request], Any]:
    """The requests that were yielded, and what was returned; the name and the words of the error that was raised."""
    asked: list[Request] = []
    left = iter(answers)
    try:
        requests = next(steps)
        while True:
            asked += requests
            requests = steps.send([next(left) for _ in requests])
    except StopIteration as done:
        return asked, done.value
    except RowError as error:
        return asked, (error.name, error.detail)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"reason": "before"},
        {"keys": ["key"], "attempts": 2, "temperature": 0.7, "system": "You judge."},
        {"read": "label", "labels": {"no": 1, "yes": 5}},
        {"read": "json", "reason": "after"},
        {"criteria": ["length", "tone"]},
    ],
    ids=lambda options: "-".join(options) or "defaults",
)
@given(answers=st.lists(ANSWERS, min_size=3, max_size=3))
def test_rating_scores_one_sample_like_several(options: dict[str, Any], answers: list[Completion | RowError]) -> None:
    judge = Rating(prompt="Rate: {text}", **options)
    (question,) = judge._questions

    def as_several() -> Generator[list[Request], list[Completion | RowError], Score]:
        (taken,) = yield from judge._asking.ask(ROW, [replace(question.about(ROW), read=_general_sample)])
        return judge._score(taken)

    def _general_sample(answer: Completion) -> Any:
        plain, question._is_plain = question._is_plain, False
        try:
            return question.sample(answer)
        finally:
            question._is_plain = plain

    assert driven(judge(ROW), answers) == driven(as_several(), answers)
