"""The table of systems of a choice: means, how far behind the best, costs, and which systems others beat."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from scorer.analysis.board import Board
from scorer.analysis.board_columns import average_columns
from scorer.analysis.choice_rule import Cost, on_front
from scorer.analysis.correlation import Floats
from scorer.analysis.rank_table import interval_columns, nullable, share_columns
from scorer.analysis.ranks import Leads
from scorer.analysis.system_means import SystemMeans, mean_over_tasks


def systems_table(rows: Board, boards: Sequence[SystemMeans], weights: Floats, at_most: Floats) -> pl.DataFrame:
    """A row for each system: its mean with its interval, and by how much the best is ahead of it."""
    overall = mean_over_tasks(boards, weights)
    means, drawn = overall.means, rows.drawn
    if rows.is_share:
        ends = share_columns(boards, weights, drawn)
    else:
        ends = interval_columns(means, overall.draws, overall.items, drawn, is_share=False)
    limit = np.where(np.isfinite(at_most), np.maximum(at_most, 0.0), np.nan)
    return pl.DataFrame(
        {
            "system": pl.Series(rows.systems, dtype=pl.String),
            "chosen": [False] * len(means),
            "mean": nullable(means),
            **ends,
            "behind": nullable(np.nanmax(means) - means),
            "behind_at_most": nullable(limit),
            "rows": overall.rows,
            "unread": overall.unread,
        }
    )


def cost_columns(
    rows: Board, costs: Sequence[Cost], weights: Floats, means: Floats, leads: Leads
) -> dict[str, pl.Series]:
    """Each cost by system, with its interval where it varies within a system; on_front and beaten_by."""
    columns: dict[str, pl.Series] = {}
    for cost in costs:
        found = average_columns(rows, cost.name, weights)
        if cost.is_boolean and not _varies(rows, cost.name):
            found[cost.name] = found[cost.name].cast(pl.Boolean)
        columns |= found if _varies(rows, cost.name) else {cost.name: found[cost.name]}
    less = [-cost.by_system(weights) if cost.is_boolean else cost.by_system(weights) for cost in costs]
    columns["on_front"] = pl.Series(on_front(less, means))
    columns["beaten_by"] = pl.Series(_beaten(rows.systems, less, leads), dtype=pl.String)
    return columns


def _varies(rows: Board, name: str) -> bool:
    values = rows.columns.floats(name)
    known = np.isfinite(values)
    low, high = (np.full(len(rows.systems), end) for end in (np.inf, -np.inf))
    np.minimum.at(low, rows.system[known], values[known])
    np.maximum.at(high, rows.system[known], values[known])
    return bool((high > low).any())


def _beaten(systems: Sequence[str], costs: Sequence[Floats], leads: Leads) -> list[str | None]:
    """For each system one that costs no more and is surely better."""
    found: list[str | None] = [None] * len(systems)
    for high, low, sure in zip(leads.high.tolist(), leads.low.tolist(), leads.sure.tolist(), strict=True):
        if sure and found[low] is None and all(cost[high] <= cost[low] for cost in costs):
            found[low] = systems[high]
    return found
