"""Patterns of stated verdicts, in tiers from the surest to the weakest, for a token of any scale.

The patterns meet text that `plain` has flattened and a scale has put into its own words. Each bounds every repetition,
so that a search takes time linear in the text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

from scorer.judges.phrases import BETTER, BETWEEN, FINAL, GIVES, IS, JOINED, LABEL, LETTER, NOT

# --- the vocabulary ---------------------------------------------------------------------------------------------------

_DIGITS = r"(?:\d{1,9}+(?:\.\d{1,20}+)?+|\.\d{1,20}+)"
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_WORD = f"(?:{'|'.join(WORDS)})"
BEGIN, END = f"(?<!{LETTER})", f"(?!{LETTER})"
ALPHABET = r"[^\W\d_\u0e00-\u0e7f\u3040-\u30ff\u3100-\u312f\u3400-\u9fff\uac00-\ud7af]"
UNIT = (
    r"(?: {0,9}-?(?:stars?|points?|pts|punkte?n?|sternen?|étoiles?|estrellas?|estrelas?|puntos?|pontos?|punti|stelle|"
    rf"punten|sterren|балл(?:а|ов|ы)?|зв[её]зд[ыа]?|分|点|點|つ星|星|점|별){END})"
)
OF = r"(?:/|out of(?: a (?:possible|maximum|max))?(?: of)?|of|von|sur|su|de|sobre|na|из|van|av)"
_ABOUT = r"(?:about|around|roughly|approximately|approx\.|circa|etwa|environ)"
MERE = r"(?:solid|strong|clear|firm|perfect|weak|full|generous|respectable|decent|mere|high|low|well-deserved|easy)"
# `bad` makes no verdict of a number: a range, a list, a version, a fraction sign, "5-point", "4+". Possessive, or a
# pattern that goes on after the number could succeed by overlooking it.
_AND = r"(?:[-~/,]|to|or|and|bis|oder|und|à|a|ou|et|o|y|e|до|или|и|到|至|或|和|から|か|"
_AND += r"(?:, ?)?(?:or|maybe|perhaps|possibly))"
NUMBER = (
    rf"(?:(?:{_ABOUT}|an?|eine[rnm]?|une?|um|{MERE}) |\( ?|[~≈] ?){{0,3}}"
    rf"(?<![.,/$€£#+^×÷])(?<!\d:){BEGIN}(?<!{LETTER}-)(?P<n>(?:minus |negative )?(?:[-+]?{_DIGITS}|{_WORD})){END}"
    rf"(?P<half> and a half)?+(?P<unit>{UNIT})?+"
    rf"(?:\)? {{0,9}}\(?{OF} {{0,9}}(?P<of>{_DIGITS}|{_WORD}){END}{UNIT}?+)?+(?P<percent> ?(?:%|percent\b))?+"
    rf"(?P<bad>(?: {{0,3}}{_AND} {{0,3}}(?:an? )?|\.)[-+]?(?:\.?\d|{_WORD}{END})|:\d"
    rf"| {{0,20}}\| {{0,20}}\d|[½¼¾之]| {{0,2}}[×÷^²³]|"
    rf" {{1,2}}\+ |-{ALPHABET}|\+(?!\d)"
    r"|-(?= {0,3}(?:\n|\Z|[.,;)/]))| (?:for|in|on) [^\n.;:\d]{1,40}?(?:,|and|but) {0,3}(?:an? )?\d{1,3} (?:for|"
    r"in|on)\b)?+"
)
NOUN = r"scores?|ratings?|grades?|verdict|marks?|judge?ment|evaluation|assessment|boxed"
NAMED = rf"(?:{NOUN}|answer|result|decision|{LABEL}|{JOINED})"
"""What a verdict calls itself. "The answer is 4" may be an answer to the question, "answer: 4" is none."""
CHOSEN = (
    r"(?:winner|winning|choice|pick|selection|selected|chosen|preferred|preference|better|best|label|conclusion|class)"
    r"(?: (?:response|answer|output|option|one|assistant|model|is now))?"
)
_FOR = rf"(?: (?:for|of) (?!{_WORD}\b)[a-z](?:(?! (?:{_WORD}|out)\b)[a-z ']){{0,40}})?"
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
# A number before a word is a count of something, unless the word goes on about the verdict.
_GOES_ON = (
    r"(?:because|since|as|for|due|on|based|but|with|given|overall|in|and|which|so|by|from|here|rating|score|"
    r"weil|denn|für|"
    r"aber|parce|car|mais|porque|pero|por|perché|ma)"
)
NO_COUNT = rf"(?(unit)(?! {{0,3}}(?!{_GOES_ON}{END}){ALPHABET})|(?! {{0,3}}(?!{_GOES_ON}{END})[^\W\d_]))"
COUNTED = (
    r"(?:numbers?|counts?|errors?|mistakes?|issues?|facts?|words?|sentences?|steps?|pages?|years?|lines?|length|"
    r"chapters?|"
    r"age|price|date|time|tokens?|attempts?|version|said|says|wrote|writes|asked|replie[sd]|answered|claims?|equals)"
)
GIVEN = (
    r"(?:scores?|scoring|ratings?|grade|rated?|giv(?:e|ing)|(?:been|be|is|was) given|given (?:it|this|that)|"
    r"gave|award|assign|deserves?|merits?|earns?|earning)"
)
GETS = (
    r"(?:gets?|getting|receiv(?:es?|ing)|scored|go with|going with|went with|settle (?:on|for)|lands? (?:at|on)|worth|"
    r"warrants?|making (?:it|this)|(?:i'd|i would|would) say|i say|i'd call (?:it|this)|sits at|comes in at|"
    r"stands at|gives (?:it|"
    r"this)|that's)"
)
GETS_NEEDS = (
    *(
        "get",
        "receiv",
        "scored",
        " with ",
        "settle",
        "land",
        "worth",
        "warrant",
        "making ",
        " say ",
        " call ",
        "sits at",
        "comes in",
    ),
    *("stands at", "gives ", "that's"),
)
SMALL = r"(?: (?:it|this|that|here|a|an|the|only|just|at|score|rating|grade|of|overall|is|about|around|me|full)){0,6}"
SO = r"(?:therefore|thus|hence|overall|so|in conclusion|in summary|to conclude|in short|in the end|ultimately)"
IS_BETTER_NEEDS = ("better", "best", "superior", "prefer", "stronger", "winner", BETTER)
IS_BETTER = (
    r"(?: (?:is|was|would be)(?: {1,4}(?!not\b|no\b|never\b|hardly\b|neither\b|nor\b)[a-z]{1,12}){0,2} {1,4}"
    r"(?:better|best|superior|preferable|preferred|stronger|winner)"
    rf"|(?: {{1,9}}{IS})?(?: {{1,9}}[^\W\d_]{{1,12}})?[ '의]{{0,9}}{BETTER})"
)

# --- what takes a statement back --------------------------------------------------------------------------------------

UNSURE = re.compile(
    rf"(?:(?<!{LETTER})(?:between|at least|at most|up to|(?:more|less|higher|lower|greater|fewer|better|"
    rf"worse) than|over|"
    r"above|below|under|beyond|nearly|almost|close to|short of|not(?: quite)?|never|without|minimum of|maximum of|"
    rf"mindestens|höchstens|fast|al menos|au moins|almeno)|{BETWEEN}|{NOT}|n't)(?: {{1,9}}(?:an?|the|eine[rn]?|"
    rf"une?))? {{0,9}}\(?$"
    rf"|(?:\d|{_WORD}) {{0,3}}(?:[-~/]|to|or|bis|oder|et|ou|y|o|e|à|a|до|или|到|至|或|から|か) {{0,3}}$"
    r"|(?:(?<![a-z\"'/=-])[<>]|[≤≥])=? {0,2}$"
)
_CLAUSE = re.compile(
    r".{0,160}(?:[,.;:!?\n()]|(?<![^\W\d_])(?:and|but|so|because|though|although|while|since)(?![^\W\d_]))", re.S
)
_DENIED = re.compile(
    r"\b(?:not|cannot|never|neither|nor|either|whether|hardly|unlikely|if|unless|could|might|may|(?:would|"
    r"should) have|"
    r"would (?:need|require)|to (?:get|earn|reach|receive|deserve|score)|fails? to|far from|claims?|asks? for|"
    r"says|wants|"
    r"demands|requests?|rather than|instead of|doubt|refuse|decline|hesitate|unable|unclear|which of|hard to|"
    r"website)\b|n't\b|"
    rf"{NOT}|\bno {{1,3}}{GIVES}"
)
_IF = re.compile(r"(?:\A|[.!?\n] {0,3})(?:if|unless) (?!i\b|we\b|you\b|forced\b|pressed\b)[^\n.!?]{0,120}\Z")
_ONLY_IF = re.compile(r"[^\n.!?;]{0,40}?\b(?:if|unless|were it|had it)\b|[^\n.!?;]{0,60}\?")


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

    `unquoted` ones meet the text without its quotations; `bracketed` ones the text with its square brackets. A `weak`
    one counts for nothing where the clause denies it. Those `at_an_end` count only if one opens or ends the text.
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


def labelled(token: str, named: str, is_named: str, *openings: str, no_count: str = "") -> tuple[Tier, ...]:
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
            rf"^{BULLET}{_FINAL}{LINK}{OPEN}{token}{no_count}",
            rf"^{BULLET}{_FINAL}{LINK}{BELOW}{token}{REST}$",
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


def alone(token: str) -> Tier:
    """A line of its own, or the very first words: "4 - it is right", "2. Fair"; but "1. Fair" may open a list."""
    return tier(
        rf"^{BULLET}['(]?{token}{REST}$",
        rf"\A\s{{0,20}}(?!1\. {{1,4}}[a-z]){token}(?= {{0,3}}(?:[-:;,=(!)]|\. |because|since|\n|\Z))"
        r"(?!\. [^\n]{0,2000}(?:\d|\n))",
    )
