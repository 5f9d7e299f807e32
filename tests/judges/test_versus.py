"""Promise: response and reference are graded side by side in both orders, and their ratio is kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from driver import Answer, talk
from hypothesis import given, settings
from hypothesis import strategies as st

from scorer.errors import BadRow, NoReply, Refused, SpecError, Truncated, Unreadable
from scorer.judges import JUDGES
from scorer.judges.versus import VersusReference
from scorer.types import Completion, Request, Row, Score


def row(**values: Any) -> Row:
    return Row("shard.parquet", 0, {"q": "Why?", "response": "So.", "reference": "No.", **values}, tokens=7)


def versus(**options: Any) -> VersusReference:
    return VersusReference(**{"prompt": "{q} 1: {first} 2: {second}", "scale": (0, 10)} | options)


def grade(judge: VersusReference, *turns: Sequence[Answer], **values: Any) -> tuple[Score, list[list[Request]]]:
    return talk(judge, row(**values), *turns)


def test_versus_reference_averages_grades_of_both_orders() -> None:
    judge = versus()
    # By hand: the response gets 6 first and 4 second, the reference 8 second and 10 first: 5, 9 and 5 / 9.
    score, asked = grade(judge, ["First: 6\nSecond: 8", "First: 10\nSecond: 4"])
    assert score == Score(
        5.0, method="number", samples=2, fields={"score_reference": 9.0, "score_ratio": pytest.approx(5 / 9)}
    )
    assert [request.messages[0].content for request in asked[0]] == ["Why? 1: So. 2: No.", "Why? 1: No. 2: So."]
    assert [field.name for field in judge.fields] == list(score.fields)
    assert judge.columns == ("q", "response", "reference")


@pytest.mark.parametrize(
    "reply",
    [
        "8/10,9/10",
        "8/10, 9/10",
        "8 9",
        "8; 9.",
        "8 and 9",
        "**8, 9**",
        "The first is good, the second better.\n8 9",
        "8 9\nThe first misses 1 of 3 points.",
        "First: 8\nSecond: 9",
        "First response: 8/10\nSecond response: 9/10",
        "Response 1: 8\nResponse 2: 9",
        '{"first": 8, "second": 9}',
        "Scores: 8, 9",
        "**Score:** 8 9",
        "Score 1: 8\nScore 2: 9",
        "Assistant 1: 8/10\nAssistant 2: 9/10",
        "Answer A: 8. It is short.\nAnswer B: 9. It is whole.",
        "Response A: 8\nResponse B: 9",
    ],
)
def test_versus_reference_reads_pairs_in_common_forms(reply: str) -> None:
    score, _ = grade(versus(orders="given", attempts=1), [reply])
    assert (score.value, score.fields["score_reference"]) == (8, 9)


@pytest.mark.parametrize(
    "reply", ["", "8", "8/10", "8/9, 9/9", "8, 11", "8 9\n9 8", "First: 8", "2023-10", "8 9 10", "First: 8\nSecond: 11"]
)
def test_versus_reference_is_unreadable_without_one_pair(reply: str) -> None:
    with pytest.raises(Unreadable):
        grade(versus(orders="given", attempts=1), [reply])


def test_versus_reference_reads_decimal_grades() -> None:
    assert grade(versus(orders="given"), ["8.5/10, 9/10"])[0].value == 8.5


def test_versus_reference_ratio_is_null_for_reference_grade_0() -> None:
    score, _ = grade(versus(orders="given"), ["3, 0"])
    assert score.fields == {"score_reference": 0.0, "score_ratio": None}


def test_versus_reference_orders_requests_by_sample_and_averages_within_order() -> None:
    score, asked = grade(versus(samples=2, attempts=1), ["2 4", "4 4", "8 6", "?"])
    assert (score.value, score.fields["score_reference"], score.samples) == (4.5, 6.0, 3)
    assert [request.index for request in asked[0]] == [0, 1, 2, 3]


def test_versus_reference_requires_readable_grades_in_both_orders() -> None:
    score, asked = grade(versus(), ["2 4", "?"], ["4 2"])
    assert (score.value, [[request.index for request in turn] for turn in asked]) == (2, [[0, 1], [2]])
    with pytest.raises(Unreadable, match="pair of scores"):
        grade(versus(attempts=1), ["2 4", "?"])
    with pytest.raises(NoReply):
        grade(versus(), ["2 4", NoReply("gone")])
    with pytest.raises(Truncated):
        grade(versus(), ["2 4", Completion("Fir", "length")])
    with pytest.raises(Refused):
        grade(versus(), [NoReply("gone"), Completion("", "content_filter")])


def test_versus_reference_rejects_null_reference() -> None:
    with pytest.raises(BadRow, match="'reference' is null"):
        next(versus()(row(reference=None)))


def test_versus_reference_built_in_rubric_asks_for_both_grades() -> None:
    judge = VersusReference(rubric="versus", reason="before", response="x", reference="y")
    score, asked = grade(judge, ["Both fit.\nFirst: 4\nSecond: 5"] * 2, instruction="Sum.", x="a", y="b")
    assert (
        asked[0][0]
        .messages[0]
        .content.endswith(
            "then end with these lines of this form:\nFirst: <a number from 1 to 5>\nSecond: <a number from 1 to 5>"
        )
    )
    assert (score.value, score.reason) == (4.5, "Both fit")
    assert judge.columns == ("instruction", "x", "y")


@pytest.mark.parametrize("reason", ["none", "before", "after"])
def test_versus_reference_specimens_are_readable(reason: str) -> None:
    judge = versus(reason=reason, orders="given")
    assert [grade(judge, [judge.specimen(n)])[0].value for n in range(2)] == [0, 10]


def test_versus_reference_is_registered() -> None:
    assert JUDGES["versus_reference"] == f"{VersusReference.__module__}:{VersusReference.__qualname__}"


PIECES = st.sampled_from(["8", " ", "9", "/10", ", ", "\n", "First: ", "Second: ", "."])


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=40) | st.lists(PIECES, max_size=8).map("".join))
def test_versus_reference_of_any_reply_gives_grades_on_scale_or_unreadable(reply: str) -> None:
    try:
        score, _ = grade(versus(orders="given", attempts=1), [reply])
    except Unreadable:
        return
    assert 0 <= score.value <= 10
    assert 0 <= score.fields["score_reference"] <= 10


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prompt": None}, "judge.prompt: missing; versus_reference needs a prompt, or rubric = 'versus'."),
        ({"rubric": "versus"}, "judge.prompt and judge.rubric: both"),
        ({"prompt": "{first}"}, "judge.prompt: holds no {second}"),
        ({"scale": [5, 1]}, "judge.scale: [5, 1] is not allowed"),
        ({"orders": "swapped"}, "judge.orders: 'swapped' is unknown"),
        ({"reason": "yes"}, "judge.reason: 'yes' is unknown"),
        ({"samples": 0}, "judge.samples: 0 is not allowed"),
    ],
)
def test_versus_reference_reports_each_wrong_option_once(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        versus(**options)
    (problem,) = caught.value.problems
    assert problem.startswith(message)
