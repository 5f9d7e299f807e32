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
def test_preference_reader_reads_stated_choice(text: str, value: float) -> None:
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
def test_preference_reader_reads_no_choice_where_none_is_made(text: str) -> None:
    assert read(text) is None


def test_preference_reader_reads_custom_labels() -> None:
    choice = PreferenceReader(("first one", "second one"))
    assert read("Verdict: second one", choice) == 0
    assert read("Verdict: A", choice) is None
    numbers = PreferenceReader(("1", "2", "0"))
    assert [read(text, numbers) for text in ("2", "Verdict: 1", "Response 2 is better.", "0")] == [0, 1, 0, 0.5]


@pytest.mark.parametrize(
    ("text", "label"), [("Verdict: A", "A"), ("Output (b) is better.", "b"), ("tie", "tie"), ("Response A", "A")]
)
def test_preference_reader_gives_span_of_label_alone(text: str, label: str) -> None:
    verdict = LETTERS.find(text)
    assert verdict is not None
    assert text[verdict.start : verdict.end] == label


PIECES = st.sampled_from(
    ["A", "B", "tie", "Response ", "(a)", ": ", "\n", " is better", "Verdict", ". ", "[[", "]]", "{"]
)


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=60) | st.lists(PIECES, max_size=10).map("".join))
def test_preference_reader_of_any_text_gives_choice_with_valid_span_or_none(text: str) -> None:
    verdict = LETTERS.find(text)
    if verdict is not None:
        assert verdict.value in (0, 0.5, 1)
        assert 0 <= verdict.start < verdict.end <= len(text)


@pytest.mark.parametrize("piece", ["\n", "A ", "*", "output (", "a: ", "evaluation of "])
def test_preference_reader_reads_verdict_at_end_of_long_reply(piece: str) -> None:
    # A search that went back over it would take minutes.
    assert read(piece * (50_000 // len(piece)) + "\nVerdict: B") == 0


def test_preference_reader_without_tie_label_reads_none_from_empty_reply_or_tie() -> None:
    assert [read(text, PreferenceReader(("A", "B"))) for text in ("", " ", "It's a tie.", "[[C]]")] == [None] * 4


def test_preference_reader_reads_grades_only_when_graded() -> None:
    graded = PreferenceReader(("A", "B", "tie"), graded=True)
    replies = ("[[A>>B]]", "[[A>B]]", "My verdict: [[A=B]]", "B > A", "[[A<<B]]")
    assert [read(text, graded) for text in replies] == [1, 0.75, 0.5, 0.25, 0]
    assert [read(text, graded) for text in ("A", "Winner: B", "[[A]]", "A is much better.")] == [None] * 4
    assert [read(text) for text in replies] == [1, 1, 0.5, 0, 0]


@pytest.mark.parametrize(
    ("text", "label"), [("[[B>A]]", "B"), ("[[A<B]]", "B"), ("A > B", "A"), ("Response A > Response B", "A")]
)
def test_preference_reader_gives_span_of_better_label_in_comparison(text: str, label: str) -> None:
    verdict = LETTERS.find(text)
    assert verdict is not None
    assert text[verdict.start : verdict.end] == label
