"""Promise: a text is wrapped to a width without losing a character, and folded without losing count."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from scorer.report.folding import fold_bytes, fold_characters
from scorer.text_width import cells, wrapped

LETTERS = "ab \u65e5\u0301\U0001f44d\u05d0é"


@given(st.text(LETTERS, max_size=80), st.integers(2, 30))
def test_wrapped_lines_fit_and_lose_nothing_but_spaces_at_breaks(line: str, width: int) -> None:
    lines = wrapped(line, width)
    assert all(cells(one) <= width for one in lines)
    assert "".join(lines).replace(" ", "") == line.replace(" ", "")


def test_wrapped_breaks_at_spaces_and_keeps_the_first_ones() -> None:
    assert wrapped("  one two three", 9) == ["  one two", "three"]
    assert wrapped("onetwothree four", 6) == ["onetwo", "three", "four"]


@given(st.text(LETTERS, max_size=200), st.integers(3, 60))
def test_folded_texts_count_what_they_leave_out(text: str, most: int) -> None:
    for folded, size in (
        (fold_characters(most)(text), len),
        (fold_bytes(most)(text), lambda part: len(part.encode())),
    ):
        assert size(folded.head + folded.tail) <= most
        assert len(folded.head) + folded.cut + len(folded.tail) == len(text)
        assert text.startswith(folded.head)
        assert text.endswith(folded.tail)
