"""Promise: `read = "pattern"` reads stored replies as a published reader did, and still invents nothing."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scorer.errors import NoReply, SpecError, Unreadable
from scorer.judges.rating import Rating
from scorer.judges.reading.numbers import Numbers
from scorer.judges.reading.verdicts import find_pattern
from scorer.types import Completion, Row

NUMBER = r"\d+(?:\.\d+)?"


@pytest.mark.parametrize(
    ("pattern", "text", "value"),
    [
        (NUMBER, "1. Naturalness: 2", 1),
        (NUMBER, "2.5 or 3", 2.5),
        (NUMBER, "84 per cent.\nScore: 3", None),
        (NUMBER, "none", None),
        (r"Score: (\d)?", "Score: 4", 4),
        (r"Score: (\d)?", "Score: ", None),
        (r"(?i)score: (\w+)", "SCORE: four", None),
        (r"(?i)score: (\w+)", "SCORE: nan", None),
    ],
)
def test_find_pattern_takes_first_match(pattern: str, text: str, value: float | None) -> None:
    verdict = find_pattern(text, re.compile(pattern), Numbers(1, 5))
    assert (None if verdict is None else verdict.value) == value


@given(st.text(max_size=60) | st.text(alphabet="0123456789. -\n", max_size=40))
def test_find_pattern_of_any_text_gives_number_on_scale_with_its_span_or_none(text: str) -> None:
    verdict = find_pattern(text, re.compile(NUMBER), Numbers(1, 5))
    if verdict is not None:
        assert float(text[verdict.start : verdict.end]) == verdict.value
        assert 1 <= verdict.value <= 5


def test_rating_by_pattern_returns_score_method_and_reason() -> None:
    judge = Rating(prompt="{x}", read="pattern", pattern=NUMBER, reason="after", attempts=1)
    conversation = judge(Row("s", 0, {"x": "text"}))
    next(conversation)
    with pytest.raises(StopIteration) as done:
        conversation.send([Completion("2, for it is dull")])
    score = done.value.value
    assert (score.value, score.method, score.reason) == (2, "pattern", "for it is dull")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"read": "pattern"}, 'judge.pattern: belongs to read = "pattern", which needs one'),
        ({"pattern": NUMBER}, 'judge.pattern: belongs to read = "pattern"'),
        ({"read": "pattern", "pattern": "("}, "judge.pattern: '\\(' is no regular expression"),
        ({"read": "pattern", "pattern": 3}, "judge.pattern: 3 is no regular expression"),
        ({"read": "pattern", "pattern": NUMBER, "criteria": ["a"]}, "one pattern cannot tell several criteria apart"),
        ({"read": "pattern", "pattern": NUMBER, "labels": ["a", "b"]}, 'judge.labels: read = "pattern" reads none'),
    ],
)
def test_rating_rejects_wrong_pattern_options(options: dict[str, Any], says: str) -> None:
    with pytest.raises(SpecError, match=says):
        Rating(prompt="{x}", **options)


def test_rating_stays_unreadable_when_retry_has_no_reply() -> None:
    judge = Rating(prompt="{x}", attempts=2)
    conversation = judge(Row("s", 0, {"x": "text"}))
    next(conversation)
    conversation.send([Completion("no verdict")])
    with pytest.raises(Unreadable):
        conversation.send([NoReply("no second one")])
