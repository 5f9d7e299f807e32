"""The reward judge: what it classifies, whose value is the score, and the pair as a Bradley-Terry probability."""

from __future__ import annotations

import math
from typing import Any

import pytest
from driver import talk
from hypothesis import given
from hypothesis import strategies as st

from scorer.class_values import written
from scorer.errors import BadRow, SetupError, SpecError, TooLong, Unreadable
from scorer.judges.reward import Reward, sigma
from scorer.types import Classify, Message, Request, Row, Score

VALUES = {"id": 7, "instruction": "Greet.", "response": "Hello.", "reference": "Good day."}


def row(**values: Any) -> Row:
    return Row(shard="s", number=0, values=VALUES | values, tokens=11)


def asked(judge: Reward, **values: Any) -> list[Request]:
    return next(judge(row(**values)))


def scored(judge: Reward, *replies: Any) -> Score:
    return talk(judge, row(), replies)[0]


def test_reward_chat_asks_conversation_with_response_as_last_reply() -> None:
    judge = Reward(prompt="Do: {instruction}", system="Be kind.", keys=("id",))
    assert asked(judge) == [
        Request(
            messages=(Message("system", "Be kind."), Message("user", "Do: Greet."), Message("assistant", "Hello.")),
            key={"id": 7},
            tokens=11,
            classify=Classify("chat", activation=False),
        )
    ]
    assert judge.columns == ("instruction", "response", "id")
    assert judge.constant == "Be kind.Do: "


def test_reward_prompt_of_a_conversation_column_gives_its_messages() -> None:
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes?"}]
    (request,) = asked(Reward(prompt=" {messages} "), messages=[*turns, {"role": "user", "content": "Greet."}])
    assert request.messages == (
        Message("user", "Hi"),
        Message("assistant", "Yes?"),
        Message("user", "Greet."),
        Message("assistant", "Hello."),
    )
    with pytest.raises(BadRow, match="role 'tool'"):
        asked(Reward(prompt="{messages}"), messages=[{"role": "tool", "content": "4"}])


def test_reward_text_asks_filled_prompt_alone() -> None:
    (request,) = asked(Reward(prompt="{instruction} => {response}", form="text", value="probability"))
    assert request.messages == (Message("user", "Greet. => Hello."),)
    assert request.classify == Classify("text", activation=True)


def test_reward_pair_asks_prompt_and_response_as_two_texts() -> None:
    (request,) = asked(Reward(prompt="{instruction}", form="pair"))
    assert request.messages == (Message("user", "Greet."), Message("assistant", "Hello."))
    assert request.classify == Classify("pair")


@pytest.mark.parametrize("form", ["chat", "text", "pair"])
def test_reward_with_reference_asks_the_same_of_both_texts(form: Any) -> None:
    prompt = "{instruction} {response}" if form == "text" else "{instruction}"
    first, second = asked(Reward(prompt=prompt, form=form, reference="reference"))
    assert [first.index, second.index] == [0, 1]
    assert [m.content.replace("Hello.", "Good day.") for m in first.messages] == [m.content for m in second.messages]
    assert first.messages != second.messages


def test_reward_score_is_value_of_the_only_output() -> None:
    score = scored(Reward(prompt="{instruction}"), written([2.25], [None]))
    assert (score.value, score.method, score.fields) == (2.25, "logit", {"label": None})
    assert scored(Reward(prompt="{instruction}"), "-3.5").value == -3.5  # a stored number


@pytest.mark.parametrize(
    ("label", "labels", "expected"),
    [("good", ["good", "bad"], 0.25), ("bad", ["good", "bad"], 0.75), (1, [None, None], 0.75), (0, [None, "b"], 0.25)],
)
def test_reward_score_is_value_of_the_label(label: Any, labels: Any, expected: float) -> None:
    judge = Reward(prompt="{instruction}", label=label, value="probability")
    score = scored(judge, written([0.25, 0.75], labels))
    assert (score.value, score.method) == (expected, "probability")
    assert score.fields == {"label": labels[1]}


