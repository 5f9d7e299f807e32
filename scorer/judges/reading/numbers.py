"""Numeric scales: which statements of a number are a verdict, and which numbers are none.

`prepare` removes mentions of the scale, list numbers and rubrics from a normalised text, and moves no character.
"""

from __future__ import annotations

import math
import re

from scorer.judges.reading.number_patterns import (
    COUNTED,
    GETS,
    GETS_NEEDS,
    GIVEN,
    MERE,
    NO_COUNT,
    NUMBER,
    OF,
    SMALL,
    UNIT,
)
from scorer.judges.reading.phrases import (
    BEGIN,
    BETWEEN,
    END,
    FINAL,
    GIVES,
    IS,
    JOINED,
    LABEL,
    NUMBER_WORDS,
    translated,
    vocabulary,
    without_text_macros,
    word_set,
)
from scorer.judges.reading.statements import (
    BULLET,
    NAMED,
    NOUN,
    OPEN,
    REST,
    SO,
    UNSURE,
    alone,
    is_denied,
    labelled,
    stated,
    tier,
)
from scorer.patterns import pattern

_LISTED = pattern(r"^[^\w\n]{0,8}(\d{1,3})(?:[.):]| {0,2}[-=](?=[ ]))(?= {0,4}\S)", re.MULTILINE)
_MEANS = pattern(r"(?<![\w.:])(\d{1,3}) {0,2}= {0,2}(?=[^\W\d_])")
_FRACTION = pattern(r"\\[dt]?frac\{( {0,2}\d{1,4} {0,2})\}\{( {0,2}\d{1,4} {0,2})\}")
_PLACEHOLDER = pattern(r"(?<![\w<])<([0-9]{1,3}(?:\.[0-9]{1,3})?(?:/[0-9]{1,3})?)>(?![\w>])")
"""A number in the angle brackets of the prompt's "Score: <number>"."""
_MATH = pattern(r"\$(?= {0,20}[-\d.]{1,9} {0,20}\$)")
_STARS = pattern(r"(\d {0,2})?((?:[★⭐🌟] ?){1,100})((?:[☆✩] ?){0,100})( {0,2}\d)?")
_CHINESE = str.maketrans("零〇一二两三四五六七八九", "001223456789")
_CHINESE_NUMBER = pattern(r"(?<![一-龥])[零〇一二两三四五六七八九](?= ?(?:分|点|星))")
_CENTURY = pattern(r"(?:^|[.!?\n] {0,3})(\d{1,2})[.)] ", re.MULTILINE)
_OTHER_FULL_MARKS = pattern(r"满分 ?:? ?\d|\d ?(?:点|점|分) ?(?:満点|만점|中|중)")
_COMMA = pattern(r"\d,\d")
_START = pattern(rf"[-+]?\.?\d{{1,20}}|\b(?:{'|'.join(NUMBER_WORDS)}|minus|negative)\b")
# "a four", "it three"; but no "a clue or two"
_SAID_BEFORE = pattern(
    rf"(?:\b(?:an?|it|this|that|of|as|only|is|say|with|at|on|gets?|rated?|scores?|give|{MERE})|[^\w\s]|\A)\s{{0,4}}\Z"
)
_MARK_BEFORE = pattern(r"(?:\A|[.!?\n])\s{0,4}\d{1,2}\Z")
_ABBREVIATED = word_set("fig vol nos approx chap sec art eq ref version page chapter")


