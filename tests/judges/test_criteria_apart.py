"""Promise: criteria asked apart give the columns of criteria asked together, each from a request of its own."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from driver import Answer, talk
from hypothesis import given
from hypothesis import strategies as st

from scorer.errors import BadRow, Refused, RowError, SpecError, Truncated, Unreadable
from scorer.judges.cascade import Cascade
from scorer.judges.panel import Panel
from scorer.judges.rating import Rating
from scorer.judges.reading.numbers import Numbers
from scorer.judges.reading.verdicts import find_one
from scorer.types import Completion, Request, Row, Score, TokenLogprob

ROW = Row("s", 0, {"a": "So.", "gold": "Gold.", "key": 7})
TABLES: list[dict[str, Any]] = [
    {"name": "wit", "description": "It is {funny}.", "weight": 3},
    {"name": "tact", "scale": [0, 10]},
]
NAMES = ["wit", "tact", "depth"]


def rating(**options: Any) -> Rating:
    return Rating(**{"prompt": "{a}", "criteria": TABLES, "ask_criteria": "apart", "attempts": 1, **options})


def asked(judge: Rating | Panel | Cascade, row: Row = ROW) -> list[Request]:
    return next(judge(row))


def ends(judge: Rating) -> list[str]:
    """What the prompts say behind the row's text."""
    return [request.messages[-1].content.removeprefix("So.") for request in asked(judge)]


def scored(judge: Rating | Panel | Cascade, *turns: list[Answer]) -> Score:
    return talk(judge, ROW, *turns)[0]


def failed(judge: Rating, *answers: Answer) -> RowError:
    with pytest.raises(RowError) as caught:
        talk(judge, ROW, list(answers))
    return caught.value


# --- what is asked ----------------------------------------------------------------------------------------------------


def test_each_request_names_one_criterion_behind_the_shared_text() -> None:
    assert ends(rating()) == [
        "\n\nRate by this criterion alone:\nwit: It is {funny}.\n\n"
        "Reply with a line of this form and nothing else:\nScore: <a number from 1 to 5>",
        "\n\nRate by this criterion alone:\ntact\n\n"
        "Reply with a line of this form and nothing else:\nScore: <a number from 0 to 10>",
    ]


def test_prefix_of_a_row_ends_before_the_criterion_and_behind_the_reference() -> None:
    judge = rating(prompt="Rate {key}: {a}", reference="gold", system="You judge.")
    requests = asked(judge)
    shared = [request.messages[-1].content[: request.messages[-1].ends[-1]] for request in requests]
    assert len(set(shared)) == 1
    assert shared[0].endswith("</gold-" + shared[0][-7:])
    for request in requests:
        rest = request.messages[-1].content.removeprefix(shared[0])
        assert rest.startswith("\n\nRate by this criterion alone:\n")
        assert request.messages[0].content == "You judge."
    assert all(len(request.messages[-1].content) < len(judge.constant) + 200 for request in requests)


def test_constant_text_is_the_longest_of_the_requests() -> None:
    judge = rating(criteria=[{"name": "b"}, {"name": "c", "description": "long " * 50}])
    assert "long long" in judge.constant


@pytest.mark.parametrize("reason", ["before", "after"])
def test_each_request_asks_for_one_reason(reason: str) -> None:
    for end in ends(rating(reason=reason)):
        assert end.lower().count("explain your judgement") == 1
        assert "reason:" not in end


def test_schema_is_that_of_one_score_and_the_same_for_one_scale() -> None:
    first, second = (request.schema for request in asked(rating(read="json", reason="before", criteria=["b", "c"])))
    assert first == second
    assert first is not None
    assert list(first["properties"]) == ["reason", "score"]
    own = [
        request.schema["properties"]["score"]["enum"][-1] for request in asked(rating(read="json")) if request.schema
    ]
    assert own == [5, 10]


def test_requests_stand_by_criterion_then_by_sample() -> None:
    requests = asked(rating(samples=2, keys=["key"], temperature=0.7))
    assert [request.index for request in requests] == [0, 1, 2, 3]
    assert ["\nwit" in request.messages[-1].content for request in requests] == [True, True, False, False]
    assert [request.seed for request in requests] == [0, 1, 2, 3]
    assert {request.alike for request in requests} == {True}
    assert {request.key["key"] for request in requests} == {7}
    assert {request.seed for request in asked(rating())} == {None}


@pytest.mark.parametrize("read", ["number", "json"])
def test_reply_of_an_example_is_taken_apart(read: str) -> None:
    lines = "wit reason: Ha\nwit: 4\ntact reason: None\ntact: 0"
    in_json = json.dumps({"wit": {"reason": "Ha", "score": 4}, "tact": {"reason": "None", "score": 0}})
    judge = rating(read=read, reason="before", examples=[{"a": "Hi", "reply": lines if read == "number" else in_json}])
    said = [request.messages[1].content for request in asked(judge)]
    if read == "number":
        assert said == ["Ha\nScore: 4", "None\nScore: 0"]
    else:
        assert [json.loads(one) for one in said] == [{"reason": "Ha", "score": 4}, {"reason": "None", "score": 0}]
    shown = [request.messages[0].content for request in asked(judge)]
    assert [("\nwit" in one, "\ntact" in one) for one in shown] == [(True, False), (False, True)]


