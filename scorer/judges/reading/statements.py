"""Patterns of stated verdicts, in tiers from the surest to the weakest, for a token of any scale.

They are applied to text that `plain` has normalised and a scale has prepared. Every repetition is bounded, so that a
search takes linear time.
"""

from __future__ import annotations

import re
from functools import cached_property

from scorer.frozen import dataclass
from scorer.judges.reading.phrases import (
    BEGIN,
    BETTER,
    BETWEEN,
    FINAL,
    GIVES,
    IS,
    JOINED,
    LABEL,
    LETTER,
    NOT,
    NUMBER_WORD,
)
from scorer.patterns import pattern

# --- the vocabulary ---------------------------------------------------------------------------------------------------

NOUN = r"scores?|ratings?|grades?|verdict|marks?|judge?ment|evaluation|assessment|boxed"
NAMED = rf"(?:{NOUN}|answer|result|decision|{LABEL}|{JOINED})"
"""What a verdict calls itself. "The answer is 4" may be an answer to the question, "answer: 4" is none."""
CHOSEN = (
    r"(?:winner|winning|choice|pick|selection|selected|chosen|preferred|preference|better|best|label|conclusion|class)"
    r"(?: (?:response|answer|output|option|one|assistant|model|is now))?"
)
_FOR = rf"(?: (?:for|of) (?!{NUMBER_WORD}\b)[a-z](?:(?! (?:{NUMBER_WORD}|out)\b)[a-z ']){{0,40}})?"
_FINALS = ("final", "overall", "total", "revised", "corrected", "updated", "adjusted", FINAL)
_FINAL = (
    rf"(?:my |the |an? )?(?:(?:final|overall|total|revised|corrected|updated|adjusted|"
    rf"{FINAL})(?: [a-z]{{1,20}}){{0,2}}"
)
_FINAL += rf"(?: {{0,9}}[{LABEL}{JOINED}])?|[{LABEL}{JOINED}] {{1,9}}{FINAL})"
_COLON = r" {0,14}'?(?: {0,4}\([^()\n]{0,40}\))? {0,4}(?:=>|->|→|[:=|>{]| - )"
_COLONS = (":", "=", "|", ">", "{", " - ", "→")
_SURELY = r"(?: (?:therefore|thus|hence|then|clearly|indeed|simply|just|only|definitely))?"
_TIED = rf"(?:{_COLON}| (?:is|of|was|would be|should be|will be){_SURELY}:? | {{0,14}}{IS}[ :]{{0,9}})"
LINK = rf"(?:{_TIED}|(?<={JOINED}) {{0,4}})"
OPEN = r"[ '({]{0,20}"
BELOW = r" {0,20}\n\s{0,20}(?:- )?"
BULLET = r"(?:->|[ >#|{(=→]|[-+] ){0,12}(?:\d{1,2}[.)] {1,4})?[ |]{0,4}"
REST = r" {0,12}[.!|)'}$]{0,3} {0,20}"
SO = r"(?:therefore|thus|hence|overall|so|in conclusion|in summary|to conclude|in short|in the end|ultimately)"
IS_BETTER_NEEDS = ("better", "best", "superior", "prefer", "stronger", "winner", BETTER)
IS_BETTER = (
    r"(?: (?:is|was|would be)(?: {1,4}(?!not\b|no\b|never\b|hardly\b|neither\b|nor\b)[a-z]{1,12}){0,2} {1,4}"
    r"(?:better|best|superior|preferable|preferred|stronger|winner)"
    rf"|(?: {{1,9}}{IS})?(?: {{1,9}}[^\W\d_]{{1,12}})?[ '의]{{0,9}}{BETTER})"
)

# --- what takes a statement back --------------------------------------------------------------------------------------

UNSURE = pattern(
    rf"(?:(?<!{LETTER})(?:between|at least|at most|up to|(?:more|less|higher|lower|greater|fewer|better|"
    rf"worse) than|over|"
    r"above|below|under|beyond|nearly|almost|close to|short of|not(?: quite)?|never|without|minimum of|maximum of|"
    rf"mindestens|höchstens|fast|al menos|au moins|almeno)|{BETWEEN}|{NOT}|n't)(?: {{1,9}}(?:an?|the|eine[rn]?|"
    rf"une?))? {{0,9}}\(?$"
    rf"|(?:\d|{NUMBER_WORD}) {{0,3}}(?:[-~/]|to|or|bis|oder|et|ou|y|o|e|à|a|до|или|到|至|或|から|か) {{0,3}}$"
    r"|(?:(?<![a-z\"'/=-])[<>]|[≤≥])=? {0,2}$"
)
_CLAUSE = pattern(
    r".{0,160}(?:[,.;:!?\n()]|(?<![^\W\d_])(?:and|but|so|because|though|although|while|since)(?![^\W\d_]))", re.S
)
_DENIED = pattern(
    r"\b(?:not|cannot|never|neither|nor|either|whether|hardly|unlikely|if|unless|could|might|may|(?:would|"
    r"should) have|"
    r"would (?:need|require)|to (?:get|earn|reach|receive|deserve|score)|fails? to|far from|claims?|asks? for|"
    r"says|wants|"
    r"demands|requests?|rather than|instead of|doubt|refuse|decline|hesitate|unable|unclear|which of|hard to|"
    r"website)\b|n't\b|"
    rf"{NOT}|\bno {{1,3}}{GIVES}"
)
_IF = pattern(r"(?:\A|[.!?\n] {0,3})(?:if|unless) (?!i\b|we\b|you\b|forced\b|pressed\b)[^\n.!?]{0,120}\Z")
_ONLY_IF = pattern(r"[^\n.!?;]{0,40}?\b(?:if|unless|were it|had it)\b|[^\n.!?;]{0,60}\?")


