"""Reads the most usual replies without the tiers: a number alone, one with a label, such a line before or after prose.

Each gives the verdict that the tiers give (`tests/judges/reading/test_reading_fast.py`), in a fraction of the time.
"""

from __future__ import annotations

import re

from scorer.judges.reading.numbers import Numbers
from scorer.judges.reading.phrases import (
    NUMBER_WORD,
    NUMBER_WORDS,
    word_set,
    words_of_labels,
    words_of_links,
    words_of_numbers,
)
from scorer.judges.reading.reply_body import LONGEST_WHOLE, Verdict
from scorer.patterns import pattern

_NUMBER = r"(?P<n>[0-9]{1,6}(?:\.[0-9]{1,6})?)(?:/(?P<of>[0-9]{1,3}))?"
_LABEL = r"(?:\*\*)?(?:[Ss]core|[Rr]ating|SCORE|RATING):(?:\*\*)? ?"
_REST = r"(?:\*\*)?[ \t\r\n]{0,9}"
WHOLE = pattern(rf"(?P<said>(?:{_LABEL}|\*\*)?{_NUMBER}){_REST}")
"""A whole reply: "4", "4/5", "Score: 4", "**Score:** 4.5"."""
LAST_LINE = pattern(rf"\n(?P<said>{_LABEL}{_NUMBER}){_REST}\Z")
"""The last line of a reply: "Score: 4"."""
FIRST_LINE = pattern(rf"(?P<said>{_LABEL}{_NUMBER})(?:\*\*)?[ \t\r]{{0,9}}\n")
"""The first line of a reply, with more behind it."""

_LONGEST_LAST_LINE = 48
_DIGIT = pattern("[0-9]")
_TYPOGRAPHY = "’‘“”–—…"
_SPACES = {ord(mark): " " for mark in (*map(chr, range(128)), *_TYPOGRAPHY) if not mark.isalnum()}


def find_usual(text: str, scale: Numbers) -> tuple[Verdict | None] | None:
    """The verdict of such a reply in a tuple, where it may be None for "unread"; None where the reply is another."""
    match = WHOLE.fullmatch(text) or _labelled_line(text)
    if match is None:
        return None
    if match["of"] and float(match["of"]) != scale.high:
        return (None,)
    value = scale.on_scale(float(match["n"]))
    return (None if value is None else Verdict(value, *match.span("n"), *match.span("said")),)


def _labelled_line(text: str) -> re.Match[str] | None:
    """The labelled last or first line of a reply, whose other lines state nothing and correct nothing."""
    if len(text) > LONGEST_WHOLE:
        return None
    if match := LAST_LINE.search(text, max(0, len(text) - _LONGEST_LAST_LINE)):
        return match if _states_nothing(text[: match.start()]) else None
    if match := FIRST_LINE.match(text):
        prose = text[match.end() :]
        return match if not _CORRECTS.search(prose, 0, _NEAR) and _states_nothing(prose) else None
    return None


_NEAR = 80
_CORRECTS = pattern(
    r"\b(?:actually|correction|upon|wait|sorry|scratch|rather|on\W{1,9}(?:second|reflection)|no(?=\W{0,9}[,:])|i\W{1,9}mean|"
    r"let\W{1,9}me|make\W{1,9}(?:it|that))\b",
    re.IGNORECASE,
)


def _states_nothing(prose: str) -> bool:
    """Whether no statement as sure as a labelled last line can be in the text.

    Such a statement holds a number behind a word such as score or final and a link such as a colon or "is"; JSON,
    double brackets, thoughts in tags and LaTeX have characters of their own. Other alphabets are left to the tiers.
    """
    if "{" in prose or "[[" in prose or "<" in prose or "\\" in prose:
        return False
    lowered = prose.lower()
    words = lowered.translate(_SPACES)
    if not words.isascii():
        return False
    said = words.split()
    if _LABELS.isdisjoint(said):
        return True
    return _FOREIGN_NUMBERS.isdisjoint(said) and all(
        _is_unlinked(lowered, number.start()) for number in _NUMBER_BEGINS.finditer(lowered)
    )


def _is_unlinked(text: str, at: int) -> bool:
    """Whether the number at text[at:] follows one space and a word that links no label to it: "names the right 3"."""
    before = text[max(0, at - 24) : at]
    word = before[:-1].rpartition(" ")[2]
    return before.endswith(" ") and word.isalpha() and word not in _LINKS


_NUMBER_BEGINS = pattern(rf"(?<![0-9.])[0-9]|\b{NUMBER_WORD}\b")
_LABELS = words_of_labels()
_FOREIGN_NUMBERS = words_of_numbers() - frozenset(NUMBER_WORDS)
_LINKS = (
    _LABELS
    | word_set(
        "is of was be therefore thus hence then clearly indeed simply just only definitely minus negative about around "
        "roughly approximately circa etwa environ a an eine einer einen einem ein une un um solid strong clear firm "
        "perfect weak full generous respectable decent mere high low easy for in on out or to and between "
    )
    | words_of_links()
)
"""Words that may stand right before a stated number."""