def test_example_of_names_keeps_its_one_reason_and_labels_their_words() -> None:
    judge = rating(
        criteria=["wit", "tact"], read="label", labels={"poor": 1, "fine": 5}, reason="after",
        examples=[{"a": "Hi", "reply": "wit: fine\ntact: poor\nShe laughed"}],
    )  # fmt: skip
    assert [r.messages[1].content for r in asked(judge)] == ["Score: fine\nShe laughed", "Score: poor\nShe laughed"]


def test_example_in_two_turns_has_its_explanation_in_each() -> None:
    judge = rating(turns=2, examples=[{"a": "Hi", "reason": "She laughed", "reply": "wit: 4\ntact: 0"}])
    for request, score in zip(asked(judge), (4, 0), strict=True):
        assert [message.content for message in request.messages][1:4:2] == ["She laughed", f"Score: {score}"]


# --- what is read -----------------------------------------------------------------------------------------------------


def test_columns_and_score_are_those_of_criteria_together() -> None:
    apart = rating(reason="before")
    together = rating(reason="before", ask_criteria="together")
    one = scored(apart, ["Ha\nScore: 5", "No\nScore: 5"])
    other = scored(together, ["wit reason: Ha\nwit: 5\ntact reason: No\ntact: 5"])
    assert one == other
    assert one.reason == "wit: Ha\ntact: No"
    assert apart.fields == together.fields


def test_names_have_no_reason_columns_and_their_reasons_stand_in_one() -> None:
    judge = rating(criteria=["wit", "tact"], reason="after")
    score = scored(judge, ["Score: 5\nHa", "Score: 1\nNo"])
    assert (score.value, score.reason, score.fields) == (3.0, "wit: Ha\ntact: No", {"score_wit": 5, "score_tact": 1})


def test_one_criterion_apart_has_its_columns() -> None:
    score = scored(rating(criteria=TABLES[:1], reason="before"), ["Ha\nScore: 2"])
    assert score.fields == {"score_wit": 2.0, "reason_wit": "Ha", "criteria_read": 1}
    assert score.reason == "wit: Ha"


def test_samples_are_averaged_by_criterion_and_counted_by_row() -> None:
    judge = rating(samples=2, criteria=["wit", "tact"])
    score = scored(judge, ["Score: 5", "Score: 3", "none", "Score: 1"])
    assert (score.value, score.samples, score.fields) == (2.5, 2, {"score_wit": 4.0, "score_tact": 1.0})


def test_only_the_unreadable_criterion_is_asked_again() -> None:
    score, turns = talk(rating(attempts=2), ROW, ["Score: 4", "who knows"], ["Score: 10"])
    assert [len(turn) for turn in turns] == [2, 1]
    assert "tact" in turns[1][0].messages[-1].content
    assert (turns[1][0].index, turns[1][0].temperature) == (2, 0.3)
    assert score.fields == {"score_wit": 4.0, "score_tact": 10.0, "criteria_read": 2}


def test_each_criterion_has_its_explanation_in_two_turns() -> None:
    judge = rating(turns=2)
    score, turns = talk(judge, ROW, ["She laughed", "He did not"], ["Score: 4", "Score: 0"])
    assert [request.messages[1].content for request in turns[1]] == ["She laughed", "He did not"]
    assert score.reason == "wit: She laughed\ntact: He did not"


def test_what_was_read_is_kept_where_one_criterion_fails() -> None:
    error = failed(rating(reason="after"), "Score: 4\nHa", Refused("no"))
    assert (error.name, error.fields) == (
        "Refused",
        {"score_wit": 4.0, "score_tact": None, "reason_wit": "Ha", "reason_tact": None, "criteria_read": 1},
    )
    assert isinstance(failed(rating(), Completion("Sc", "length"), "Score: 3"), Truncated)
    unread = failed(rating(), "Score: 4", "none")
    assert (unread.name, unread.detail) == (
        "Unreadable",
        "The reply holds no verdict for tact on the scale, or more than one.",
    )
    partial = scored(rating(partial=True), ["Score: 4", Refused("no")])
    assert (partial.value, partial.fields["criteria_read"]) == (4.0, 1)
    assert isinstance(failed(rating(partial=True), "none", "none"), Unreadable)


