"""Promise: a number alone, a labelled last line and a lone JSON object are read fast, and as the tiers read them."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from test_battery import written

from scorer.judges.reading.labels import Labels
from scorer.judges.reading.numbers import Numbers
from scorer.judges.reading.reply_body import ABSENT, ReplyBody, Verdict
from scorer.judges.reading.scales import Scale
from scorer.judges.reading.usual_replies import WHOLE, find_usual
from scorer.judges.reading.verdicts import _find, _find_stated, _in_json

SCALES = (
    *(Numbers(*ends) for ends in ((1, 5), (0, 1), (0, 10), (1, 100), (-2, 2), (0.5, 4.5), (4, 4))),
    Numbers(0, 1, frozenset((0.0, 1.0))),
    Labels({"good": 1, "bad": 0, "json": 0.5}),
    Labels({"4": 4, "5": 5}),
)


def in_full(text: str, scale: Scale) -> Verdict | None:
    """The verdict by the tiers of the scale, whatever the form of the reply."""
    body = ReplyBody(text, scale)
    said = [_in_json(body, thing, "", scale) for thing in body.objects]
    return _find_stated(body, [verdict for verdict in said if verdict is not ABSENT], scale)


@pytest.mark.parametrize("form", written())
def test_fast_reading_equals_full_reading_on_battery(form: str) -> None:
    for entry in written()[form]:
        if isinstance(entry.reader, Numbers | Labels):
            assert _find(entry.text, entry.reader) == in_full(entry.text, entry.reader), entry.text


NUMBER = st.one_of(
    st.integers(0, 12).map(str), st.floats(0, 120).map(lambda x: f"{x:.2f}"), st.sampled_from(["007", "4.", "½", "٤"])
)
LABEL = st.sampled_from(["", "Score: ", "score:", "Rating: ", "**Score:** ", "**Score: ", "**", "SCORE:**", "score :"])
BEHIND = st.sampled_from(["", "/5", "/10", "/1", "/0", "**", "/5**", "\n", " \r\n", ".", "%", " stars", "\n\n4"])
KEY = st.sampled_from(["score", "Rating", "coherence", "reason", "verdict", "final_score", "note"])
VALUE = st.one_of(
    st.integers(-3, 12),
    st.floats(0, 5),
    st.sampled_from(["4", "good", "4/5", "[[4]]", "</think>", "Score: 3. Actually, 4.", None, True, [4]]),
)


@given(LABEL, NUMBER, BEHIND, st.sampled_from(SCALES))
def test_fast_reading_equals_full_reading_of_short_replies(label: str, number: str, behind: str, scale: Scale) -> None:
    text = label + number + behind
    assert _find(text, scale) == in_full(text, scale), text


# fmt: off
PIECES = (
    "The answer is right", "it gets a", "one", "2", "four", "zwei", "out of 5", "score", "Score:", "final",
    "Overall: ", "Rating", "verdict", ", ", ". ", "1. ", "2) ", "- ", "* ", "> ", "[[", "]]", "{", "}", "'", "max",
    "highest", "between", "not", "less than", "1 to 5", "5 is best", "(", ")", "= good", "3.", "nota", "分",
    "punteggio", "★", "½", "\\boxed{3}", "$", "’", "—", "<", "</think>", "Actually, ", "so", "grade of", "marks",
    "12", "0.5", "/", "%", "the result", "a", "decision", "\n", ": ", "\"", "names 3", "the right", "is", "of",
    "was", "about", "would be", "minus", "for style", "therefore", "note", "answer", "result", "points", "stars",
    "only", "and", "my", "total", "est", "I give", "or", "No, ", "make it", "wait", "\n\n",
)
# fmt: on
PIECE = st.sampled_from(PIECES)


@given(st.lists(PIECE, max_size=14).map(" ".join), LABEL, NUMBER, BEHIND, st.booleans(), st.sampled_from(SCALES))
@example("better than one result, the overall score", "Score: ", "4", "", True, SCALES[0])
@example("The highest", "Score: ", "5", "", True, SCALES[0])
@example("Its score is 2.", "Score: ", "4", "", True, SCALES[0])
@example("Actually, 3.", "Score: ", "4", "", False, SCALES[0])
@example("5 is best. Wait, 3.", "Score: ", "4", "", False, SCALES[0])
def test_fast_reading_equals_full_reading_of_labelled_verdict_beside_prose(
    prose: str, label: str, number: str, behind: str, last: bool, scale: Scale
) -> None:
    line = f"{label}{number}{behind}"
    text = f"{prose}\n{line}" if last else f"{line}\n{prose}"
    assert _find(text, scale) == in_full(text, scale), text


@given(
    st.dictionaries(KEY, st.one_of(VALUE, st.dictionaries(KEY, VALUE, max_size=2)), max_size=3),
    st.sampled_from(["{}", "```json\n{}\n```", "```\n{}```", " {}\n", "{} 3", "Score: 2 {}", "<think>4</think>{}"]),
    st.sampled_from(SCALES),
)
def test_fast_reading_equals_full_reading_of_json_objects(content: dict[str, object], shape: str, scale: Scale) -> None:
    text = shape.replace("{}", json.dumps(content))
    assert _find(text, scale) == in_full(text, scale), text


def test_fast_reading_takes_usual_replies() -> None:
    for text in ("4", "4/5", "Score: 4", "Score: 4\n", "**Score: 4**", "**Score:** 4", "rating: 4.5"):
        assert WHOLE.fullmatch(text), text
    for text in ("Score: 4. Actually, 5.", "4-5", "-4", "4 5", "1. 4"):
        assert not WHOLE.fullmatch(text), text
    for text in (
        "It is right.\nScore: 4",
        "One of the two answers errs; 3 do not.\n\n**Score:** 4/5\n",
        "Two of 3.\nRating: 4",
    ):
        assert find_usual(text, Numbers(1, 5)), text
    for text in ("Its score: 3\nScore: 4", "[[3]]\nScore: 4", '{"score": 3}\nScore: 4', "Score: 4\nActually, 3"):
        assert not find_usual(text, Numbers(1, 5)), text
    for text in ('{"score": 4}', '```json\n{"score": 4}\n```'):
        assert ReplyBody(text, SCALES[0]).is_one_object(SCALES[0])
    assert not ReplyBody('{"score": 4} Score: 3', SCALES[0]).is_one_object(SCALES[0])
