"""Scales, and how judges state a verdict on one: the vocabulary and the patterns that `reading` searches with.

The patterns meet text that `plain` has flattened. Each bounds every repetition, so that a search takes time linear in
the text. A scale's `tiers` run from the surest kind of statement to the weakest.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

# --- the vocabulary ---------------------------------------------------------------------------------------------------

_DIGITS = r"(?:\d{1,9}+(?:\.\d{1,20}+)?+|\.\d{1,20}+)"
_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_WORD = f"(?:{'|'.join(_WORDS)})"
# `bad` makes no verdict of a number: a range, a list, a version, a fraction sign, "5-point". Possessive, or a pattern
# that goes on after the number could succeed by overlooking it.
_NUMBER = (
    r"(?P<around>between |about |around |nearly |almost |a |an |\( ?){0,2}"
    rf"(?<![\w.,/$€£#])(?<!\w-)(?P<n>[-+]?{_DIGITS}|{_WORD})(?!\w)(?P<half> and a half)?+"
    rf"(?:\)? {{0,3}}\(?(?:/|out of|of) {{0,3}}(?P<of>{_DIGITS}|{_WORD})(?!\w))?+(?P<percent> ?%)?+"
    rf"(?P<bad>(?: {{0,3}}(?:[-~/,]|to|or|and) {{0,3}}|\.)[-+]?(?:\.?\d|{_WORD}\b)|[½¼¾]|-[a-z])?+"
)
_NAMED = r"(?:scores?|ratings?|grades?|verdict|marks?|answer|judge?ment|evaluation|assessment|result|decision|boxed)"
_FOR = r"(?: (?:for|of) [a-z][a-z ']{0,40})?"
_FINAL = r"(?:my |the |an? )?(?:final|overall|total)(?: [a-z]{1,20}){0,2}"
_COLON = r" {0,4}'?(?: {0,4}\([^()\n]{0,40}\))? {0,4}(?:[:=|>{]|->| - )"
_IS = rf"(?:{_COLON}| (?:is|of|was):? )"
_OPEN = r"[ '(]{0,20}"
_BELOW = r" {0,20}\n\s{0,20}(?:- )?"
_BULLET = r"(?:[ >#|{(]|[-+•] ){0,12}(?:\d{1,2}[.)] {1,4})?[ |]{0,4}"
_REST = r" {0,4}[.!|)'}]{0,3} {0,20}"
# A number before a word is a count of something, unless the word goes on about the verdict.
_NO_COUNT = r"(?! {0,3}(?!(?:because|since|as|for|due|on|based|but|with|given|overall|in|stars?|points?)\b)[a-z])"
_COUNTED = r"(?:numbers?|counts?|total|errors?|mistakes?|issues?|facts?|words?|sentences?|steps?|pages?|years?|lines?)"
_GIVEN = r"(?:scores?|ratings?|grade|rated?|giv(?:e|en|ing)|gave|award|assign|deserves?|merits?|earns?)"
_SO = r"(?:therefore|thus|hence|overall|so|in conclusion|in summary|to conclude)"
_BETTER = r"(?: (?!not\b)[a-z]{1,12}){0,2} (?:better|best|superior|preferable|preferred|stronger|winner)"

_FLAT = str.maketrans(
    {**dict.fromkeys("*`_[]\t\r\xa0\u200b\u3000", " "), **dict.fromkeys("“”„«»", '"'), **dict.fromkeys("−–—‒", "-")}
    | {"’": "'", "：": ":", "／": "/", "（": "(", "）": ")", "，": ",", "．": "."}
)


def plain(text: str) -> str:
    """The text in lower case, markup as spaces, dashes and quotes as ASCII; every character stays where it was."""
    lowered = text.lower()
    if len(lowered) != len(text):  # U+0130 alone has two characters in lower case
        lowered = "\u0130".join(part.lower() for part in text.split("\u0130"))
    return lowered.translate(_FLAT)


# --- the tiers --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tier:
    """Patterns of one rank, each with a group `n`; `unquoted` ones meet the text without its quotations."""

    patterns: tuple[re.Pattern[str], ...]
    unquoted: bool = False


def _tier(*patterns: str, unquoted: bool = False) -> Tier:
    return Tier(tuple(re.compile(pattern, re.MULTILINE) for pattern in patterns), unquoted)


def _labelled(token: str) -> tuple[Tier, ...]:
    """Statements that call themselves a verdict: a final one, one that opens a line, one within a line."""
    opening = rf"^{_BULLET}(?:[a-z][a-z' ]{{0,30}} )?{_NAMED}"
    return (
        _tier(
            rf"^{_BULLET}{_FINAL}{_IS}{_OPEN}{token}",
            rf"^{_BULLET}{_FINAL}{_IS}{_BELOW}{token}{_REST}$",
            rf"\b(?:final|overall) {_NAMED}{_FOR}{_COLON}{_OPEN}{token}",
        ),
        _tier(rf"{opening}{_FOR}{_IS}{_OPEN}{token}", rf"{opening}{_IS}{_BELOW}{token}{_REST}$"),
        _tier(rf"\b{_NAMED}{_FOR}{_COLON}{_OPEN}{token}"),
    )


def _alone(token: str) -> Tier:
    """A line of its own, or the very first words: "4 - it is right", "2. Fair"; but "1. Fair" may open a list."""
    return _tier(
        rf"^{_BULLET}['(]?{token}{_REST}$",
        rf"\A\s{{0,20}}(?!1\. {{1,4}}[a-z]){token}(?= {{0,3}}(?:[-:;,=(!)]|\. |because|since|\n|\Z))"
        r"(?!\. [^\n]{0,2000}(?:\d|\n))",
    )


class Numbers:
    """The numbers from `low` to `high`, both included; with `only`, just these of them."""

    def __init__(self, low: float, high: float, only: frozenset[float] | None = None) -> None:
        self.low, self.high, self.only = low, high, only
        self.token = _NUMBER
        bottom, top = re.escape(f"{low:g}"), re.escape(f"{high:g}")
        ends = rf"{bottom} {{0,2}}(?:-|to|and) {{0,2}}{top}"
        self._mention = re.compile(
            rf"\b(?:scale|range)(?: of| from|:)? {ends}\b|\b(?:from|between) {ends} scale\b|(?<![\w.]){ends} scale\b"
            rf"|\( ?{ends} ?\)|\b{top}[- ](?:point|star)s? (?:likert )?scale\b"
        )
        self.tiers = (
            *_labelled(_NUMBER),
            _alone(_NUMBER),
            # The last line names what it rates: "Engagingness: 2".
            _tier(
                rf"^{_BULLET}(?![^\n:]{{0,40}}\b{_COUNTED}\b)[^\n:=|\d]{{1,40}}[:=|>] {{0,20}}"
                rf"{_NUMBER}{_REST}\s{{0,20}}\Z"
            ),
            _tier(
                rf"\b{_GIVEN}\b[^\n.;:\d]{{0,60}}? {_NUMBER}{_NO_COUNT}",
                rf"{_NUMBER}(?(of)|(?!))(?<=[/f( ]{top}){_NO_COUNT}",
                rf"\A[a-z ]{{1,30}}\( ?{_NUMBER} ?\)\.?\Z",
                unquoted=True,
            ),
        )

    def prepare(self, text: str) -> str:
        """The flattened text without its mentions of the scale itself, such as "(1-5)"."""
        return self._mention.sub(lambda m: " " * len(m[0]), text)

    def value(self, match: re.Match[str]) -> float | None:
        """What a match of the token says; None for a range, another denominator, a value off the scale."""
        n, around = match["n"], match["around"] or ""
        if match["bad"] or around.startswith("between") or (match["percent"] and self.high != 100):
            return None
        if match["of"] and _number(match["of"]) != self.high:
            return None
        # On a scale with negative values "- 2" may be a dash or a sign.
        if self.low < 0 and match.string.endswith("- ", 0, match.start("n")):
            return None
        return self.on_scale(_number(n) + (0.5 if match["half"] else 0.0))

    def on_scale(self, value: float) -> float | None:
        """The value, if the scale has it."""
        return value if self.low <= value <= self.high and (self.only is None or value in self.only) else None


class Labels:
    """Words, each with its value, whatever their case: yes, "very good", "Output (a)"."""

    def __init__(self, labels: Mapping[str, float]) -> None:
        self._values = {_label(label): float(value) for label, value in labels.items()}
        # Longest first: "very good" is not "good".
        words = "|".join(re.escape(label) for label in sorted(self._values, key=len, reverse=True))
        self.token = rf"(?<!\w)(?P<n>{words})(?!\w)"
        self.tiers = (
            *_labelled(self.token),
            _alone(self.token),
            # How it opens and how it concludes; that one is better somewhere in between may be said of an aspect.
            _tier(
                rf"\A\s{{0,20}}{self.token} (?:is|would be){_BETTER}(?= {{0,3}}(?:[.,;:!\n]|\Z))",
                rf"\b{_SO}\b[^\n.]{{0,120}}?{self.token} (?:is|would be){_BETTER}",
                rf"\bbetter (?:output|answer|response|one)\b[^\n.]{{0,120}}? is:? {self.token}",
                unquoted=True,
            ),
            _tier(rf"{self.token} (?:is|would be){_BETTER}", unquoted=True),
            _tier(self.token, unquoted=True),
        )

    def prepare(self, text: str) -> str:
        """The flattened text as it is: words are no mention of a scale."""
        return text

    def value(self, match: re.Match[str]) -> float | None:
        """What a match of the token says; None where it is denied ("not good")."""
        before = match.string[max(0, match.start("n") - 4) : match.start("n")]
        return None if before in ("not ", "n't ", "nor ") else self._values[match["n"]]


Scale = Numbers | Labels

_MOST_LABELS = 101


@lru_cache(maxsize=256)
def named_tiers(name: str, scale: Scale) -> tuple[Tier, ...]:
    """Statements of one criterion's verdict: one that opens a line, one within a line."""
    label = rf"{re.escape(_label(name))}(?: (?:score|rating))?{_IS}"
    return (
        _tier(rf"^{_BULLET}{label}{_OPEN}{scale.token}", rf"^{_BULLET}{label}{_BELOW}{scale.token}{_REST}$"),
        _tier(rf"(?<!\w){label}{_OPEN}{scale.token}", unquoted=True),
    )


