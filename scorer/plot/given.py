"""What a chart is made of: the result of an analysis, or a table that is analysed first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from scorer.errors import SpecError
from scorer.frames.analysis_results import ByScore

T = TypeVar("T")


def results(given: Any, kind: type[T], score: str, analyse: Callable[[], Mapping[str, T]]) -> dict[str, T]:
    """The results of a kind by their score columns: those given, or what `analyse` returns for a table.

    `score` is what a single result is called. Raises SpecError where the result of another analysis is given.
    """
    if isinstance(given, kind):
        return {score: given}
    if isinstance(given, ByScore):
        wrong = [type(one).__name__ for one in given.values() if not isinstance(one, kind)]
        if wrong or not given:
            raise SpecError([f"This chart draws a {kind.__name__}; given is {wrong[0] if wrong else 'nothing'}."])
        return dict(given)
    return dict(analyse())


def needed(name: str, value: Any, what: str) -> str:
    """A column that a table needs. Raises SpecError where it is not named."""
    if not value:
        raise SpecError([f"Give {name}=COLUMN, {what}; a finished result needs none."])
    return str(value)
