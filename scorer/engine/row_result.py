"""Puts a row's result together: its score or error, and the replies, tokens, cost and seconds of all its requests."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from scorer.errors import RowError
from scorer.types import Completion, Result, Row, Score
from scorer.usage import Spent


def result_of(
    row: Row,
    score: Score | None,
    error: RowError | None,
    answers: Sequence[Completion | RowError],
    *,
    raw_of: Callable[[Completion], str] | None,
    now_us: int,
) -> Result:
    """The result of a row that ends at `now_us`, with what `raw_of` keeps of its replies; None for nothing."""
    model = finish_reason = fingerprint = None
    raw: list[str | None] = []
    spent: Spent | None = None
    for answer in answers:
        if isinstance(answer, Completion):
            model, finish_reason, fingerprint = answer.model, answer.finish_reason, answer.system_fingerprint
            raw.append(raw_of(answer) if raw_of is not None else None)
        else:
            raw.append(None)
        if answer.spent is not None:
            spent = answer.spent if spent is None else spent + answer.spent
    if spent is None:
        spent = Spent()
    return Result(
        row=row,
        score=score,
        error=error,
        raw=tuple(raw) if raw_of is not None and raw else None,
        model=model,
        finish_reason=finish_reason,
        usage=spent.usage,
        cost_pico=spent.cost_pico,
        attempts=spent.attempts,
        waited_s=spent.waited_s,
        answered_s=spent.answered_s,
        finished_at=now_us,
        system_fingerprint=fingerprint,
    )
