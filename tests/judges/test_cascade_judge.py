"""Promise: the strong model is asked only where the cheap one is not sure enough; one row has one score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from scorer.errors import Refused, RowError, SpecError, Unreadable
from scorer.judges.cascade import Cascade
from scorer.types import Completion, Request, Row, Score

RATINGS = {"prompt": "{a}", "scale": [1, 5], "samples": 2, "attempts": 1}
PAIRS = {"of": "pairwise", "prompt": "{first} {second}", "a": "a", "b": "b", "attempts": 1}


def judged(judge: Cascade, said: Mapping[str, Sequence[str | RowError]]) -> tuple[Score, list[list[tuple[str, int]]]]:
    """The score where each model gives its replies one after the other, and who was asked in each turn."""
    queues = {alias: iter(replies) for alias, replies in said.items()}
    conversation = judge(Row("s", 0, {"a": "So.", "b": "No."}))
    asked: list[list[Request]] = [next(conversation)]
    while True:
        replies = [next(queues[request.model]) for request in asked[-1]]
        try:
            asked.append(conversation.send([Completion(one) if isinstance(one, str) else one for one in replies]))
        except StopIteration as end:
            return end.value, [[(r.model, r.index) for r in turn] for turn in asked]


def test_sure_rating_is_kept_and_the_strong_model_is_not_asked() -> None:
    judge = Cascade(models=["cheap", "strong"], threshold=0.7, **RATINGS)
    score, asked = judged(judge, {"cheap": ["4", "5"]})
    # By hand: the standard deviation of 4 and 5 is .5, the width of the scale 4: 1 - 2 * .5 / 4 = .75.
    assert score.value == 4.5
    assert score.fields == {
        "score_cheap": 4.5, "score_strong": None, "confidence": 0.75, "decided_by": "cheap", "kept": True,
    }  # fmt: skip
    assert asked == [[("cheap", 0), ("cheap", 1)]]
    assert [field.name for field in judge.fields] == list(score.fields)


@pytest.mark.parametrize("cheap", [["2", "5"], ["3", "none"], ["none", "none"], [Refused("no"), Refused("no")]])
def test_row_that_is_not_sure_goes_to_the_strong_model(cheap: list[str | RowError]) -> None:
    judge = Cascade(models=["cheap", "strong"], threshold=0.7, **RATINGS)
    score, asked = judged(judge, {"cheap": cheap, "strong": ["1"]})
    assert (score.value, score.fields["decided_by"], score.fields["kept"]) == (1.0, "strong", False)
    assert asked == [[("cheap", 0), ("cheap", 1)], [("strong", 0)]]
    assert score.fields["score_strong"] == 1.0


def test_row_fails_only_where_the_strong_model_gives_no_verdict() -> None:
    judge = Cascade(models=["cheap", "strong"], threshold=0.7, **RATINGS)
    with pytest.raises(Unreadable):
        judged(judge, {"cheap": ["1", "5"], "strong": ["hm"]})


def test_without_a_threshold_both_are_asked_at_once_about_every_row() -> None:
    judge = Cascade(models=["cheap", "strong"], **PAIRS, samples=1, orders="given")
    score, asked = judged(judge, {"cheap": ["Verdict: A"], "strong": ["Verdict: B"]})
    assert (score.value, score.fields["kept"], score.fields["decided_by"]) == (0.0, None, "strong")
    assert (score.fields["score_cheap"], score.fields["confidence"], score.fields["verdict"]) == (1.0, 1.0, "b")
    assert asked == [[("cheap", 0), ("strong", 0)]]


def test_preference_of_both_orders_is_sure_where_they_agree() -> None:
    judge = Cascade(models=["cheap", "strong"], threshold=1.0, **PAIRS)
    score, asked = judged(judge, {"cheap": ["Verdict: A", "Verdict: B"]})  # the swapped order shows b first
    assert (score.value, score.fields["kept"], len(asked)) == (1.0, True, 1)
    score, asked = judged(judge, {"cheap": ["Verdict: A", "Verdict: A"], "strong": ["Verdict: B", "Verdict: A"]})
    assert (score.value, score.fields["confidence"], score.fields["kept"]) == (0.0, 0.0, False)
    assert [len(turn) for turn in asked] == [2, 2]


def test_the_plan_counts_what_both_models_ask() -> None:
    judge = Cascade(models=["cheap", "strong"], threshold=0.7, **RATINGS)
    assert [r.model for r in judge.every_request(Row("s", 0, {"a": "x"}))] == ["cheap", "cheap", "strong"]


@pytest.mark.parametrize(
    ("options", "sentences"),
    [
        ({"models": ["x"]}, ["a cascade has two"]),
        ({"models": ["x", "y"], "samples": 1, "threshold": "high"}, ["judge.samples = 1", "judge.threshold: 'high'"]),
        ({"models": ["x", "y"], "of": "likelihood"}, ["judge.of"]),
        ({"models": ["x", "y"], "aggregate": "mean"}, ["judge.aggregate: is unknown to a cascade of rating"]),
        ({"models": ["x", "y"], "prompt": None}, ["judge.prompt"]),
    ],
)
def test_mistakes_are_told_with_their_key(options: dict[str, Any], sentences: list[str]) -> None:
    with pytest.raises(SpecError) as caught:
        Cascade(**{**RATINGS, **options})
    for sentence in sentences:
        assert sentence in str(caught.value)
