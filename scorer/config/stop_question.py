"""`stop.question` as a value: the best system, the top K, the ranking, means, or one system against another."""

from __future__ import annotations

from typing import Literal

from scorer.frozen import dataclass
from scorer.patterns import pattern

_TOP = pattern(r"top\s+([0-9]+)$")
_LESS = pattern(r"(.*\S)\s+-\s+([0-9.]+(?:[eE][-+]?[0-9]+)?)$")
ALLOWED = 'one of "best", "top 3", "ranking", "mean", "a > b", "a >= b", "a >= b - 0.1"'


@dataclass(frozen=True, slots=True)
class Question:
    """`top` is K of `top K`. `a` and `b` are the systems of a comparison: whether the mean of `a` is above that of `b`.

    `allowed` is how much lower `a` may be, in points of the score; `strict` is True for `>`. `text` is as given.
    """

    text: str
    kind: Literal["best", "top", "ranking", "mean", "compare"]
    top: int = 1
    a: str = ""
    b: str = ""
    allowed: float = 0.0
    strict: bool = False


def parse_question(text: str) -> Question:
    """The question. A system's name may be in double quotes. Raises ValueError with what is allowed."""
    words = text.strip()
    if words == "best" or words == "ranking" or words == "mean":
        return Question(words, words)  # type: ignore[arg-type]
    if (found := _TOP.match(words)) is not None and int(found[1]) > 0:
        return Question(words, "top", top=int(found[1]))
    for sign in (" >= ", " > "):
        a, is_there, rest = words.partition(sign)
        if not is_there:
            continue
        allowed, strict = 0.0, sign == " > "
        if not strict and (less := _LESS.match(rest.strip())) is not None:
            rest, allowed = less[1], float(less[2])
        a, b = _name(a), _name(rest)
        if a and b and a != b:
            return Question(words, "compare", a=a, b=b, allowed=allowed, strict=strict)
    raise ValueError(f"must be {ALLOWED}, with the names of two systems for a and b")


def is_question(text: str) -> str:
    """The same text. Raises ValueError as `parse_question`."""
    parse_question(text)
    return text


def _name(text: str) -> str:
    name = text.strip()
    return name[1:-1] if len(name) > 1 and name[0] == name[-1] == '"' else name
