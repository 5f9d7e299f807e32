"""Reads a preference for A or B, or a tie: "Verdict: B", "[[A>B]]", "Output (a) is better.", "It's a tie."

What is called a verdict comes before what is merely said; two different verdicts are none. A label of one letter needs
more care than a word: "A" is also an article, and "A: ... B: ..." opens a list.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from scorer.judges.reading.labels import Labels, alternatives, own_case, spelled
from scorer.judges.reading.phrases import BEGIN, BETTER, END, IS, NOT, NOUN, PREFER, TIE, plain
from scorer.judges.reading.reply_body import Verdict, ends
from scorer.judges.reading.statements import (
    CHOSEN,
    IS_BETTER,
    IS_BETTER_NEEDS,
    NAMED,
    SO,
    Tier,
    better_overall,
    clause,
    is_denied,
    labelled,
    stated,
    tier,
)
from scorer.judges.reading.statements import alone as by_itself
from scorer.judges.reading.verdicts import find

VALUES = (1.0, 0.0, 0.5)
"""What the first label, the second and the third (a tie) are worth: the preference for the first response."""
GRADES = {">>": (1.0, 0.0), ">": (0.75, 0.25)}
"""What a graded comparison is worth where its left side is the first label, and where it is the second."""

_NOUN = (
    "(?:output|response|answer|assistant|model|option|candidate|summary|text|completion|system|version|"
    "translation|solution|"
    "reply|chatbot|essay|story)"
)
# After "A" these make it a name, any other word an article.
_AFTER_A_NAME = (
    r"(?:is|was|would|wins?|because|since|as|for|due|over|and|but|with|by|beats|outperforms|surpasses|exceeds|edges|comes|"
    r"tie|does|did|has|than|or|vs|ist|est|es|è|é|gewinnt|gagne|gana|vence|vince|лучше)"
)
# "Evaluation of Response A" is about A, not for it.
_ABOUT = r"\b(?:evaluations?|assessments?|judge?ments?|scores?|ratings?|grades?) (?:of|for|by|from) (?:the )?"
# In this and the two below, group 1 is a letter that is no verdict.
_ARTICLE = re.compile(rf"\b{_NOUN} {{0,20}}\(?A\b|\b(A)(?= {{1,20}}(?!{_AFTER_A_NAME}\b)[^\W\d_])", re.IGNORECASE)
# Behind "A:" these go on about A, all else is what A says.
_ABOUT_IT = r"(?:it|its|because|since|as|this|that|more|better|clearer|due|the better)\b"

_PLACED = r"(?:one|output|response|answer|assistant|model|option)"
_TIED_NEEDS = (
    *(
        "tie",
        "draw",
        "toss",
        "equal",
        "same",
        "winner",
        "differ",
        "neither",
        " par",
        "identical",
        "comparable",
        "similar",
    ),
    *("equivalent", "gleich", "se valent", "igual", "aussi", "livello", "even goed", "одинаково", TIE),
)
_CLAIMS = re.compile(
    r"\b(?:argues|believes|claims|says|states|thinks|suggests|asserts|contends|maintains|concludes|prefers)\b"
)
_STOP = r"(?= {0,12}(?:[.!,;\"'})\n]|\Z))"
_TIED = (
    rf"(?:(?:(?:it is|it's|this is) {{1,4}})?(?:an? )?(?:tie|draw|toss-?up|dead heat|match nul){_STOP}"
    rf"|(?:both|they|these)(?: are)?(?: equally)? (?:equal|tied|the same){_STOP}"
    rf"|(?:equal|(?:the )?same|equally (?:good|bad)|tied|no (?:clear )?(?:winner|preference|difference)){_STOP}|{TIE})"
)
# Of a winner or a verdict only: "Winner: both".
_NAMED_TIED = rf"(?:{_TIED}|(?:both|neither|none|no one|nobody){_STOP})"
_EQUALLY = (
    r"(?:(?:about|roughly|more or less|essentially|practically|virtually|basically|nearly|almost|both|"
    r"completely|very) )?"
    r"(?:equally [a-z]{3,20}|equal(?: (?:in|to) [a-z ]{3,40})?|tied|on par|the same|identical|equivalent|comparable|"
    r"of (?:equal|the same|comparable|similar) (?:quality|value|merit|standard))"
)
# Not where it goes on with "but", or is equal in one thing only.
_EQUALLY_ELSEWHERE = (
    r"(?:gleich (?:gut|stark|schlecht)|se valent|aussi bonnes? l'une? que l'autre|igual de [a-z]{3,20}|"
    r"igualmente [a-z]{3,20}|"
    r"ugualmente [a-z]{3,20}|allo stesso livello|even goed|одинаково [а-я]{3,20})"
)
_NOT_SO = (
    rf"(?![^\n.!?,;]{{0,40}}(?:\b(?:not|never|neither|nor|worse|weaker|inferior|less|fails?|lacks?)\b|n't\b|{NOT}))"
)
_NO_BUT = r"(?![^\n.;]{0,40}(?:\b(?:but|however|though|although|except|in (?!quality|value|every))\b|\bstyle\b))"


class PreferenceReader:
    """Reads one of two or three `labels`: for the first response shown, for the second, for a tie.

    A label of one character is also found behind a noun or in parentheses: "Response A", "Output (a)", "(A)". With
    three labels a tie is read in words too, and from [[C]]. Where `graded`, only comparisons are read: "[[A>>B]]" is 1,
    "[[A>B]]" 0.75, "[[A=B]]" 0.5.
    """

    def __init__(self, labels: Sequence[str], graded: bool = False) -> None:
        self.labels = dict(zip(labels, VALUES, strict=False))
        short = [label for label in labels if len(label) == 1]
        self._letters = {plain(label) for label in short}
        self._has_tie = len(labels) > 2
        self._scale = _Sides(labels, short, graded)
        letters = "|".join(map(re.escape, short))
        self._about = re.compile(rf"{_ABOUT}(?:{_NOUN} )?\(?({letters})(?!\w)", re.IGNORECASE)
        self._heading = re.compile(
            rf"^[^\w\n]{{0,12}}(?:{_NOUN} )?\(?({letters})(?:\)?[*_ ]{{0,20}}[:.]|\)(?<!\(.\)))[*_]{{0,20}}"
            r"(?= {0,20}\S)",
            re.IGNORECASE | re.MULTILINE,
        )
        self._only_heading = re.compile(rf"\A\s{{0,20}}({letters})(?=: {{1,9}}(?!{_ABOUT_IT})\S)", re.IGNORECASE)

    def find(self, text: str) -> Verdict | None:
        """The choice, as the preference for the first, and the place of its label in `text`."""
        return find(self._labels_only(text), self._scale)

    def _labels_only(self, text: str) -> str:
        """The text with spaces for letters that are no labels."""
        if not self._letters:
            return text
        head, tail = ends(text)
        cleaned = self._cleaned(text[:head] + text[tail:])
        return cleaned if head == tail else cleaned[:head] + " " * (tail - head) + cleaned[head:]

    def _cleaned(self, text: str) -> str:
        text = self._about.sub(_blank, text)
        if self._has_tie and "c" not in self._letters:
            text = text.replace("[[C]]", f"[[{TIE}]]")
        if len({match[1].casefold() for match in self._heading.finditer(text)}) > 1:
            text = self._heading.sub(_blank, text)
        text = self._only_heading.sub(_blank, text)
        return _ARTICLE.sub(_blank, text) if "a" in self._letters else text


class _Sides(Labels):
    """The scale of a choice: labels, what they are called behind a noun, comparisons, and ties in words."""

    def __init__(self, labels: Sequence[str], short: Sequence[str], graded: bool) -> None:
        super().__init__(dict(zip(labels, VALUES, strict=False)))
        self._shown = frozenset(labels)
        self._graded, self._tie = graded, VALUES[2] if len(labels) > 2 else None
        letter = alternatives(dict.fromkeys(short)) or "(?!)"
        words = alternatives(dict.fromkeys(label for label in labels if label not in short)) or "(?!)"
        # The mark of a noun stands where foreign words stood, which are longer: spaces may follow.
        lettered, placed = rf"(?:(?:{_NOUN} {{1,3}}|{NOUN} {{0,9}})(?:\((?:{letter})\)|(?:{letter}))", ""
        if {"a", "b"} <= {plain(label) for label in short}:
            placed = rf"|(?:first|second) {_PLACED}|{_PLACED} [12]"
        lettered, named = f"{lettered})", f"{lettered}{placed})"
        who = rf"(?:{words}|{named}|\((?:{letter})\)|{letter})"
        self._start = re.compile(rf"{BEGIN}{who}")
        sides = rf"(?P<left>{who}) {{0,2}}(?P<op>[<>]{{1,3}}|={{1,2}}|[≈≻≺]) {{0,2}}(?P<right>{who})"
        self.words, one = who, self.token_of(who)
        by_letter = rf"(?:{words}|{lettered}|\((?:{letter})\)|{letter})"
        every, alone = (
            one.replace(f"(?P<n>{who})", f"(?P<n>{sides}|{said}|(?P<tie>{tied}))")
            for said, tied in ((who, _NAMED_TIED), (by_letter, _TIED))
        )
        self.token = every
        self.correction = stated(every)
        nouns = rf"(?:{NAMED}|{CHOSEN})"
        them = rf"(?:(?:both|the two|the)(?: of (?:them|these|the two))?(?: {_NOUN}s)?|they|{who} and {who}|{_NOUN}s)"
        tied = (
            rf"{BEGIN}(?P<n>(?P<tie>(?:it's|it is|this is|that is|(?:call|declare|consider|rate|deem|"
            rf"judge) (?:it|this|them|that)|declare|ends? in|result is|"
            rf"as) {{1,4}}(?:an? )?"
            rf"(?:clear |near |perfect |close )?(?:tie|draw|toss-?up|equal)|(?:they|{who} and {who}) tie|"
            rf"{them} (?:are|seem|look|{IS}) {_EQUALLY}"
            rf"|(?:there is |there's )?no (?:clear |real |obvious )?(?:winner|difference in quality)|"
            rf"neither(?: (?:one|{_NOUN}))?"
            rf"(?: of (?:them|the two))? is (?:clearly |really )?(?:better|superior|preferable)|"
            rf"both(?: {_NOUN}s)? (?:tie|are a tie)|{_EQUALLY_ELSEWHERE}|{TIE})){END}(?P<bad>(?!))?{_NO_BUT}"
            r"(?= {0,12}(?:[^\w\s]|\n|\Z|[\u3040-\uffff]|(?:in (?:quality|value|every)|for|and|so|overall|at|with|"
            r"as|than|because|since|of|here)\b))"
        )
        # "A is better at style, B at content"
        alike = (
            rf"(?![^\n.]{{0,60}}(?:,|\bbut|\bwhile|\bwhereas) {{1,3}}(?:and |but |while )?{who} (?:at|in|on|has|"
            rf"wins)\b)"
        )
        better = rf"{one}{IS_BETTER}{alike}"
        wins = (
            rf"{one}(?: (?:slightly|clearly|narrowly|easily|just|still))? (?:wins|beats|outperforms|surpasses|"
            rf"outshines|exceeds|"
            rf"edges out|over|has the edge|is the (?:correct|right|best|better) (?:answer|choice|response|one|option)|"
            rf"comes out (?:ahead|on top))"
            rf"{END}"
        )
        prefer = (
            rf"(?:{BEGIN}(?:i|we)(?:'d|'ll)?(?: would| will| do| must)?(?: [a-z]{{1,12}})? (?:prefer|choose|"
            rf"pick|select|go with|"
            rf"vote for|favou?r|opt for)(?: the)?|vote (?:goes to|is for)|{PREFER}[^\n.;:]{{0,12}}?) {{0,9}}{one}"
        )
        worse = rf"(?:worse|weaker|inferior|less [a-z]{{3,20}}) (?:than|to) (?:the )?{one}"
        surely = r"(?: (?:therefore|thus|clearly|indeed))?"
        winner = rf"{BEGIN}(?:{CHOSEN}|{NAMED}) (?:is|would be){surely}:? {one}(?= {{0,3}}(?:[.,;!\n]|\Z))"
        best = rf"(?:{BETTER}的? {{0,12}}{NOUN}|{NOUN} {{0,12}}{BETTER}) {{0,12}}[{IS}:] {{0,12}}{one}"
        hence = rf"\b{SO},? {{1,3}}{one}(?= {{0,3}}(?:[.!](?!\w)|\n))"
        opens = r"(?= {0,12}(?:[.,;:!\n]|\Z))"
        statement = rf"(?:^|[.!?] ) {{0,3}}{one}{IS_BETTER}(?= {{0,3}}(?:[.!\n]|\Z|because|since))"
        self.tiers: tuple[Tier, ...] = (
            *labelled(every, nouns, NAMED),
            by_itself(alone),
            tier(
                *better_overall(one, better, opens),
                stated(rf"\A\s{{0,20}}{tied}", *_TIED_NEEDS),
                stated(prefer, "prefer", "choose", "pick", "select", "go with", "vote ", "favo", "opt for", PREFER),
                stated(winner, " is", " would be"),
                stated(best, BETTER),
                hence,
                stated(statement, *IS_BETTER_NEEDS),
                unquoted=True,
                weak=True,
            ),
            tier(
                stated(
                    rf"{better}(?= {{0,12}}(?:[^\w\s]|\n|\Z|(?:than|because|since|as|overall|choice|at|for|due|"
                    rf"by|in|to|and|"
                    rf"response|answer|output|one|option|assistant)\b|{BETTER}|[\u3040-\uffff]))",
                    *IS_BETTER_NEEDS,
                    leads=True,
                ),
                stated(wins, leads=True),
                stated(worse, "worse", "weaker", "inferior", "less "),
                stated(tied, *_TIED_NEEDS),
                unquoted=True,
                weak=True,
            ),
        )
        # Mentioned in passing, only a name is a verdict: letters and "tie" are too common.
        mentioned = self.token_of(lettered) if short else one
        self.tiers += (tier(stated(rf"(?P<mention>){mentioned}{_NOT_SO}", leads=True), unquoted=True, weak=True),)

    def worth(self, said: str) -> float | None:
        """What the first or the second response is called is worth, by whichever of its names."""
        flat = own_case(said) if self._exact else spelled(said)
        last = flat.replace(NOUN, " ").rpartition(" ")[2].strip("()")
        for name in (flat, last, last[-1:]):
            if name in self._values:
                return self._values[name]
        return VALUES[0] if flat.startswith("first ") or last == "1" else VALUES[1]

    def value(self, match: re.Match[str], weak: bool, raw: str = "") -> float | None:
        """What the match prefers; NaN for what somebody else is said to claim."""
        known, at = match.re.groupindex, match.start("n")
        if weak and _CLAIMS.search(clause(match.string, at)):
            return math.nan
        if "mention" in known and raw.endswith("a") and "A" in self._shown:
            return math.nan  # "output a list"
        if "tie" in known and match["tie"] is not None:
            denied = weak and is_denied(match.string, at, at)
            return None if match["bad"] or denied else self._tie
        if "op" in known and match["op"] is not None:
            return None if match["bad"] else self._compared(match, raw)
        value = super().value(match, weak, raw)
        return None if self._graded and value != self._tie else value

    def place(self, match: re.Match[str]) -> tuple[int, int]:
        """Where the match says it: at the letter of the better one."""
        start, end = match.span("n")
        if "op" in match.re.groupindex and match["op"] is not None:
            start, end = match.span("right" if match["op"][0] in "<≺" else "left")
        said = match.string[start:end]
        letters = [at for at, character in enumerate(said) if character.isalnum()]
        behind = said.rstrip(" )")
        if len(letters) > 1 and (" " in behind or "(" in behind) and said[:6] not in ("first ", "second"):
            return start + letters[-1], start + letters[-1] + 1
        return start, end

    def _compared(self, match: re.Match[str], raw: str) -> float | None:
        at = match.start("n")
        left, right = (
            self.worth(raw[slice(*(place - at for place in match.span(side)))] if self._exact else match[side])
            for side in ("left", "right")
        )
        if left == right or (self._tie is not None and self._tie in (left, right)):
            return None
        op = match["op"]
        if op[0] in "=≈":
            return self._tie
        better = left if op[0] in ">≻" else right
        return GRADES[">>" if len(op) > 1 else ">"][better != 1.0] if self._graded else better


def _blank(match: re.Match[str]) -> str:
    if match[1] is None:
        return match[0]
    start, end = (at - match.start() for at in match.span(1))
    return match[0][:start] + " " * (end - start) + match[0][end:]
