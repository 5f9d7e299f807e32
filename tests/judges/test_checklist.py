"""Promise: the score is the share of yes among all the questions; a question without an answer is not a no."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from driver import Answer, talk
from hypothesis import given, settings
from hypothesis import strategies as st

from scorer.errors import BadRow, NoReply, SpecError, Truncated, Unreadable
from scorer.judges import JUDGES
from scorer.judges.checklist import Checklist
from scorer.types import Completion, Request, Row, Score

QUESTIONS = ("Is it {short}?", "Is it true?", "Is it polite?")


def row(**values: Any) -> Row:
    return Row("shard.parquet", 0, {"a": "So.", **values}, tokens=7)


def checklist(**options: Any) -> Checklist:
    return Checklist(**{"prompt": "{a}", "questions": QUESTIONS} | options)


def check(judge: Checklist, *turns: Sequence[Answer], **values: Any) -> tuple[Score, list[list[Request]]]:
    return talk(judge, row(**values), *turns)


def test_checklist_asks_all_questions_in_one_request_and_scores_share_of_yes() -> None:
    judge = checklist(system="Be fair.", keys=("id",))
    score, asked = check(judge, ["Q1: yes\nQ2: no\nQ3: yes"], id=3)
    (request,) = asked[0]
    assert [message.content for message in request.messages] == [
        "Be fair.",
        "So.\n\nQuestions:\nQ1: Is it {short}?\nQ2: Is it true?\nQ3: Is it polite?\n\n"
        "Reply with these lines of this form and nothing else:\n"
        "Q1: <one of: yes, no>\nQ2: <one of: yes, no>\nQ3: <one of: yes, no>",
    ]
    assert request.key == {"id": 3}
    assert score == Score(
        pytest.approx(2 / 3), method="label", samples=1, fields={"check_1": True, "check_2": False, "check_3": True}
    )
    assert [field.name for field in judge.fields] == list(score.fields)
    assert judge.columns == ("a", "id")
    assert "Is it true?" in judge.constant


@pytest.mark.parametrize(
    "reply",
    [
        "1. Yes\n2. No\n3. Yes",
        "1) yes\n2) no.\n3) yes, because it says please",
        "**1.** Yes\n**2.** No\n**3.** Yes",
        "Question 1: yes\nQuestion 2: no\nQuestion 3: yes",
        "- Q1: Yes\n- Q2: No\n- Q3: Yes",
        "Q1: yes, Q2: no, Q3: yes",
        "| Q1 | yes |\n| Q2 | no |\n| Q3 | yes |",
        '{"Q1": "yes", "Q2": "no", "Q3": "yes"}',
        "1. It is short.\n2. It is not true.\nQ1: yes\nQ2: no\nQ3: yes",
    ],
)
def test_checklist_reads_answers_in_common_numberings(reply: str) -> None:
    assert check(checklist(attempts=1), [reply])[0].fields == {"check_1": True, "check_2": False, "check_3": True}


@pytest.mark.parametrize(
    "reply",
    ["", "yes", "Q1: yes\nQ2: no", "Q1: yes\nQ2: perhaps\nQ3: no", "Q1: yes\nQ1: no\nQ2: yes\nQ3: yes", "4. yes"],
)
def test_checklist_is_unreadable_when_question_is_unanswered(reply: str) -> None:
    with pytest.raises(Unreadable):
        check(checklist(attempts=1), [reply])


def test_checklist_retries_all_questions_when_answer_is_missing() -> None:
    score, asked = check(checklist(), ["Q1: yes"], ["Q1: no\nQ2: no\nQ3: no"])
    assert score.value == 0
    assert [[request.index for request in turn] for turn in asked] == [[0], [1]]
    assert asked[1][0].temperature == 0.3


def test_checklist_averages_samples_and_gives_null_for_even_split() -> None:
    judge = checklist(questions=QUESTIONS[:2], samples=2)
    score, _ = check(judge, ["Q1: yes\nQ2: yes", "Q1: yes\nQ2: no"])
    assert (score.value, score.samples, score.fields) == (0.75, 2, {"check_1": True, "check_2": None})


def test_checklist_gives_request_error_to_row() -> None:
    with pytest.raises(NoReply):
        check(checklist(), [NoReply("gone")])
    with pytest.raises(Truncated):
        check(checklist(), [Completion("Q1: yes", "length")])
    with pytest.raises(BadRow):
        next(checklist()(row(a=None)))


def test_checklist_built_in_rubric_shows_examples_and_reads_reason() -> None:
    judge = Checklist(
        rubric="checklist",
        questions=["Is it true?"],
        reason="before",
        examples=[{"instruction": "Sum 1 and 2.", "response": "4", "reply": "It is 3.\nQ1: no"}],
    )
    score, asked = check(judge, ["It is right.\nQ1: yes"], instruction="Sum 2 and 2.", response="4")
    assert (score.value, score.reason) == (1, "It is right")
    assert [message.role for message in asked[0][0].messages] == ["user", "assistant", "user"]
    assert judge.columns == ("instruction", "response")


def test_checklist_is_registered_and_reads_its_specimens() -> None:
    judge = checklist()
    assert [check(judge, [judge.specimen(n)])[0].fields["check_1"] for n in range(2)] == [True, False]
    assert JUDGES["checklist"] == f"{Checklist.__module__}:{Checklist.__qualname__}"


PIECES = st.sampled_from(["Q1: yes\n", "Q2: no\n", "3. yes\n", "Q3: no\n", "2) ", "no", " ", "{", "Q1"])


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=40) | st.lists(PIECES, max_size=8).map("".join))
def test_checklist_of_any_reply_scores_only_when_every_question_is_answered(reply: str) -> None:
    try:
        score, _ = check(checklist(attempts=1), [reply])
    except Unreadable:
        return
    assert score.value == pytest.approx(sum(score.fields.values()) / 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"questions": ()}, "judge.questions: () is not allowed"),
        ({"questions": "Is it true?"}, "judge.questions: 'Is it true?' is not allowed"),
        ({"questions": ["Is it true?", " "]}, "judge.questions: ['Is it true?', ' '] is not allowed"),
        ({"prompt": None}, "judge.prompt: missing; checklist needs a prompt, or rubric = 'checklist'."),
        ({"prompt": "Look."}, "judge.prompt: holds no {column}"),
        ({"rubric": "checklist"}, "judge.prompt and judge.rubric: both"),
        ({"samples": 0}, "judge.samples: 0 is not allowed"),
        ({"examples": [{"a": "x", "reply": "Q1: yes"}]}, "judge.examples[0].reply"),
    ],
)
def test_checklist_reports_each_wrong_option_once(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        checklist(**options)
    (problem,) = caught.value.problems
    assert problem.startswith(message)
