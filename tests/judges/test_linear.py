"""Promise: no reply is slow to read. Every repetition in a pattern that meets replies is bounded, and so is the text.

A search with bounded repetitions takes time linear in the text, whatever the text; a clock would tell less.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator
from re import _constants as codes  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

import pytest
from driver import talk

from scorer import judges
from scorer.errors import Unreadable
from scorer.judges.checklist import Checklist
from scorer.judges.pairwise import Pairwise
from scorer.judges.rating import Rating
from scorer.judges.reading.labels import Labels
from scorer.judges.reading.numbers import Numbers
from scorer.judges.reading.preferences import PreferenceReader
from scorer.judges.reading.reply_body import read_ends
from scorer.judges.reading.scales import named_tiers
from scorer.judges.reading.statements import Statement
from scorer.judges.versus import VersusReference
from scorer.types import Judge, Row

NOT_OF_REPLIES = {"template._PIECES", "template._NOT_IN_A_TAG"}
"""They meet the run file's prompt and the names of columns."""

REPEATS = (codes.MAX_REPEAT, codes.MIN_REPEAT, codes.POSSESSIVE_REPEAT)


def patterns_in(thing: Any, seen: set[int]) -> Iterator[re.Pattern[str]]:
    """Every compiled pattern that a value of this package holds, however deep."""
    if isinstance(thing, re.Pattern):
        yield thing
    elif isinstance(thing, Statement):
        yield thing.pattern
    elif isinstance(thing, list | tuple):
        for one in thing:
            yield from patterns_in(one, seen)
    elif isinstance(thing, dict):
        yield from patterns_in(list(thing.values()), seen)
    elif type(thing).__module__.startswith("scorer.judges") and id(thing) not in seen:
        seen.add(id(thing))
        names = (*getattr(type(thing), "__slots__", ()), *getattr(thing, "__dict__", ()))
        yield from patterns_in([getattr(thing, name) for name in names], seen)


def all_patterns() -> dict[str, str]:
    """The patterns that meet replies, by a name for messages."""
    found: dict[str, str] = {}
    for module in pkgutil.walk_packages(judges.__path__, f"{judges.__name__}."):
        held = vars(importlib.import_module(module.name))
        short = module.name.rpartition(".")[2]
        named = {f"{short}.{name}": value for name, value in held.items() if isinstance(value, re.Pattern)}
        found |= {name: value.pattern for name, value in named.items() if name not in NOT_OF_REPLIES}
    scales = (Numbers(1, 5), Numbers(-2, 2), Labels({"yes": 1, "very good": 0}))
    made = [
        *scales,
        *(named_tiers("wit", scale) for scale in scales),
        PreferenceReader(("A", "B", "tie")),
        PreferenceReader(("one", "two")),
    ]
    for number, pattern in enumerate(patterns_in(made, set())):
        found[f"made {number}: {pattern.pattern[:60]}"] = pattern.pattern
    return found


def unbounded(parsed: Any) -> Iterator[str]:
    """The repetitions of a parsed pattern that have no upper bound."""
    for code, argument in parsed:
        if code in REPEATS:
            _, most, inner = argument
            if most == codes.MAXREPEAT:
                yield str(inner)
            yield from unbounded(inner)
        elif code is codes.BRANCH:
            for branch in argument[1]:
                yield from unbounded(branch)
        elif code is codes.SUBPATTERN:
            yield from unbounded(argument[3])
        elif code in (codes.ASSERT, codes.ASSERT_NOT):
            yield from unbounded(argument[1])
        elif code is codes.ATOMIC_GROUP:
            yield from unbounded(argument)
        elif code is codes.GROUPREF_EXISTS:
            for branch in argument[1:]:
                yield from unbounded(branch or ())


def test_reading_patterns_have_only_bounded_repetitions() -> None:
    patterns = all_patterns()
    assert len(patterns) > 40  # or the search above misses them
    assert {name: loose for name, text in patterns.items() if (loose := list(unbounded(parser.parse(text))))} == {}


@pytest.mark.parametrize("loose", ["a+", "(?:ab)*?c", "(?=x*)", "(a)(?(1)b+|c)", "(?>a*)", "a++", "a|b*"])
def test_unbounded_finds_repetition_without_bound(loose: str) -> None:
    assert list(unbounded(parser.parse(loose)))
    assert not list(unbounded(parser.parse(loose.replace("*", "{0,9}").replace("+", "{1,9}").replace("}{1,9}", "}"))))


@pytest.mark.parametrize("before", ["", "<think>hm</think>"])
def test_read_ends_keeps_both_ends_of_long_reply(before: str) -> None:
    text = f"{before}head" + "x" * 1_000_000 + "tail"
    read = read_ends(text)
    assert len(read) == len(text)
    assert len(read.replace(" ", "")) == len(before) + 16_000
    assert (read.startswith(f"{before}head"), read.endswith("tail")) == (True, True)
    assert read_ends(text[:15_000]) == text[:15_000]


ROW = Row("s", 0, {"a": "x", "b": "y"})
JUDGES: dict[str, Judge] = {
    "number": Rating(prompt="{a}", attempts=1, reason="after"),
    "criteria": Rating(prompt="{a}", attempts=1, criteria=["wit", "tact"]),
    "json": Rating(prompt="{a}", attempts=1, read="json"),
    "label": Rating(prompt="{a}", attempts=1, read="label", labels=["bad", "good"]),
    "pairwise": Pairwise(prompt="{first}{second}", a="a", b="b", orders="given", attempts=1),
    "versus": VersusReference(prompt="{first}{second}", response="a", reference="b", orders="given", attempts=1),
    "checklist": Checklist(prompt="{a}", questions=["x", "y"], attempts=1),
}


@pytest.mark.parametrize("kind", JUDGES)
@pytest.mark.parametrize("unit", [" ", "7", "\n", "{", "Score:", '{"score":', "İ", "(", "1-"])
def test_judges_report_megabyte_without_verdict_as_unreadable(kind: str, unit: str) -> None:
    with pytest.raises(Unreadable):
        talk(JUDGES[kind], ROW, [unit * (1_000_000 // len(unit))])