def chosen(scale: Any, labels: Any, read: str, problems: list[str]) -> tuple[dict[str, float], Scale]:
    """The labels with their values, where this reading has some, and the scale to read on.

    Adds one sentence to `problems` for each mistake in the run file's `scale` and `labels`.
    """
    try:
        low, high = (float(end) for end in scale)
    except (TypeError, ValueError):
        low = high = math.nan
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        problems.append(f"judge.scale: {scale!r} is not allowed; two numbers are, the lower one first, such as [1, 5].")
        return {}, Numbers(0, 1)
    table: dict[str, float] = {}
    if labels is None:
        if read in ("label", "expected"):
            steps = range(math.ceil(low), math.floor(high) + 1)
            if not 2 <= len(steps) <= _MOST_LABELS:
                problems.append(
                    f"judge.labels: missing, and the scale {low:g} to {high:g} has {len(steps)} whole numbers to serve "
                    f"as labels; 2 to {_MOST_LABELS} may. Give the labels."
                )
            table = {str(step): float(step) for step in steps[:_MOST_LABELS]}
    elif read in ("number", "pattern"):
        problems.append(f'judge.labels: read = "{read}" reads none. Set judge.read to label, json or expected.')
    elif isinstance(labels, Mapping):
        table = {str(label): value for label, value in labels.items()}
    elif not isinstance(labels, str) and len(labels) > 1:
        table = {str(label): low + place * (high - low) / (len(labels) - 1) for place, label in enumerate(labels)}
    off = {
        n: v for n, v in table.items() if not isinstance(v, int | float) or isinstance(v, bool) or not low <= v <= high
    }
    for label, value in off.items():
        problems.append(f"judge.labels: {label!r} = {value!r} is off the scale; from {low:g} to {high:g} is allowed.")
    spelled = {plain(label).strip() for label in table}
    if (
        labels is not None
        and read not in ("number", "pattern")
        and (len(spelled) < 2 or len(spelled) < len(labels) or "" in spelled)
    ):
        problems.append(f"judge.labels: {labels!r} is not allowed; two or more different labels are.")
    if off or not table:
        return table, Numbers(low, high)
    if all(_numeric(label, value) for label, value in table.items()):
        return table, Numbers(low, high, only=frozenset(map(float, table.values())))
    return table, Labels(table)


