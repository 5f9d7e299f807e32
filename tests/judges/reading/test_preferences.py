"""A choice is read where a judge makes one; a letter in passing, a list of both and two choices are none."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scorer.judges.reading.preferences import PreferenceReader

LETTERS = PreferenceReader(("A", "B", "tie"))


def read(text: str, choice: PreferenceReader = LETTERS) -> float | None:
    verdict = choice.find(text)
    return None if verdict is None else verdict.value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("A", 1),
        ("b.", 0),
        ("tie", 0.5),
        ("[[B]]", 0),
        ("Verdict: A", 1),
        ("**Verdict:** tie", 0.5),
        ("My final verdict is: [[B]]", 0),
        ("Answer: (b)", 0),
        ('{"reason": "A longer text.", "verdict": "B"}', 0),
        ("A, because it is short.", 1),
        ("A is better", 1),
        ("Output (a) is better.", 1),
        ("Response B is better because it is a summary.", 0),
        ("I prefer response B.", 0),
        ("Assistant A gives more than Assistant B. Verdict: B", 0),
        ("A: too long\nB: fine\nVerdict: B", 0),
        ("A) too long\nB) fine\n\nB", 0),
        ("A and B are equal.", 0.5),
        ("The evaluation of Response A is harsh.\nVerdict: B", 0),
    ],
)
def test_what_is_a_choice(text: str, value: float) -> None:
    assert read(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Both are a mess.",
        "Verdict: A detailed look at both",
        "The better answer is a concise one.",
        "A or B",
        "A: too long\nB: fine",
        "Response A: good\nResponse B: bad",
        "Verdict: A\nVerdict: B",
        "[[A]] [[B]]",
        "Not a word about a winner: tie your shoes.",
        "<think>Response A</think>",
    ],
)
def test_what_is_none(text: str) -> None:
    assert read(text) is None


def test_labels_of_the_users_own() -> None:
    choice = PreferenceReader(("first one", "second one"))
    assert read("Verdict: second one", choice) == 0
    assert read("Verdict: A", choice) is None
    numbers = PreferenceReader(("1", "2", "0"))
    assert [read(text, numbers) for text in ("2", "Verdict: 1", "Response 2 is better.", "0")] == [0, 1, 0, 0.5]


@pytest.mark.parametrize(
    ("text", "label"), [("Verdict: A", "A"), ("Output (b) is better.", "b"), ("tie", "tie"), ("Response A", "A")]
)
def test_the_place_is_that_of_the_label_alone(text: str, label: str) -> None:
    verdict = LETTERS.find(text)
    assert verdict is not None
    assert text[verdict.start : verdict.end] == label


PIECES = st.sampled_from(
    ["A", "B", "tie", "Response ", "(a)", ": ", "\n", " is better", "Verdict", ". ", "[[", "]]", "{"]
)


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=60) | st.lists(PIECES, max_size=10).map("".join))
def test_any_text_is_a_choice_at_a_place_in_it_or_none(text: str) -> None:
    verdict = LETTERS.find(text)
    if verdict is not None:
        assert verdict.value in (0, 0.5, 1)
        assert 0 <= verdict.start < verdict.end <= len(text)


@pytest.mark.parametrize("piece", ["\n", "A ", "*", "output (", "a: ", "evaluation of "])
def test_a_long_reply_takes_no_longer_than_its_length(piece: str) -> None:
    # A search that went back over it would take minutes.
    assert read(piece * (50_000 // len(piece)) + "\nVerdict: B") == 0


def test_of_two_labels_none_is_read_out_of_an_empty_reply_or_a_tie() -> None:
    assert [read(text, PreferenceReader(("A", "B"))) for text in ("", " ", "It's a tie.", "[[C]]")] == [None] * 4


def test_a_grade_is_read_where_it_was_asked_for() -> None:
    graded = PreferenceReader(("A", "B", "tie"), graded=True)
    replies = ("[[A>>B]]", "[[A>B]]", "My verdict: [[A=B]]", "B > A", "[[A<<B]]")
    assert [read(text, graded) for text in replies] == [1, 0.75, 0.5, 0.25, 0]
    assert [read(text, graded) for text in ("A", "Winner: B", "[[A]]", "A is much better.")] == [None] * 4
    assert [read(text) for text in replies] == [1, 1, 0.5, 0, 0]


@pytest.mark.parametrize(
    ("text", "label"), [("[[B>A]]", "B"), ("[[A<B]]", "B"), ("A > B", "A"), ("Response A > Response B", "A")]
)
def test_the_place_of_a_comparison_is_that_of_the_better_one(text: str, label: str) -> None:
    verdict = LETTERS.find(text)
    assert verdict is not None
    assert text[verdict.start : verdict.end] == label