class Numbers:
    """The numbers from `low` to `high`, both included; with `only`, just these of them."""

    sure = 4

    def __init__(self, low: float, high: float, only: frozenset[float] | None = None) -> None:
        self.low, self.high, self.only = low, high, only
        self.token = NUMBER
        self._words = vocabulary(numbers=True)
        bottom, top = re.escape(f"{low:g}"), re.escape(f"{high:g}")
        self._ends = (f"{low:g}", f"{high:g}")
        until = r"(?:-|~|\.\.|to|through|bis|à|a|al|até|до|tot|到|至|から|(?P<and>and|und|et|y|e|и)\b)"
        best = r"(?:is|being|as) (?:the )?(?:best|highest|worst|lowest|max\w{0,4}|min\w{0,4}|perfect|top|bottom)"
        note = r"(?: ?\([^()\n\d]{1,40}\))?"
        # Each begins with a number, so that it is soon found.
        self._mention = pattern(
            rf"{bottom}(?<![\w.]{bottom}){note} {{0,2}}{until} {{0,2}}{top}(?![\w.]?\d)(?: ?{UNIT})?{note}"
            rf"|{top}(?<![\w.]{top})[- ](?:point|star)s? (?:likert )?scale\b"
            rf"|{top}(?<=[^\W\d_] \(out of {top})(?=\))"
            rf"|(?:{bottom}(?<![\w.]{bottom})|{top}(?<![\w.]{top})) (?:{best}|means?|represents)\b"
        )
        self._maximum = pattern(
            rf"\b(?:max(?:imum)?|highest(?: possible)?|top|min(?:imum)?|lowest(?: possible)?) {NAMED}(?: possible)?"
            rf"(?: is| was|:| =) {{0,3}}(?:{bottom}|{top})\b"
        )
        self._full_marks = pattern(
            rf"满分 ?:? ?{top}(?!\d) ?分?"
            rf"|{top}(?<!\d{top}) ?(?:(?:点|点|점|分) ?(?:満点|만점|中|중)(?:中の|中|에서|에|で)?|"
            rf"段階 ?{JOINED}?で)"
        )
        self._comma = pattern(
            rf"(?<![\d,./])(\d{{1,3}}),(?=\d{{1,2}}(?![\d,])(?: {{0,2}}{OF} {{0,2}}{top}(?!\d)|{UNIT}))"
            rf"|(?<=[{LABEL}{JOINED}{FINAL}{GIVES}])([ :{IS}]{{0,20}}(?:eine |une? )?\d{{1,3}}),(?=\d{{1,2}}(?![\d,]))"
        )
        name = rf"(?![^\n:]{{0,40}}{BEGIN}{COUNTED}{END})[^\n:=|\d,;]{{1,40}}"
        self.tiers = (
            *labelled(
                NUMBER,
                NAMED,
                rf"(?:{NOUN}|{LABEL}|{JOINED})",
                # "Rating: excellent - 5"
                rf"^{BULLET}(?:my )?{NAMED}: {{0,4}}[a-z][a-z ]{{0,25}}(?:\( ?| ?[-,=] ){NUMBER}{REST}$",
                # In French, German, Spanish, Italian; in English "note: 3" is hardly ever one of several.
                stated(
                    rf"^{BULLET}(?:note|nota|voto)(?: final(?:e|es)?)? {{0,2}}[:=]{OPEN}{NUMBER}"
                    rf"(?:(?(of)|(?!))|{REST}$)",
                    *("note", "nota", "voto"),
                ),
                no_count=NO_COUNT,
            ),
            alone(NUMBER),
            # How it concludes.
            tier(
                stated(
                    rf"{BEGIN}{SO}{END}[^\n.;:\d]{{0,40}}{BEGIN}(?:{GIVEN}|"
                    rf"{GETS}){END}[^\n.;:\d]{{0,40}}?{NUMBER}{NO_COUNT}"
                ),
                unquoted=True,
                weak=True,
            ),
            # What it rates has a name: "Engagingness: 2". Several of them are aspects, and must agree.
            tier(
                rf"^{BULLET}(?=[^\n:=|\d]{{0,38}}[^\W\d_]{{3}}){name}[:=|>] {{0,20}}{NUMBER}{REST}$",
                rf"\A\s{{0,20}}{name}[:=>] {{0,20}}{NUMBER}(?= {{0,3}}[.;] )",
                stated(rf"[.!?] [^\n:=|\d.!?]{{1,30}}: {{0,3}}{NUMBER}{REST}\s{{0,20}}\Z", ":"),
                stated(rf"(?P<aside>[,;]) {{0,3}}[^\n:=|\d.!?,;]{{1,30}}[:=] {{0,3}}{NUMBER}", ":", "="),
                at_an_end=True,
            ),
            # After the last sentence.
            tier(
                rf"(?P<after>[.!?)\"'])\s{{0,20}}(?:[-(] ?)?{NUMBER}{REST}\s{{0,20}}\Z",
                weak=True,
            ),
            tier(
                rf"{BEGIN}(?:{GIVEN}{END}|{GIVES})[^\n.;:\d]{{0,60}}?{NUMBER}{NO_COUNT}",
                stated(rf"{BEGIN}{GETS}{SMALL} {NUMBER}{NO_COUNT}", *GETS_NEEDS),
                rf"{BEGIN}(?:this|it|that|{NOUN}|response|answer|output|text|quality[^\n.;:\d]{{0,40}})"
                rf"(?:'s| is| would be| was)(?: [a-z]{{1,9}}){{0,2}}? an? {NUMBER}{NO_COUNT}",
                rf"(?:\A|[.!?\n]) {{0,3}}(?:{SO}[,:]? {{1,3}}|(?:probably|i think|i guess) |"
                rf"an? {{1,3}}(?={MERE} )){NUMBER}"
                r"(?= {0,3}(?:[.!\n]|\Z|for me|from me|overall))",
                stated(rf"(?P<share>){NUMBER}(?(of)|(?!)){NO_COUNT}", leads=True),
                stated(
                    rf"{NUMBER}(?(unit)|(?!)) ?(?:{IS}|です|とし|と評価|を与え|を付け|をつけ|입니다|을 주|를 주)",
                    *"分点點星점별",
                    leads=True,
                ),
                stated(rf"\A[^\n.!?(]{{1,200}} \( ?{NUMBER} ?\)(?=[.!]| ?\n|\s{{0,20}}\Z)", "("),
                stated(rf"(?<=[\s.!?])\( ?{NUMBER} ?\)[.!]?\s{{0,20}}\Z", "("),
                # Others beside it: "accuracy (4), style (3)", "A a 4 and B a 2".
                stated(rf"\((?P<aside> ?){NUMBER} ?\)(?=,| and)", "("),
                rf"(?P<aside>and|but|[,;]) (?:the )?(?:[^\W\d_]{{1,20}} ){{1,3}}?(?:an? |gets ){NUMBER}{NO_COUNT}",
                unquoted=True,
                weak=True,
            ),
        )
        self.correction = stated(NUMBER + NO_COUNT)

    def prepare(self, text: str) -> str:
        """The flattened text in this scale's words, without what only looks like a verdict.

        That is: the scale itself ("1 to 5", "5 is best"), lists and rubrics with numbers ("1. ...", "5 = perfect").
        """
        text = translated(text, self._words)
        if not text.isascii():
            text = _CHINESE_NUMBER.sub(lambda m: m[0].translate(_CHINESE), text)
            text = _STARS.sub(self._stars, text)
        if "\\" in text:
            text = _FRACTION.sub(lambda m: f"{m[1]}/ {m[2]} ".rjust(len(m[0])), text)
            text = without_text_macros(text)
        if "$" in text:
            text = _MATH.sub(" ", text)
        if "<" in text:
            text = _PLACEHOLDER.sub(lambda m: f" {m[1]} ", text)
        if not text.isascii():
            text = self._full_marks.sub(_blank, text)
            if _OTHER_FULL_MARKS.search(text):
                return " " * len(text)
        if self._ends[0] in text or self._ends[1] in text:
            text = self._mention.sub(_scale_blank, text)
            if any(word in text for word in ("max", "highest", "lowest", "min", "top")):
                text = self._maximum.sub(_blank, text)
        if _COMMA.search(text):
            text = self._comma.sub(lambda m: f"{m[1] or m[2]}.", text)
        text = _without_lists(text, _LISTED)
        return _without_lists(text, _MEANS) if "=" in text else text

    def starts(self, text: str) -> list[int]:
        """Where a token may begin."""
        return [found.start() for found in _START.finditer(text)]

    def value(self, match: re.Match[str], weak: bool, raw: str = "") -> float | None:
        """What a match of the token says: None for a range, another denominator or a value off the scale.

        NaN where it is no statement of a verdict at all.
        """
        n, text, known = match["n"], match.string, match.re.groupindex
        if "share" in known and match["of"] and _number(match["of"]) != self.high:
            return math.nan
        if weak and (self._passes(match, n) or is_denied(text, match.start("n"), match.end())):
            return math.nan
        if match["bad"] or UNSURE.search(text, max(0, match.start("n") - 40), match.start("n")):
            return None
        if match["of"] and _number(match["of"]) != self.high:
            return None
        # On a scale with negative values "- 2" may be a dash or a sign.
        if self.low < 0 and text.endswith("- ", 0, match.start("n")):
            return None
        said = _number(n) + (0.5 if match["half"] else 0.0)
        if match["percent"] and self.high != 100:
            return self.on_scale(said / 100) if (self.low, self.high) == (0, 1) and (said >= 1 or said == 0) else None
        return self.on_scale(said)

    def place(self, match: re.Match[str]) -> tuple[int, int]:
        """Where the match says it."""
        return match.span("n")

    def on_scale(self, value: float) -> float | None:
        """The value, if the scale has it."""
        return value if self.low <= value <= self.high and (self.only is None or value in self.only) else None

    def _passes(self, match: re.Match[str], n: str) -> bool:
        """Whether a weak match is none: "one" for a thing, the next mark of a list, "No. 4"."""
        if n.isalpha() and not match["unit"] and not match["of"]:
            before = match.string[max(0, match.start("n") - 12) : match.start("n")]
            if n == "one" or not _SAID_BEFORE.search(before):
                return True
        if "after" not in match.re.groupindex:
            return False
        text, at = match.string, match.start("after")
        word = re.search(r"[^\W\d_]{1,12}$", text[max(0, at - 12) : at])
        if match["after"] == "." and word and (len(word[0]) < 3 or word[0] in _ABBREVIATED) and word[0].isascii():
            return True
        if _MARK_BEFORE.search(text[max(0, at - 8) : at]):
            return True
        marks = {mark[1] for mark in _CENTURY.finditer(text[: match.start("n")])}
        return (
            n.isdecimal()
            and int(n) > 1
            and {"1", str(int(n) - 1)} <= marks
            and "\n\n" not in text[at : match.start("n")]
        )

    def _stars(self, match: re.Match[str]) -> str:
        full, hollow = (sum(not c.isspace() for c in match[group]) for group in (2, 3))
        if match[1] or match[4]:  # "4 ★"
            return re.sub(r"[^\d ]", " ", match[0])
        known = full + hollow == self.high if hollow else self.high <= 5 or full > 5
        return (str(full) if known and 0 <= self.low <= 1 else "?").ljust(len(match[0]))


