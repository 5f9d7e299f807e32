"""Label scales: words such as yes, "very good" or "Output (a)", each with its value, and how each is stated."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from scorer.judges.reading.phrases import (
    ALPHABET,
    BEGIN,
    BETWEEN,
    END,
    IS,
    LETTER,
    NOT,
    plain,
    plain_case,
    translated,
    vocabulary,
    without_text_macros,
)
from scorer.judges.reading.statements import (
    CHOSEN,
    IS_BETTER,
    IS_BETTER_NEEDS,
    NAMED,
    SO,
    Tier,
    alone,
    better_overall,
    is_denied,
    labelled,
    stated,
    tier,
)
from scorer.patterns import pattern

_NOT_THIS = pattern(
    rf"(?:\b(?:not|nor|neither|never|no|hardly|cannot|without|rather than|instead of|anything but|far from|"
    rf"nothing|almost|"
    rf"nearly|partly|partially|mostly|half|barely|between|more|less|either)|n't|{NOT}|{BETWEEN})(?: (?:an?|the|"
    rf"very|really|"
    r"particularly|quite|so|that|all|entirely|exactly|at|be|as|is|called|considered|yet|just|either|especially|"
    r"completely|"
    r"necessarily)){0,3} {0,3}$"
)
_PREDICATE = (
    r"(?<!what )(?<!which )(?<!why this )(?:is|was|as|say|seems?|it's|remains|finds?|found|rated?|call|consider|"
    r"deem|judge|label|"
    rf"{IS})(?: (?:it|this|that|the|response|answer|output|text|to|be|as|an?|overall|clearly|therefore|thus|"
    rf"simply|just)){{0,4}}"
)
_AFTER_LABEL = (
    r"(?= {0,3}(?:[.,;:!\n)]|\Z|because|since|as|overall|and|but|for|in|response|answer|output|summary|text))"
)


class Labels:
    """Words, each with its value: yes, "very good", "Output (a)". Case counts only where two differ in nothing else."""

    sure = 4

    def __init__(self, labels: Mapping[str, float]) -> None:
        self._exact = len({spelled(label) for label in labels}) < len(labels)
        self._spelled = own_case if self._exact else spelled
        self._values = {self._spelled(label): float(value) for label, value in labels.items()}
        self._words = vocabulary(numbers=False, without=[spelled(label) for label in labels])
        self.words = alternatives(labels)
        self.token = self.token_of(self.words)
        self.correction = stated(self.token)
        self._start = re.compile(rf"{BEGIN}(?:{self.words})")
        self.tiers: tuple[Tier, ...] = (
            *labelled(self.token, rf"(?:{NAMED}|{CHOSEN})", NAMED),
            alone(self.token),
            tier(
                *better_overall(self.token, f"{self.token}{IS_BETTER}", r"(?= {0,3}(?:[.,;:!\n]|\Z))"),
                rf"\b{SO}\b[^\n.]{{0,60}}?{BEGIN}{_PREDICATE}[ ']{{1,3}}{self.token}{_AFTER_LABEL}",
                unquoted=True,
                weak=True,
            ),
            tier(stated(rf"{self.token}{IS_BETTER}", *IS_BETTER_NEEDS, leads=True), unquoted=True, weak=True),
            tier(rf"{BEGIN}{_PREDICATE}[ ']{{1,3}}{self.token}{_AFTER_LABEL}", unquoted=True, weak=True),
        )

    def token_of(self, words: str) -> str:
        """The pattern of one of the words, with what would make two verdicts of it."""
        return (
            rf"{BEGIN}(?<!{LETTER}[-'])(?P<n>{words}){END}(?!-{ALPHABET}| (?:your|my|his|her|their|our)\b)"
            rf"(?P<bad> {{0,3}}(?:/|,? ?(?:or|and|oder|und|ou|et|o|y|e|或|和|か)) {{0,3}}(?:the )?(?:{words}){END})?+"
        )

    def prepare(self, text: str) -> str:
        """The flattened text in the words that patterns know, but for those that are labels."""
        text = translated(text, self._words)
        return without_text_macros(text) if "\\" in text else text

    def starts(self, text: str) -> list[int]:
        """Where a token may begin."""
        return [found.start() for found in self._start.finditer(text)]

    def value(self, match: re.Match[str], weak: bool, raw: str = "") -> float | None:
        """What a match of the token says; None where it is denied ("not good") or another one beside it."""
        at = match.start("n")
        if match["bad"] or _NOT_THIS.search(match.string, max(0, at - 40), at):
            return None
        if weak and is_denied(match.string, at, match.end()):
            return None
        return self.worth(raw if self._exact else match["n"])

    def worth(self, said: str) -> float | None:
        """The value of a label as it is said."""
        return self._values.get(self._spelled(said))

    def place(self, match: re.Match[str]) -> tuple[int, int]:
        """Where the match says it."""
        return match.span("n")


def alternatives(labels: Mapping[str, Any]) -> str:
    """A pattern of the labels, the longest first: "very good" is not "good"."""
    said = sorted({spelled(label) for label in labels}, key=len, reverse=True)
    return "|".join(re.sub(r"(?:\\? )+", " {1,3}", re.escape(label)) for label in said)


def spelled(label: str) -> str:
    """A label as it stands in a flattened text."""
    return " ".join(plain(label).replace('"', " ").split())


def own_case(label: str) -> str:
    """A label as it stands in a text that is flattened but for its case."""
    return " ".join(plain_case(label).replace('"', " ").split())
