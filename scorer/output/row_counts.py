"""Counts of result rows: how many, by what they ended in, and the sums of their tokens and costs. Knows no files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field

import numpy as np
import pyarrow as pa

from scorer.frozen import dataclass
from scorer.output.schema import COPIED, METRIC
from scorer.types import Result

FEW_VALUES, LEAST_SUMMED = 4096, 8
"""Up to so many values are counted without pyarrow.compute, which takes 20 ms to load; from so many on, numpy sums."""


@dataclass(slots=True)
class Counts:
    """Sums over result rows. `cost_microusd` is rounded row by row; the ledger has the exact money."""

    rows: int = 0
    scored: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    cost_microusd: int = 0
    attempts: int = 0
    copied: int = 0
    reasoning_tokens: int = 0
    unmeasured: dict[str, int] = field(default_factory=dict, compare=False)
    """Rows without an automatic metric, by its name: without a text, or it failed. Earlier files lack it."""
    tiers: dict[str, int] = field(default_factory=dict, compare=False)
    """Rows by the service tier that their replies name. Earlier files lack it."""

    def add(self, other: Counts) -> None:
        self.rows += other.rows
        self.scored += other.scored
        self.prompt_tokens += other.prompt_tokens
        self.completion_tokens += other.completion_tokens
        self.cached_tokens += other.cached_tokens
        self.reasoning_tokens += other.reasoning_tokens
        self.cost_microusd += other.cost_microusd
        self.attempts += other.attempts
        self.copied += other.copied
        _add(self.errors, other.errors)
        _add(self.unmeasured, other.unmeasured)
        _add(self.tiers, other.tiers)

    def note(self, result: Result) -> None:
        """Counts a result: rows, scored, errors, tiers and copied alone."""
        self.rows += 1
        if result.error is None:
            self.scored += 1
        else:
            self.errors[result.error.name] = self.errors.get(result.error.name, 0) + 1
        if result.copied_from is not None:
            self.copied += 1
        if result.usage is not None and (tier := result.usage.tier) is not None:
            self.tiers[tier] = self.tiers.get(tier, 0) + 1

    def became(self, before: Result, now: Result) -> None:
        """Corrects the counts where a result that was noted as `before` is stored as `now`."""
        if before.error is None and now.error is not None:
            self.scored -= 1
            self.errors[now.error.name] = self.errors.get(now.error.name, 0) + 1

    @property
    def failed(self) -> int:
        return self.rows - self.scored

    @classmethod
    def of(cls, table: pa.Table | pa.RecordBatch) -> Counts:
        names = table.schema.names
        named = {name: _by_value(table.column(name)) for name in BY_NAME if name in names}
        sums = {name: _sum(table.column(name)) for name in SUMS if name in names}
        nulls = {name: table.column(name).null_count for name in metric_names(names)}
        return cls(
            rows=table.num_rows,
            scored=table.num_rows - table.column("score").null_count,
            errors=named["error"],
            tiers=named.get("tier", {}),
            copied=table.num_rows - table.column(COPIED).null_count if COPIED in names else 0,
            unmeasured={name.removeprefix(METRIC): count for name, count in nulls.items() if count},
            **sums,
        )

    @classmethod
    def of_parts(cls, table: pa.Table, lengths: Sequence[int]) -> Iterator[Counts]:
        """The counts of so many neighbouring rows of a small table at a time; each column is read once for all."""
        wanted = [name for name in table.schema.names if name in _COUNTED or name.startswith(METRIC)]
        columns = {name: table.column(name).to_pylist() for name in wanted}
        at = 0
        for rows in lengths:
            part = {name: column[at : at + rows] for name, column in columns.items()}
            nulls = {name: part[name].count(None) for name in metric_names(table.schema.names)}
            yield cls(
                rows=rows,
                scored=rows - part["score"].count(None),
                errors=_how_often(part["error"]),
                tiers=_how_often(part.get("tier", [])),
                copied=rows - part[COPIED].count(None) if COPIED in part else 0,
                unmeasured={name.removeprefix(METRIC): count for name, count in nulls.items() if count},
                **{name: sum(filter(None, part[name])) for name in SUMS if name in part},
            )
            at += rows


def _add(mine: dict[str, int], other: Mapping[str, int]) -> None:
    for name, count in other.items():
        mine[name] = mine.get(name, 0) + count


YOUNGER = ("copied", "unmeasured", "reasoning_tokens", "tiers")
"""Counts that files of earlier versions lack."""
SUMS = ("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens", "cost_microusd", "attempts")
BY_NAME = ("error", "tier")
"""Columns whose values are counted one by one."""
_COUNTED = frozenset((*SUMS, *BY_NAME, "score", COPIED))


def _how_often(values: Sequence[str | None]) -> dict[str, int]:
    """How often each value occurs, nulls aside."""
    return dict(Counter(filter(None, values))) if any(values) else {}


def _by_value(column: pa.Array | pa.ChunkedArray) -> dict[str, int]:
    """How often each value occurs, nulls aside. pyarrow.compute takes 20 ms to load: a window does without it."""
    if column.null_count == len(column):
        return {}
    if len(column) <= FEW_VALUES:
        return dict(Counter(value for value in column.to_pylist() if value is not None))
    return {v["values"].as_py(): v["counts"].as_py() for v in column.drop_null().value_counts()}


def _sum(column: pa.Array | pa.ChunkedArray) -> int:
    """The sum of whole numbers, nulls aside; without pyarrow.compute too."""
    total = 0
    for chunk in column.chunks if isinstance(column, pa.ChunkedArray) else [column]:
        if not chunk.null_count and len(chunk) >= LEAST_SUMMED:
            total += int(chunk.to_numpy().sum(dtype=np.int64))
        elif chunk.null_count < len(chunk):
            total += sum(filter(None, chunk.to_pylist()))
    return total


def metric_names(names: Sequence[str]) -> list[str]:
    """The columns of metrics among the names of a result table."""
    return [name for name in names[names.index("generation") + 1 :] if name.startswith(METRIC)]