def criteria_problems(criteria: Any) -> list[str]:
    """One sentence for each mistake in the run file's `criteria`."""
    if isinstance(criteria, str) or not all(isinstance(name, str) and name.strip() for name in criteria):
        return [f"judge.criteria: {criteria!r} is not allowed; a list of names is."]
    names = [plain(name).strip() for name in criteria]
    twins = [name for place, name in enumerate(criteria) if names[place] in names[:place]]
    return [
        f"judge.criteria: {name!r} is there twice; a reply could not tell them apart. Remove one." for name in twins
    ]


def compiled(pattern: Any, read: str, criteria: Any, problems: list[str]) -> re.Pattern[str] | None:
    """The run file's `pattern`, None where this reading has none. Adds one sentence to `problems` for each mistake."""
    if (read == "pattern") != (pattern is not None):
        problems.append("judge.pattern: belongs to read = \"pattern\", which needs one, such as '\\d+(?:\\.\\d+)?'.")
        return None
    if pattern is None:
        return None
    if criteria:
        problems.append("judge.criteria: one pattern cannot tell several criteria apart. Remove one of the two.")
    try:
        return re.compile(pattern)
    except (re.error, TypeError) as error:
        problems.append(f"judge.pattern: {pattern!r} is no regular expression ({error}).")
        return None


def _numeric(label: str, value: float) -> bool:
    try:
        return float(label) == value
    except ValueError:
        return False


def _number(said: str) -> float:
    return float(_WORDS.index(said)) if said in _WORDS else float(said)


def _label(label: str) -> str:
    return plain(label).replace('"', " ").strip()