def test_probabilities_of_each_reply_are_its_criterions() -> None:
    def reply(label: str, other: str, share: float) -> Completion:
        token = TokenLogprob(label, math.log(share), ((label, math.log(share)), (other, math.log(1 - share))))
        return Completion(f"Score: {label}", logprobs=(TokenLogprob("Score: ", 0.0), token))

    score = scored(rating(read="expected", criteria=["wit", "tact"]), [reply("4", "5", 0.75), reply("1", "2", 0.5)])
    assert score.fields == {"score_wit": pytest.approx(4.25), "score_tact": pytest.approx(1.5)}


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        ("Score: 4", 4), ("4", 4), ("wit: 4", 4), ("- Wit: 4\nThe text has 3 jokes.", 4), ("**Wit** (1-5): 4", 4),
        ('{"wit": 4, "reason": "3 jokes"}', 4), ('{"score": 4, "reason": "3 jokes"}', 4),
        ('{"wit": {"score": 4, "reason": "ok"}}', 4), ("wit: 4\nScore: 3", 3), ("wit: 9\nScore: 3", 3),
        ("wit: 9", None),
        ("Wit is 2 of 5 at first. Score: 4", 4), ("none", None), ('{"wit": 9, "score": 3}', None),
    ],
)  # fmt: skip
def test_reply_about_one_criterion_is_read_under_its_name_or_as_a_score(reply: str, value: float | None) -> None:
    found = find_one(reply, "wit", Numbers(1, 5))
    assert (None if found is None else found.value) == value


@given(st.text(max_size=80), st.sampled_from(["wit: ", "Score: ", '{"wit": ', ""]), st.integers(-1, 7))
def test_reading_of_any_reply_gives_a_value_of_the_scale_or_none(text: str, label: str, n: int) -> None:
    found = find_one(f"{label}{n}\n{text}", "wit", Numbers(1, 5))
    assert found is None or 1 <= found.value <= 5
    alone = find_one(f"{label}{n}", "wit", Numbers(1, 5))
    assert label == '{"wit": ' or (None if alone is None else alone.value) == (n if 1 <= n <= 5 else None)


@given(st.lists(st.one_of(st.integers(1, 5), st.none()), min_size=3, max_size=3), st.booleans())
def test_apart_gives_what_one_reply_with_the_same_verdicts_gives(verdicts: list[int | None], partial: bool) -> None:
    options = {"criteria": NAMES, "weights": [1, 2, 4], "partial": partial}
    lines = [f"{name}: {value}" for name, value in zip(NAMES, verdicts, strict=True) if value is not None]
    replies: list[Answer] = ["none" if value is None else f"Score: {value}" for value in verdicts]

    def outcome(ask: str, answers: list[Answer]) -> object:
        try:
            return talk(rating(**options, ask_criteria=ask), ROW, answers)[0]
        except RowError as error:
            return error.name, error.fields

    assert outcome("apart", replies) == outcome("together", ["\n".join(lines) or "none"])


# --- other judges, and what is wrong ----------------------------------------------------------------------------------


def test_panel_asks_each_model_about_each_criterion() -> None:
    panel = Panel(prompt="{a}", models=["m", "n"], criteria=["wit", "tact"], ask_criteria="apart", attempts=1)
    requests = asked(panel)
    assert [(request.model, request.index) for request in requests] == [("m", 0), ("m", 1), ("n", 0), ("n", 1)]
    score = scored(panel, ["Score: 5", "Score: 3", "Score: 1", "Score: 1"])
    assert (score.value, score.fields["score_wit"], score.fields["score_m"]) == (2.5, 3.0, 4.0)


def test_cascade_measures_how_close_whole_samples_are() -> None:
    cascade = Cascade(
        prompt="{a}", models=["m", "n"], criteria=["wit", "tact"], ask_criteria="apart", samples=2, attempts=1,
        threshold=0.9,
    )  # fmt: skip
    score = scored(cascade, ["Score: 5", "Score: 1", "Score: 1", "Score: 5"])  # both samples are 3 in the mean
    assert (score.value, score.fields["confidence"], score.fields["decided_by"]) == (3.0, 1.0, "m")


@pytest.mark.parametrize("read", ["number", "json", "label"])
@pytest.mark.parametrize("options", [{}, {"reason": "before"}, {"reason": "after"}, {"turns": 2}])
def test_specimens_answer_the_prompts_that_end_as_they_say(read: str, options: dict[str, Any]) -> None:
    judge = rating(read=read, **options)
    for n in range(12):
        for question, (end, reply) in zip(judge._questions, judge.specimens_apart(n), strict=True):
            assert question.reads(reply)
            last = question.follow or question.template.constant
            assert last.endswith(end)
    assert rating(ask_criteria="together").specimens_apart(0) == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"ask_criteria": "each"}, "judge.ask_criteria: 'each' is unknown; allowed are together, apart."),
        ({"criteria": ()}, "judge.ask_criteria: there are no judge.criteria that could be asked apart. Remove it."),
        (
            {"examples": [{"a": "x", "reply": "wit: 3"}]},
            "judge.examples[0].reply: 'wit: 3' holds no verdict that this judge reads; it would teach none.",
        ),
        (
            {"versus_reference": True, "criteria": ()},
            "judge.ask_criteria: versus_reference = true gives one number to each of the two. Remove it.",
        ),
    ],
)
def test_mistakes_are_told_once(options: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError) as caught:
        rating(**options)
    assert caught.value.problems.count(said) == 1


def test_row_that_cannot_be_shown_is_a_bad_row() -> None:
    with pytest.raises(BadRow):
        asked(rating(), Row("s", 0, {"a": None}))
