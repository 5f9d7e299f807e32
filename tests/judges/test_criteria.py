"""Promise: a criterion may be a table; each has its scale, weight and reason, and what was read of a row is kept."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest
from driver import Answer, talk
from hypothesis import given
from hypothesis import strategies as st

from scorer.errors import RowError, SpecError, Truncated, Unreadable
from scorer.judges.checklist import Checklist
from scorer.judges.panel import Panel
from scorer.judges.rating import Rating
from scorer.judges.reading.reasons import find_reasons
from scorer.types import Completion, Row, Score

ROW = Row("s", 0, {"a": "So."})
TABLES: list[dict[str, Any]] = [
    {"name": "wit", "description": "It is {funny}.", "weight": 3},
    {"name": "tact", "scale": [0, 10]},
]


def rating(**options: Any) -> Rating:
    return Rating(**{"prompt": "{a}", "criteria": TABLES, "attempts": 1, **options})


def scored(judge: Rating | Panel | Checklist, *answers: Answer) -> Score:
    return talk(judge, ROW, list(answers))[0]


def failed(judge: Rating | Panel | Checklist, *answers: Answer) -> RowError:
    with pytest.raises(RowError) as caught:
        talk(judge, ROW, list(answers))
    return caught.value


def test_criteria_prompt_states_descriptions_and_reply_form() -> None:
    (request,) = next(rating(reason="before")(ROW))
    assert request.messages[0].content == (
        "So.\n\nCriteria:\nwit: It is {funny}.\n\nReply with these lines of this form and nothing else:\n"
        "wit reason: <one to three sentences>\nwit: <a number from 1 to 5>\n"
        "tact reason: <one to three sentences>\ntact: <a number from 0 to 10>"
    )


def test_criteria_on_own_scales_are_normalised_in_score() -> None:
    score = scored(rating(), "wit: 5\ntact: 5")
    assert score.value == pytest.approx((3 * 5 + 1 * 3) / 4)
    assert score.fields == {"score_wit": 5.0, "score_tact": 5.0, "criteria_read": 2}


def test_criteria_as_names_and_as_tables_score_equally() -> None:
    plain = scored(rating(criteria=["wit", "tact"], weights=[3, 1]), "wit: 5\ntact: 2")
    tables = scored(rating(criteria=[{"name": "wit", "weight": 3}, {"name": "tact"}]), "wit: 5\ntact: 2")
    assert plain.value == tables.value
    assert plain.fields == {"score_wit": 5.0, "score_tact": 2.0}


@pytest.mark.parametrize("reason", ["before", "after"])
def test_criteria_each_have_their_reason(reason: str) -> None:
    judge = rating(reason=reason)
    lines = {"wit": ["wit reason: It made me laugh.\nTwice.", "wit: 4"], "tact": ["tact reason: None.", "tact: 0"]}
    text = "\n".join("\n".join(pair if reason == "before" else pair[::-1]) for pair in lines.values())
    score = scored(judge, text)
    assert [score.fields[f"{what}_{name}"] for name in lines for what in ("score", "reason")] == [
        *(4.0, "It made me laugh.\nTwice."),
        *(0.0, "None."),
    ]
    assert score.reason == "wit: It made me laugh.\nTwice.\ntact: None."
    assert [field.name for field in judge.fields] == [
        *("score_wit", "score_tact", "reason_wit", "reason_tact", "criteria_read"),
    ]


def test_criteria_reasons_are_read_from_json_and_after_verdict() -> None:
    judge = rating(reason="after", read="json")
    text = json.dumps({"wit": {"score": 2, "reason": "Dull."}, "tact": {"score": 7, "reason": "Kind."}})
    assert scored(judge, text).reason == "wit: Dull.\ntact: Kind."
    flat = json.dumps({"wit": 2, "wit_reason": "Dull.", "reason_tact": "Kind.", "tact": 7})
    assert scored(judge, flat).reason == "wit: Dull.\ntact: Kind."
    assert (
        scored(rating(reason="after"), "**Wit:** 4 - a good one\n- tact: 3, rude").reason
        == "wit: a good one\ntact: rude"
    )


@given(st.text(max_size=60), st.sampled_from(["wit reason: x\n", "", "{", '{"wit": ', "tact:"]))
def test_find_reasons_of_any_text_gives_known_criteria_and_nonempty_reasons(text: str, before: str) -> None:
    found = find_reasons(before + text, ["wit", "tact"], {})
    assert all(name in ("wit", "tact") and reason.strip() for name, reason in found.items())


def test_criteria_read_are_kept_in_unreadable_row() -> None:
    error = failed(rating(reason="after"), "wit: 4\nwit reason: It is.\ntact: many")
    assert (error.name, error.detail) == (
        "Unreadable",
        "The reply holds no verdict for tact on the scale, or more than one.",
    )
    assert error.fields == {
        "score_wit": 4.0, "score_tact": None, "reason_wit": "It is.", "reason_tact": None, "criteria_read": 1,
    }  # fmt: skip
    assert failed(rating(), "none").fields == {}
    cut = failed(rating(criteria=["wit", "tact"]), Completion("wit: 4\nta", "length"))
    assert isinstance(cut, Truncated)
    assert cut.fields == {"score_wit": 4.0, "score_tact": None}


def test_criteria_partial_scores_by_criteria_read() -> None:
    judge = rating(partial=True)
    score = scored(judge, "wit: 4")
    assert (score.value, score.fields["criteria_read"], score.fields["score_tact"]) == (4.0, 1, None)
    assert isinstance(failed(judge, "nothing"), Unreadable)
    weightless = rating(partial=True, criteria=[{"name": "wit", "weight": 0}, {"name": "tact"}])
    assert failed(weightless, "wit: 4").fields["score_wit"] == 4.0
    plain = rating(partial=True, criteria=["wit", "tact"])
    assert scored(plain, "tact: 2").fields == {"score_wit": None, "score_tact": 2.0, "criteria_read": 1}


def test_checklist_and_panel_keep_partial_readings_in_their_columns() -> None:
    error = failed(Checklist(prompt="{a}", questions=["x?", "y?"], attempts=1), "Q1: yes\nQ2: perhaps")
    assert error.fields == {"check_1": True, "check_2": None}
    panel = Panel(prompt="{a}", models=["m", "n"], criteria=TABLES, reason="after", attempts=1)
    score = scored(panel, "wit: 4\nwit reason: Ha.\ntact: 3", "wit: 2\ntact: 1\nwit reason: No.")
    assert score.fields["reason_wit"] == "m: Ha.\nn: No."
    assert score.fields["criteria_read"] == 2
    assert pa.field("criteria_read", pa.int32()) in panel.fields


@pytest.mark.parametrize("options", [{}, {"reason": "before"}, {"reason": "after"}, {"reason": "before", "turns": 2}])
@pytest.mark.parametrize("read", ["number", "json", "label"])
def test_criteria_specimens_are_readable(read: str, options: dict[str, Any]) -> None:
    judge = rating(read=read, **options)
    assert all(judge._first.reads(judge.specimen(n)) for n in range(8))
    if options.get("turns") != 2 and options:
        assert find_reasons(judge.specimen(0), ["wit", "tact"], {}) == {"wit": "A rehearsal.", "tact": "A rehearsal."}


def test_criteria_json_schema_matches_reply_form() -> None:
    assert rating(read="json", reason="after")._first.schema == {
        "type": "object",
        "properties": {
            "wit": {
                "type": "object",
                "properties": {
                    "score": {"type": "integer", "enum": [1, 2, 3, 4, 5], "description": "It is {funny}."},
                    "reason": {"type": "string", "description": "One to three sentences."},
                },
                "required": ["score", "reason"],
                "additionalProperties": False,
            },
            "tact": {
                "type": "object",
                "properties": {
                    "score": {"type": "integer", "enum": list(range(11))},
                    "reason": {"type": "string", "description": "One to three sentences."},
                },
                "required": ["score", "reason"],
                "additionalProperties": False,
            },
        },
        "required": ["wit", "tact"],
        "additionalProperties": False,
    }
    (request,) = next(Rating(prompt="{a}", read="json", scale=[0, 0.5])(ROW))
    assert request.schema is not None
    assert request.schema["properties"] == {
        "score": {"type": "number", "minimum": 0.0, "maximum": 0.5, "description": "From 0 to 0.5."}
    }
    assert Rating(prompt="{a}", read="json", labels=["no", "yes"])._first.schema["properties"]["score"]["enum"] == [
        "no",
        "yes",
    ]  # type: ignore[index]
    assert next(Rating(prompt="{a}", read="json", structured="none")(ROW))[0].schema is None
    assert next(Rating(prompt="{a}")(ROW))[0].schema is None


MISTAKES: list[tuple[dict[str, Any], str]] = [
    (
        {"criteria": [{"name": "wit", "weigth": 2}]},
        r"judge.criteria\[0\].weigth: is no key of a criterion; allowed are name, d",
    ),
    ({"criteria": [{"description": "x"}]}, r"judge.criteria\[0\].name: None is not allowed"),
    ({"criteria": ["wit", {"name": "Wit"}]}, "judge.criteria: 'Wit' is there twice"),
    ({"criteria": [{"name": "wit", "weight": -1}]}, r"judge.criteria\[0\].weight: -1 is not allowed"),
    ({"criteria": [{"name": "wit", "description": 2}]}, r"judge.criteria\[0\].description: 2 is not allowed"),
    ({"criteria": [{"name": "wit", "scale": [5, 1]}]}, r"judge.criteria\[0\].scale: \[5, 1\] is not allowed"),
    (
        {"criteria": [{"name": "wit", "weight": 2}], "weights": [1]},
        "judge.weights and judge.criteria: both give weights",
    ),
    ({"criteria": [{"name": "wit", "weight": 0}]}, "judge.weights: .*every weight is 0"),
    ({"criteria": {"name": "wit"}}, "judge.criteria: .* is not allowed; a list of names or of tables is."),
    ({"partial": 1}, "judge.partial: 1 is not allowed; true and false are."),
    ({"criteria": [], "partial": True}, "judge.partial: there are no judge.criteria"),
    ({"structured": "auto"}, 'judge.structured: belongs to read = "json"'),
    ({"structured": "tool", "read": "json"}, "judge.structured: 'tool' is unknown; allowed are auto, none."),
]


@pytest.mark.parametrize("read", ["number", "label"])
def test_structured_none_is_taken_with_any_reading(read: str) -> None:
    """So that stored replies of such a run can be read by another rule."""
    rating(read=read, structured="none")
    with pytest.raises(SpecError, match='or set it to "none"'):
        rating(read=read, structured="auto")


@pytest.mark.parametrize(("options", "message"), MISTAKES)
def test_criteria_report_each_wrong_option_once(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message) as caught:
        rating(**options)
    assert len(caught.value.problems) == 1
