"""Scales: what a verdict may be, and which statements of one are read on it.

A scale's `tiers` run from the surest kind of statement to the weakest; the first `sure` of them call themselves a
verdict. `prepare` frees a flattened text of what only looks like one, and moves no character.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from scorer.judges.number_scale import TEXT, Numbers
from scorer.judges.phrases import BETWEEN, IS, LETTER, NOT, plain, plain_case, translated, vocabulary
from scorer.judges.statements import (
    ALPHABET,
    BEGIN,
    BELOW,
    BULLET,
    CHOSEN,
    END,
    IS_BETTER,
    IS_BETTER_NEEDS,
    LINK,
    NAMED,
    OPEN,
    REST,
    SO,
    Tier,
    alone,
    is_denied,
    labelled,
    stated,
    tier,
)

__all__ = ["Labels", "Numbers", "Scale", "alternatives", "named_tiers", "own_case", "spelled"]

# --- labels -----------------------------------------------------------------------------------------------------------

_NOT_THIS = re.compile(
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
            # How it opens and how it concludes; that one is better somewhere in between may be said of an aspect.
            tier(
                stated(rf"\A\s{{0,20}}{self.token}{IS_BETTER}(?= {{0,3}}(?:[.,;:!\n]|\Z))", *IS_BETTER_NEEDS),
                stated(rf"\b{SO}\b[^\n.]{{0,120}}?{self.token}{IS_BETTER}", *IS_BETTER_NEEDS),
                stated(rf"\bbetter (?:output|answer|response|one)\b[^\n.]{{0,120}}? is:? {self.token}", "better "),
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
        return TEXT.sub(lambda m: f" {m[1]} ".rjust(len(m[0])), text) if "\\" in text else text

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


Scale = Numbers | Labels


def alternatives(labels: Mapping[str, Any]) -> str:
    """A pattern of the labels, the longest first: "very good" is not "good"."""
    said = sorted({spelled(label) for label in labels}, key=len, reverse=True)
    return "|".join(re.sub(r"(?:\\? )+", " {1,3}", re.escape(label)) for label in said)


@lru_cache(maxsize=256)
def named_tiers(name: str, scale: Scale) -> tuple[Tier, ...]:
    """Statements of one criterion's verdict: one that opens a line, one within a line."""
    label = rf"{re.escape(spelled(name))}(?: (?:score|rating))?{LINK}"
    return (
        tier(rf"^{BULLET}{label}{OPEN}{scale.token}", rf"^{BULLET}{label}{BELOW}{scale.token}{REST}$"),
        tier(rf"{BEGIN}{label}{OPEN}{scale.token}", unquoted=True),
    )


def spelled(label: str) -> str:
    """A label as it stands in a flattened text."""
    return " ".join(plain(label).replace('"', " ").split())


def own_case(label: str) -> str:
    """A label as it stands in a text that is flattened but for its case."""
    return " ".join(plain_case(label).replace('"', " ").split())
