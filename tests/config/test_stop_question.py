"""`stop.question` is read with any names of systems, and refused with what is allowed."""

import pytest

from scorer.config.stop_question import Question, parse_question


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("best", Question("best", "best")),
        ("  top  12 ", Question("top  12", "top", top=12)),
        ("ranking", Question("ranking", "ranking")),
        ("mean", Question("mean", "mean")),
        ("gpt-4 > gpt-3.5", Question("gpt-4 > gpt-3.5", "compare", a="gpt-4", b="gpt-3.5", strict=True)),
        ("new >= old", Question("new >= old", "compare", a="new", b="old")),
        ("new >= old - .05", Question("new >= old - .05", "compare", a="new", b="old", allowed=0.05)),
        ('"a b" >= "c - 1" - 1e-2', Question('"a b" >= "c - 1" - 1e-2', "compare", a="a b", b="c - 1", allowed=0.01)),
        ('x > "c - 1"', Question('x > "c - 1"', "compare", a="x", b="c - 1", strict=True)),
    ],
)
def test_questions_and_what_they_mean(text, meant):
    assert parse_question(text) == meant


@pytest.mark.parametrize("text", ["", "Best", "top", "top 0", "top -1", "a < b", "a >= a", "> b", "a >=", "worst"])
def test_anything_else_is_refused_with_what_is_allowed(text):
    with pytest.raises(ValueError, match='must be one of "best", "top 3"'):
        parse_question(text)