def _blank(match: re.Match[str]) -> str:
    return " " * len(match[0])


def _scale_blank(match: re.Match[str]) -> str:
    before = match.string[max(0, match.start() - 12) : match.start()].rstrip()
    return match[0] if match["and"] and not before.endswith(("between", BETWEEN)) else _blank(match)


def _without_lists(text: str, marks: re.Pattern[str]) -> str:
    """The text without the numbers that mark its list, "1. ... 2. ...": those with a neighbour next to them."""
    found = list(marks.finditer(text))
    if len(found) < 2:
        return text
    numbers = [int(mark[1]) for mark in found]
    pieces, at = [], 0
    for place, mark in enumerate(found):
        beside = numbers[max(0, place - 1) : place] + numbers[place + 1 : place + 2]
        if marks is _MEANS or any(abs(numbers[place] - other) == 1 for other in beside):
            pieces += [text[at : mark.start(1)], " " * (mark.end() - mark.start(1))]
            at = mark.end()
    return "".join((*pieces, text[at:]))


def _number(said: str) -> float:
    sign = -1.0 if said.startswith(("minus ", "negative ")) else 1.0
    said = said.rpartition(" ")[2]
    return sign * (float(NUMBER_WORDS.index(said)) if said in NUMBER_WORDS else float(said))
