"""Runs one step of a judge. An exception in its code, or an invalid score, becomes the row's error.

Knows the words of types.py; sends nothing.
"""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from scorer.errors import RowError, ScorerError, Unreadable, whole
from scorer.types import Request, Score

SHOWN = 80
"""Characters of a value that an error quotes."""


def next_requests(step: Callable[[Any], list[Request]], replies: Any) -> list[Request]:
    """The judge's next requests: `step` is `next` or the conversation's `send`.

    Raises StopIteration with the score, what the judge says on purpose, and Unreadable for anything else: the row's
    replies are kept, and a judge that is mended can read them again.
    """
    try:
        return step(replies)
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
