"""The known rows of `[canary]`: read once, and how far a judge's answer is from what is known of one."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeGuard

from scorer.analysis.score_range import scale_of_judge
from scorer.build.plan import RunPlan
from scorer.config.spec import Canary
from scorer.engine.choices import Answer
from scorer.engine.partial import Known, PartialAnswers
from scorer.errors import InputError, Refused, Rejected, TooLong, Truncated, Unreadable
from scorer.files.files import Files
from scorer.inputs.shards import find, first_look
from scorer.inputs.source import Columns, Reader
from scorer.output.canary_files import SHARD, CanaryAnswer
from scorer.output.layout import stems
from scorer.types import Result, Row, Store, Work

MOST_KNOWN = 20_000
_REPLIES = (Refused, Rejected, TooLong, Truncated, Unreadable)
"""Errors of a canary that are the judge's reply, and count as a loss of 1. Others say nothing of the judge."""


class CanaryPool:
    """Known rows, and how far a judge's answer is from what is known of one.

    `rows` are to be drawn from; a distance of scores of `width` is a loss of 1. `digest` changes with the known rows.
    """

    def __init__(self, known: Sequence[tuple[Row, float]], width: float) -> None:
        self.rows = [row for row, _ in known]
        self.width = width
        self.digest = hashlib.sha256(repr([(row, value) for row, value in known]).encode()).hexdigest()[:8]
        self._values = {(row.shard, row.number): value for row, value in known}

    def answer(self, result: Result, row: Row, took_s: float) -> CanaryAnswer:
        """The answer to a canary that was drawn as this known row, so many seconds before."""
        known, error, score = self._values[row.shard, row.number], result.error, result.score
        return CanaryAnswer(
            shard=row.shard.removeprefix(SHARD),
            row=row.number,
            known=known,
            score=None if score is None else score.value,
            loss=self._loss(result, known),
            error=None if error is None else error.name,
            error_detail=None if error is None else error.detail,
            reason=None if score is None else score.reason,
            raw=None if result.raw is None else list(result.raw),
            judge_model=result.model,
            system_fingerprint=result.system_fingerprint,
            prompt_tokens=None if result.usage is None else result.usage.prompt_tokens,
            completion_tokens=None if result.usage is None else result.usage.completion_tokens,
            cost_microusd=None if result.cost_pico is None else -(-result.cost_pico // 10**6),
            asked_at=result.finished_at - int(took_s * 1e6),
            finished_at=result.finished_at,
        )

    def _loss(self, result: Result, known: float) -> float | None:
        """In [0, 1]; None where the answer says nothing of the judge."""
        if result.score is not None:
            return min(1.0, abs(result.score.value - known) / self.width)
        return 1.0 if isinstance(result.error, _REPLIES) else None


def known_rows(plan: RunPlan, files: Files, canary: Canary, say: Callable[[str], None]) -> CanaryPool:
    """The rows of `canary.shards` with their known values. Blocking.

    Rows without a value, or for which no request can be made, are left out, with a message to `say`. Raises InputError.
    """
    column = canary.human or canary.score or ""
    found = find(files, canary.shards)
    judged = plan.columns.judged
    columns = Columns(tuple(dict.fromkeys((*plan.judge.columns, column))), judged, ())
    shards = first_look(files, found, stems([stat.path for stat in found], {}), columns.all).shards
    reader = Reader(files, columns, count=lambda texts: [len(text) // 4 for text in texts], constant_tokens=0)
    rows: list[tuple[Row, float]] = []
    without = 0
    for shard in shards:
        for batch in reader.read(Work(shard)):
            for row in batch:
                value = row.values.get(column)
                if row.problem is not None or not _is_number(value):
                    without += 1
                elif len(rows) < MOST_KNOWN:
                    rows.append((replace(row, shard=f"{SHARD}{row.shard}"), float(value)))
    if not rows:
        raise InputError(
            f"canary.shards = {', '.join(canary.shards)} has no row with a number in the column {column!r} and with "
            "all columns of the prompt. Give known rows, or remove [canary]."
        )
    if without:
        say(f"{without:,} rows of canary.shards are left out: no number in {column!r}, or no request can be made.")
    return CanaryPool(rows, width_of(plan, canary))


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def width_of(plan: RunPlan, canary: Canary) -> float:
    """The distance of scores that is a loss of 1: `canary.range`, else the width of the judge's scale."""
    if canary.range is not None:
        return canary.range
    scale = scale_of_judge({"kind": plan.spec.judge.kind, **plan.spec.judge.options}, "score")
    assert scale is not None  # build/checks.py
    return scale[1] - scale[0]


class WithoutCanaries:
    """A store of which `take` gets the canaries."""

    def __init__(self, store: Store, take: Callable[[Result], None]) -> None:
        self._store, self._take = store, take

    def add(self, result: Result) -> None:
        if result.row.shard.startswith(SHARD):
            self._take(result)
        else:
            self._store.add(result)

    async def room(self) -> None:
        await self._store.room()


class RowsAlone:
    """The answers to rows that are not finished, without those to canaries: one that is cut off is asked no more."""

    def __init__(self, partial: PartialAnswers) -> None:
        self._partial = partial

    def known_of(self, row: Row) -> Known | None:
        return None if row.shard.startswith(SHARD) else self._partial.known_of(row)

    def keep(self, row: Row, answers: Sequence[Answer | None]) -> None:
        if not row.shard.startswith(SHARD):
            self._partial.keep(row, answers)

    def finished(self, row: Row) -> None:
        if not row.shard.startswith(SHARD):
            self._partial.finished(row)
