"""Patterns of a number as a verdict: the number, its unit and denominator, and what makes it a range, list or count.

They are applied to text that `plain` has normalised. Every repetition is bounded, so that a search takes linear time.
"""

from __future__ import annotations

from scorer.judges.reading.phrases import ALPHABET, BEGIN, END, LETTER, NUMBER_WORD

_DIGITS = r"(?:\d{1,9}+(?:\.\d{1,20}+)?+|\.\d{1,20}+)"
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
    rf"(?<![.,/$€£#+^×÷])(?<!\d:){BEGIN}(?<!{LETTER}-)(?P<n>(?:minus |negative )?(?:[-+]?{_DIGITS}|{NUMBER_WORD})){END}"
    rf"(?P<half> and a half)?+(?P<unit>{UNIT})?+"
    rf"(?:\)? {{0,9}}\(?{OF} {{0,9}}(?P<of>{_DIGITS}|{NUMBER_WORD}){END}{UNIT}?+)?+(?P<percent> ?(?:%|percent\b))?+"
    rf"(?P<bad>(?: {{0,3}}{_AND} {{0,3}}(?:an? )?|\.)[-+]?(?:\.?\d|{NUMBER_WORD}{END})|:\d"
    rf"| {{0,20}}\| {{0,20}}\d|[½¼¾之]| {{0,2}}[×÷^²³]|"
    rf" {{1,2}}\+ |-{ALPHABET}|\+(?!\d)"
    r"|-(?= {0,3}(?:\n|\Z|[.,;)/]))| (?:for|in|on) [^\n.;:\d]{1,40}?(?:,|and|but) {0,3}(?:an? )?\d{1,3} (?:for|"
    r"in|on)\b)?+"
)
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