def clause(text: str, end: int) -> str:
    """The clause of the flattened text up to `end`."""
    before = text[max(0, end - 160) : end]
    cut = _CLAUSE.match(before)
    return before[cut.end() :] if cut else before


def is_denied(text: str, start: int, end: int) -> bool:
    """Whether a statement at text[start:end] is one that the writer denies, doubts, or makes depend on something."""
    return bool(
        _DENIED.search(clause(text, start)) or _ONLY_IF.match(text, end) or _IF.search(text, max(0, start - 130), start)
    )


# --- the tiers --------------------------------------------------------------------------------------------------------


class Statement:
    """A pattern with a group `n`, which is tried only where the text has one of the words of `needs`.

    One that `leads` begins with its token, and is tried only where a token is. It is compiled when it is first tried:
    each takes some milliseconds, and most replies need few.
    """

    def __init__(self, source: str, needs: tuple[str, ...] = (), leads: bool = False) -> None:
        self.needs, self.leads = needs, leads
        self._source = source

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """The pattern, compiled."""
        return re.compile(self._source, re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Tier:
    """Statements of one rank.

    `unquoted` ones are searched in the text without quotations, `bracketed` ones in the text with square brackets. A
    `weak` one is ignored where its clause is negated. Those `at_an_end` count only if one opens or ends the text.
    """

    statements: tuple[Statement, ...]
    unquoted: bool = False
    weak: bool = False
    bracketed: bool = False
    at_an_end: bool = False


def stated(pattern: str, *needs: str, leads: bool = False) -> Statement:
    """A statement of this pattern."""
    return Statement(pattern, needs, leads)


def tier(*statements: str | Statement, unquoted: bool = False, weak: bool = False, at_an_end: bool = False) -> Tier:
    """A tier of these statements, or patterns of some."""
    made = tuple(stated(one) if isinstance(one, str) else one for one in statements)
    return Tier(made, unquoted, weak, at_an_end=at_an_end)


def labelled(token: str, named: str, is_named: str, *openings: str | Statement, no_count: str = "") -> tuple[Tier, ...]:
    """Statements that call themselves a verdict: in [[ ]], a final one, one that opens a line, one within a line.

    `named` are the nouns before a colon, `is_named` those before "is". `openings` are further patterns
    of the third tier. `no_count` ends what is final by any other noun: "total distance: 3 miles" is a count.
    """
    before = r"(?:(?!\d)[^\n\d:.,;=|]{1,31} )?"
    opening = rf"^{BULLET}(?:{before}{NAMED}{_FOR}{_COLON}|{before}{is_named}{_FOR}{LINK}"
    opening += rf"|(?:so |and |the |my ){{0,2}}{named}{_FOR}{LINK})" if named != NAMED else ")"
    return (
        Tier((stated(rf"\[\[ {{0,3}}{token} {{0,3}}\]\]", "[["),), bracketed=True),
        tier(
            stated(rf"^{BULLET}{_FINAL}{LINK}{OPEN}{token}{no_count}", *_FINALS),
            stated(rf"^{BULLET}{_FINAL}{LINK}{BELOW}{token}{REST}$", *_FINALS),
            stated(
                rf"(?:final|overall|revised|corrected|updated) {named}{_FOR}(?:{_COLON}| (?:is|was|"
                rf"would be) ){OPEN}{token}",
                *("final", "overall", "revised", "corrected", "updated"),
            ),
            stated(rf"\\boxed{{{OPEN}{token}", "\\boxed"),
            stated(rf"[.;,] {{1,4}}(?:and )?{_FINAL}{_COLON}{OPEN}{token}", "final", "overall", "total", FINAL),
        ),
        tier(
            rf"{opening}{OPEN}{token}",
            rf"{opening}{BELOW}{token}{REST}$",
            rf"^{BULLET}{named} {{1,4}}{token}{REST}$",
            # Another one behind it in the same line.
            stated(rf"[.;,?] {{1,4}}'?(?:[^\W\d_]{{1,20}} ){{0,2}}{named}{_FOR}{_COLON}{OPEN}{token}", *_COLONS),
            *openings,
        ),
        tier(
            stated(rf"{BEGIN}{named}{_FOR}{_COLON}{OPEN}{token}", *_COLONS),
            stated(rf"(?:result|score|rating|verdict|answer|grade)  {{1,4}}{token}", "   ", "  "),
        ),
    )


def better_overall(token: str, better: str, opens: str) -> tuple[Statement, ...]:
    """Statements that one is better at the opening or in a conclusion; in between it may be better in an aspect only.

    `better` is the whole pattern of "TOKEN is better", `opens` what must follow it where it opens the text.
    """
    return (
        stated(rf"\A\s{{0,20}}{better}{opens}", *IS_BETTER_NEEDS),
        stated(rf"\b{SO}\b[^\n.]{{0,120}}?{better}", *IS_BETTER_NEEDS),
        stated(rf"\bbetter (?:output|answer|response|one)\b[^\n.]{{0,120}}? is:? {token}", "better "),
    )


def alone(token: str) -> Tier:
    """A line of its own, or the very first words: "4 - it is right", "2. Fair"; but "1. Fair" may open a list."""
    return tier(
        rf"^{BULLET}['(]?{token}{REST}$",
        rf"\A\s{{0,20}}(?!1\. {{1,4}}[a-z]){token}(?= {{0,3}}(?:[-:;,=(!)]|\. |because|since|\n|\Z))"
        r"(?!\. [^\n]{0,2000}(?:\d|\n))",
    )