@pytest.mark.parametrize(
    ("label", "labels", "says"),
    [
        (None, ["good", "bad"], "judge.label: missing. Allowed is one of 'good', 'bad'"),
        ("God", ["good", "bad"], "'God' is none"),
        (0, ["good", "bad"], "Allowed is one of"),  # a server that names classes gives them in the order of values
        (None, [None, None], "a place from 0 to 1 .*names none"),
        (2, [None, None], "2 is none"),
        ("bad", ["good", None], "names only the likeliest"),
    ],
)
def test_reward_raises_setup_error_for_a_label_the_reply_does_not_tell(label: Any, labels: Any, says: str) -> None:
    with pytest.raises(SetupError, match=says):
        scored(Reward(prompt="{instruction}", label=label), written([1.0, 2.0], labels))


def test_reward_raises_setup_error_for_a_label_that_the_only_output_has_not() -> None:
    with pytest.raises(SetupError, match="'good' is none"):
        scored(Reward(prompt="{instruction}", label="good"), written([1.0], ["LABEL_0"]))


def test_reward_with_reference_scores_bradley_terry_probability() -> None:
    judge = Reward(prompt="{instruction}", reference="reference")
    score = scored(judge, written([2.0], [None]), written([0.5], [None]))
    assert score.value == pytest.approx(math.exp(2.0) / (math.exp(2.0) + math.exp(0.5)))
    assert (score.method, score.samples) == ("preference", 2)
    assert score.fields == {"score_response": 2.0, "score_reference": 0.5}
    assert {field.name for field in judge.fields} == {*score.fields}


@given(st.floats(-1e300, 1e300))
def test_sigma_is_a_probability_and_symmetric(difference: float) -> None:
    assert 0 <= sigma(difference) <= 1
    assert sigma(difference) + sigma(-difference) == pytest.approx(1)


@pytest.mark.parametrize("reply", ["", "[]", "[1.0]", "good", '{"values": []}', '{"values": [1], "labels": []}'])
def test_reward_is_unreadable_where_reply_holds_no_values(reply: str) -> None:
    with pytest.raises(Unreadable):
        scored(Reward(prompt="{instruction}"), reply)


@pytest.mark.parametrize("reply", ['{"values": [null]}', '{"values": ["4"]}', '{"values": [1e999]}'])
def test_reward_is_unreadable_where_value_is_no_finite_number(reply: str) -> None:
    with pytest.raises(Unreadable):
        scored(Reward(prompt="{instruction}"), reply)


def test_reward_gives_error_of_either_request_to_the_row() -> None:
    judge, error = Reward(prompt="{instruction}", reference="reference"), TooLong("600 tokens")
    with pytest.raises(TooLong) as caught:
        scored(judge, "1.0", error)
    assert caught.value is error


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "judge.prompt: missing"),
        ({"prompt": "{a"}, "single '{'"),
        ({"prompt": "none"}, r"holds no \{column\}"),
        ({"prompt": "{response}"}, r"shows \{response\}, which follows"),
        ({"prompt": "{a}", "form": "text"}, r"does not show \{response\}"),
        ({"prompt": "{a}", "form": "json"}, "judge.form: 'json' is unknown"),
        ({"prompt": "{a}", "value": "share"}, "judge.value: 'share' is unknown"),
        ({"prompt": "{a}", "form": "pair", "system": "x"}, "judge.system: only form"),
        ({"prompt": "{a}", "label": -1}, "judge.label: -1 is not allowed"),
        ({"prompt": "{a}", "label": True}, "judge.label: True is not allowed"),
        ({"prompt": "{a}", "reference": "b", "value": "probability"}, "judge.reference: the pair"),
    ],
)
def test_reward_rejects_wrong_options(options: dict[str, Any], says: str) -> None:
    with pytest.raises(SpecError, match=says):
        Reward(**options)


def test_reward_reports_all_wrong_options_at_once() -> None:
    wrong: dict[str, Any] = {"prompt": "{a", "form": "x", "value": "y", "label": ""}
    with pytest.raises(SpecError) as caught:
        Reward(**wrong)
    assert len(caught.value.problems) == 4
