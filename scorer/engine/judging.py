"""Runs one step of a judge. An exception in its code, or an invalid score, becomes the row's error.

Knows the words of types.py; sends nothing.
"""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol, TypeVar, runtime_checkable

from scorer.errors import RowError, ScorerError, Unreadable, whole
from scorer.types import Completion, Request, Row, Score

T = TypeVar("T")
SHOWN = 80
"""Characters of a value that an error quotes."""


@runtime_checkable
class SingleRequestJudge(Protocol):
    """A judge that scores most rows by one reply. Such a row needs no conversation, and its result is the same."""

    def single_request(self, row: Row) -> Request | None:
        """The one request of the conversation's first step; None where that has several."""
        ...

    def single_score(self, answer: Completion | RowError) -> Score | None:
        """The score that the conversation returns on this answer; None where it may do anything else."""
        ...


def judge_step(step: Callable[[Any], T], given: Any) -> T:
    """What the judge does next, such as its next requests: `step` is `next`, the conversation's `send` or the like.

    Raises StopIteration with the score, what the judge says on purpose, and Unreadable for anything else: the row's
    replies are kept, and a corrected judge can read them again.
    """
    try:
        return step(given)
    except (StopIteration, ScorerError, MemoryError):
        raise
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        raise Unreadable(
            f"the judge failed on this row: {type(error).__name__}: {error} ({where.name}, line {where.lineno})"
        ) from error


def checked_score(made: Any) -> tuple[Score | None, RowError | None]:
    """The score that a judge returned, or the row error where it is not valid on the scale."""
    try:
        if math.isfinite(made.value):
            return (made if made.reason is None and not made.fields else _written(made)), None
        said = f"the judge made the score {made.value}, which is no finite number"
    except (AttributeError, TypeError, ValueError, OverflowError):
        said = f"the judge made {repr(getattr(made, 'value', made))[:SHOWN]}, which is no score"
    return None, Unreadable(said)


def _written(score: Score) -> Score:
    """The score with texts that a file can hold: a verdict in JSON may escape half of a surrogate pair."""
    reason = None if score.reason is None else whole(score.reason)
    fields = {name: whole(value) if isinstance(value, str) else value for name, value in score.fields.items()}
    return score if reason == score.reason and fields == score.fields else replace(score, reason=reason, fields=fields)
