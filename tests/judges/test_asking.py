"""Promise: two turns keep reason and verdict, a retry loses nothing, and each wrong option is reported once."""

from __future__ import annotations

from typing import Any

import pytest
from driver import talk
from hypothesis import given, settings
from hypothesis import strategies as st

from scorer.errors import NoReply, Refused, RowError, SpecError, Truncated, Unavailable, Unreadable
from scorer.judges.asking import EXPLAIN
from scorer.judges.checklist import Checklist
from scorer.judges.pairwise import Pairwise
from scorer.judges.rating import Rating
from scorer.judges.versus import VersusReference
from scorer.types import Completion, Row, TokenLogprob

ROW = Row("shard.parquet", 0, {"a": "So.", "b": "No."}, tokens=7)
FOLLOW = "Now give the verdict alone. Reply with a line of this form and nothing else:\nScore: <a number from 1 to 5>"


def two(**options: Any) -> Rating:
    return Rating(**{"prompt": "{a}", "turns": 2} | options)


# --- two turns --------------------------------------------------------------------------------------------------------


def test_two_turns_ask_for_reason_first_and_verdict_second() -> None:
    score, asked = talk(two(system="Be fair."), ROW, ["It drifts, which is a 2 at best."], ["Score: 3"])
    assert [[(m.role, m.content) for m in turn[0].messages] for turn in asked] == [
        [("system", "Be fair."), ("user", f"So.\n\n{EXPLAIN}")],
        [
            ("system", "Be fair."),
            ("user", f"So.\n\n{EXPLAIN}"),
            ("assistant", "It drifts, which is a 2 at best."),
            ("user", FOLLOW),
        ],
    ]
    assert [(turn[0].index, turn[0].seed, turn[0].temperature) for turn in asked] == [(0, None, None), (1, None, None)]
    # What the first turn added is counted where it is sent again.
    assert [turn[0].tokens for turn in asked] == [7, 7 + (32 + len(FOLLOW)) // 4]
    assert (score.value, score.reason, score.samples) == (3.0, "It drifts, which is a 2 at best.", 1)


def test_two_turns_continue_each_sample_with_its_own_reason() -> None:
    score, asked = talk(two(samples=2), ROW, ["Dull.", "Witty."], ["2", "4"])
    assert [request.messages[1].content for request in asked[1]] == ["Dull.", "Witty."]
    assert [[(r.index, r.seed) for r in turn] for turn in asked] == [[(0, 0), (1, 1)], [(2, 2), (3, 3)]]
    assert (score.value, score.reason) == (3.0, "Dull.")


def test_two_turns_retry_unreadable_verdict_after_same_reason() -> None:
    score, asked = talk(two(), ROW, ["Dull."], ["?"], ["2"])
    assert [len(turn[0].messages) for turn in asked] == [1, 3, 3]
    assert [(turn[0].index, turn[0].temperature) for turn in asked] == [(0, None), (1, None), (2, 0.3)]
    assert (score.value, score.reason) == (2.0, "Dull.")


def test_two_turns_retry_first_turn_without_reason() -> None:
    score, asked = talk(two(samples=2), ROW, ["Dull.", " "], ["2"], ["Witty."], ["4"])
    assert [[len(request.messages) for request in turn] for turn in asked] == [[1, 1], [3], [1], [3]]
    assert (score.value, score.samples) == (3.0, 2)


@pytest.mark.parametrize(
    ("first", "error"),
    [
        (Completion("", "length"), Truncated),
        (Completion("", "content_filter"), Refused),
        (Unavailable("down"), Unavailable),
        (NoReply("gone"), NoReply),
    ],
)
def test_two_turns_without_reason_end_in_error_of_first_turn(
    first: Completion | RowError, error: type[RowError]
) -> None:
    with pytest.raises(error):
        talk(two(), ROW, [first])


def test_two_turns_accept_truncated_reason() -> None:
    assert talk(two(), ROW, [Completion("It is du", "length")], ["2"])[0].reason == "It is du"


def test_two_turns_read_json_and_probabilities_in_second_turn() -> None:
    score, asked = talk(two(read="json", criteria=["wit", "tact"]), ROW, ["Hm."], ['{"wit": 5, "tact": 3}'])
    assert (score.value, score.reason) == (4.0, "Hm.")
    assert '{"wit": <a number' in asked[1][0].messages[-1].content
    assert "{" not in asked[0][0].messages[-1].content
    weighed = Completion("4", logprobs=(TokenLogprob("4", -0.7, (("4", -0.7), ("2", -0.7))),))
    score, asked = talk(two(read="expected"), ROW, ["Hm."], [weighed])
    assert [turn[0].top_logprobs for turn in asked] == [0, 20]
    assert (score.value, score.method) == (pytest.approx(3.0), "expected")


def test_two_turns_work_for_pairwise_versus_and_checklist() -> None:
    pair = Pairwise(prompt="{first} {second}", a="a", b="b", turns=2)
    score, _ = talk(pair, ROW, ["A is it.", "B is it."], ["A", "B"])
    assert (score.fields["verdict"], score.reason) == ("a", "A is it.")
    versus = VersusReference(prompt="{first} {second}", response="a", reference="b", turns=2, orders="given")
    assert talk(versus, ROW, ["Both fit."], ["First: 4\nSecond: 5"])[0].fields["score_reference"] == 5
    check = Checklist(prompt="{a}", questions=["Is it true?"], turns=2)
    assert talk(check, ROW, ["1. Yes, so I think."], ["Q1: no"])[0].fields == {"check_1": False}


def test_two_turns_specimens_are_readable() -> None:
    judge = two()
    assert [talk(judge, ROW, [judge.specimen(n)], [judge.specimen(n)])[0].value for n in range(3)] == [1, 2, 3]


def test_two_turns_examples_show_both_turns() -> None:
    judge = two(examples=[{"a": "No.", "reason": "Curt.", "reply": "1"}])
    _, asked = talk(judge, ROW, ["Dull."], ["2"])
    assert [(m.role, m.content) for m in asked[0][0].messages] == [
        ("user", f"No.\n\n{EXPLAIN}"),
        ("assistant", "Curt."),
        ("user", FOLLOW),
        ("assistant", "1"),
        ("user", f"So.\n\n{EXPLAIN}"),
    ]


REPLY = st.sampled_from(["3", "Score: 4", "?", "", "Because.", NoReply("gone"), Completion("", "length")])


@settings(max_examples=30, deadline=None)
@given(st.lists(REPLY, min_size=12, max_size=12), st.integers(1, 2), st.integers(1, 3))
def test_two_turns_of_any_replies_give_score_with_reason_or_error(
    replies: list[Any], samples: int, attempts: int
) -> None:
    conversation = two(samples=samples, attempts=attempts)(ROW)
    asked, left = next(conversation), iter(replies)
    heard: list[str] = []
    outcome: Any = None
    while outcome is None:
        answers = [next(left) for _ in asked]
        heard += [answer for answer in answers if isinstance(answer, str)]
        try:
            asked = conversation.send([Completion(one) if isinstance(one, str) else one for one in answers])
        except StopIteration as end:
            outcome = end.value
        except RowError as error:
            outcome = error
    if isinstance(outcome, RowError):
        assert outcome.name in ("Unreadable", "NoReply", "Truncated")
    else:
        assert 1 <= outcome.value <= 5
        assert outcome.reason in heard


# --- later tries ------------------------------------------------------------------------------------------------------


def test_judges_stay_unreadable_when_retry_has_no_reply() -> None:
    for judge in (
        Rating(prompt="{a}", attempts=2),
        Pairwise(prompt="{first} {second}", a="a", b="b", orders="given", attempts=2),
        VersusReference(prompt="{first} {second}", response="a", reference="b", orders="given", attempts=2),
    ):
        with pytest.raises(Unreadable):
            talk(judge, ROW, ["?"], [NoReply("no second one")])
    with pytest.raises(Unreadable):
        talk(two(attempts=2), ROW, ["Hm."], ["?"], [NoReply("no second one")])


# --- mistakes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"turns": 3}, "judge.turns: 3 is unknown; allowed are 1, 2."),
        ({"turns": True}, "judge.turns: True is unknown"),
        ({"reason": "after"}, 'judge.reason: "after" is not allowed with turns = 2'),
        ({"choices": "some"}, "judge.choices: 'some' is unknown; allowed are auto, separate."),
        ({"samples": 0}, "judge.samples: 0 is not allowed"),
        ({"examples": [{"a": "x", "reply": "1"}]}, "judge.examples[0].reason: None is no text; with turns = 2"),
        ({"turns": 1, "examples": [{"a": "x", "reason": "y", "reply": "1"}]}, "judge.examples[0].reason: is no column"),
    ],
)
def test_two_turns_report_each_wrong_option_once(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        two(**options)
    (problem,) = caught.value.problems
    assert problem.startswith(message)
