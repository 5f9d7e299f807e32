"""Keyword match and entity F1: the reference names items, and the response is searched for them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence

from scorer.frozen import dataclass
from scorer.metrics.protocol import Metric
from scorer.metrics.references import Reference

_SEPARATORS = re.compile(r"[,;\n]")
_BULLET = re.compile(r"(?:[-*•]|\d{1,3}[.)])\s+")
_AROUND = " \t\r\n.\"'`“”‘’"


def keyword_match(*, separator: str | None = None, case: bool = False) -> Metric:
    """The share of the reference's keywords that the response has as whole words, each keyword counted once.

    The reference is a list of keywords, or one text that `separator` divides (by default a comma, a semicolon or a line
    feed). Case counts only with `case`. None where the reference has no keyword. In a script without spaces between
    words a keyword is found only where it stands alone.
    """

    def score(response: str, keywords: list[str]) -> float | None:
        text = _spaced(response, case)
        wanted = {_spaced(keyword, case) for keyword in keywords}
        return sum(_has(text, keyword) for keyword in wanted) / len(wanted) if wanted else None

    return EachItems(score, _splitter(separator))


def entity_f1(*, separator: str | None = None, case: bool = False) -> Metric:
    """F1 of the entities that response and reference both list, counted as often as both have them.

    Two entities match when they are equal but for spacing, bullets, quotation marks around them and, without `case`,
    case. The response is divided by `separator` as the reference is; a reference may also be a list. Two texts without
    an entity are equal: 1; where only one has none: 0.

    Source: Tjong Kim Sang and De Meulder 2003, "Introduction to the CoNLL-2003 Shared Task", whose F1 counts an
    entity only as an exact match.
    """
    split = _splitter(separator)

    def score(response: str, entities: list[str]) -> float:
        given = Counter(_spaced(one, case) for one in split(response))
        wanted = Counter(_spaced(one, case) for one in entities)
        if not given or not wanted:
            return float(given == wanted)
        return 2 * (given & wanted).total() / (given.total() + wanted.total())

    return EachItems(score, split)


@dataclass(frozen=True, slots=True)
class EachItems:
    """A metric that looks at one response and the items of its reference: a list, or what `split` makes of a text."""

    score: Callable[[str, list[str]], float | None]
    split: Callable[[str], list[str]]

    @property
    def needs_reference(self) -> bool:
        return True

    @property
    def takes_lists(self) -> bool:
        """True: a list is the items of one reference, not several references."""
        return True

    def __call__(self, responses: Sequence[str | None], references: Sequence[Reference]) -> list[float | None]:
        return [
            None if response is None or reference is None else self.score(response, self._items(reference))
            for response, reference in zip(responses, references, strict=True)
        ]

    def _items(self, reference: str | Sequence[str]) -> list[str]:
        if isinstance(reference, str):
            return self.split(reference)
        return [item for text in reference if (item := _bare(text))]


def _splitter(separator: str | None) -> Callable[[str], list[str]]:
    """The function that divides a text into items."""

    def split(text: str) -> list[str]:
        parts = _SEPARATORS.split(text) if separator is None else text.split(separator)
        return [item for part in parts if (item := _bare(part))]

    return split


def _bare(item: str) -> str:
    return _BULLET.sub("", item.strip(), count=1).strip(_AROUND)


def _spaced(text: str, case: bool) -> str:
    return " ".join((text if case else text.casefold()).split())


def _has(text: str, keyword: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(keyword)}(?!\w)", text) is not None
