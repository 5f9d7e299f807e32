"""Which system is best, as far as it can be told: means by system and task, strengths from pairs, earned ranks.

A rank is 1 plus the number of systems that are better beyond doubt: those whose paired 95 % interval of the difference
lies above zero. So systems that cannot be told apart share a rank. Nothing is corrected for the number of pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from scorer.analysis.bootstrap import Interval, Resamples, are_shares, means_by_group, resample, share_interval
from scorer.analysis.correlation import Codes, Floats
from scorer.analysis.tables import codes_or_rows, collected, require, take
from scorer.errors import SpecError


@dataclass(frozen=True, slots=True)
class Leaderboard:
    """Two tables, best first.

    `systems`: rank, system, mean, low, high, rows, unread, then the facts and the averages asked for. With tasks the
    mean is that of the task means, each task counting alike, and null for a system that lacks one. `tasks`: the same by
    task (rank, task, system, mean, low, high, rows, unread); None without a task column.
    """

    systems: pl.DataFrame
    tasks: pl.DataFrame | None

    def json(self) -> dict[str, Any]:
        return {"systems": self.systems.to_dicts(), "tasks": None if self.tasks is None else self.tasks.to_dicts()}


def leaderboard(
    frame: pl.LazyFrame,
    score: str,
    system: str,
    *,
    task: str | None = None,
    item: str | None = None,
    averages: Sequence[str] = (),
    facts: Sequence[str] = (),
    replicates: int = 1000,
    seed: int = 0,
) -> Leaderboard:
    """The systems by their mean score, with intervals from the cluster bootstrap over items.

    `averages` are columns of numbers to average by system (cost, tokens, latency), `facts` columns that say one thing
    of each system (hosting, licence). Raises SpecError for columns that cannot serve, a fact that varies within a
    system, and where no row has a score.
    """
    columns = take(frame, [score, *averages], [name for name in (system, task, item) if name])
    told = _facts(frame, system, facts)
    values = columns.floats(score)
    of_system, systems = columns.codes(system)
    of_task, tasks = columns.codes(task) if task else (np.zeros(len(values), dtype=np.int64), [""])
    read = ~np.isnan(values)
    if not read.any():
        raise SpecError([f"No row has a value in {score}; a leaderboard needs scores."])
    is_share = are_shares(values)
    shape = (len(systems), len(tasks))
    cell = of_system * len(tasks) + of_task
    rows = np.bincount(cell[read], minlength=len(systems) * len(tasks)).reshape(shape)
    unread = np.bincount(cell[~read], minlength=len(systems) * len(tasks)).reshape(shape)
    drawn = resample(codes_or_rows(columns, item), replicates, seed) if replicates else None
    flat, flat_draws = means_by_group(values, cell, len(systems) * len(tasks), drawn)
    means, draws = flat.reshape(shape), flat_draws.reshape(-1, *shape)
    items = drawn.items_by_group(cell, flat.size, read).reshape(shape) if drawn else np.zeros(shape, dtype=np.int64)

    best = pl.DataFrame(
        {
            "system": systems,
            **_ranked(means.mean(axis=1), drawn, draws.mean(axis=2), items.sum(axis=1), is_share=is_share),
        }
    ).with_columns(rows=pl.Series(rows.sum(axis=1)), unread=pl.Series(unread.sum(axis=1)))
    extra = pl.DataFrame(
        [columns.names[system].cast(pl.String).alias("system"), *map(columns.numbers.__getitem__, averages)]
    )
    for further in (told, extra.group_by("system").mean()):
        best = best.join(further, on="system", how="left", maintain_order="left")
    by_task = [
        pl.DataFrame(
            {
                "task": tasks[t],
                "system": systems,
                **_ranked(means[:, t], drawn, draws[:, :, t], items[:, t], is_share=is_share),
            },
        ).with_columns(rows=pl.Series(rows[:, t]), unread=pl.Series(unread[:, t]))
        for t in range(len(tasks))
    ]
    order = pl.col("mean").is_null(), pl.col("rank"), -pl.col("mean")
    first = ["rank", "system"]
    return Leaderboard(
        systems=best.sort(*order, "system").select(*first, pl.exclude(first)),
        tasks=pl.concat(by_task).sort("task", *order, "system").select("rank", pl.exclude("rank")) if task else None,
    )


def bradley_terry(
    frame: pl.LazyFrame,
    a: str,
    b: str,
    preference: str,
    *,
    item: str | None = None,
    replicates: int = 1000,
    seed: int = 0,
) -> pl.DataFrame:
    """Strengths from pairwise verdicts, best first: rank, system, strength, low, high, win_rate, comparisons.

    `a` and `b` name the two systems of a row, `preference` is that for a in [0, 1]; a tie is half a win for each. The
    strengths are natural log-odds about their mean: a beats b with probability 1 / (1 + exp(strength b - strength a)).
    Raises SpecError for columns that cannot serve, preferences outside [0, 1], and where no finite strengths exist:
    some systems never lost to, or never met, the others.
    Source: Bradley and Terry (1952); the iteration and the condition: Hunter (2004), "MM algorithms for generalized
    Bradley-Terry models", Annals of Statistics 32(1), equation 3 and assumption 1.
    """
    if a == b:
        raise SpecError([f"Column {a} is named for both sides; name the column of the other system."])
    columns = take(frame, [preference], [name for name in (a, b, item) if name])
    values = columns.floats(preference)
    read = ~np.isnan(values)
    if ((values[read] < 0) | (values[read] > 1)).any():
        raise SpecError([f"Column {preference} leaves [0, 1]; it must be the preference for {a}, 0.5 for a tie."])
    both = pl.concat([columns.names[a].cast(pl.String), columns.names[b].cast(pl.String)]).cast(pl.String)
    systems = both.unique().sort().to_list()
    place = {name: number for number, name in enumerate(systems)}
    code = np.array([place[name] for name in both.to_list()], dtype=np.int64).reshape(2, -1)
    count = len(systems)
    kept = read & (code[0] != code[1])
    win = np.where(kept, values, 0.0)
    lose = np.where(kept, 1.0 - values, 0.0)
    forward, backward = code[0] * count + code[1], code[1] * count + code[0]

    wins = np.bincount(forward, win, minlength=count**2) + np.bincount(backward, lose, minlength=count**2)
    table = wins.astype(np.float64).reshape(1, count, count)
    strength = _strengths(table)[0]
    if np.isnan(strength).any():
        raise SpecError(
            ["No finite strengths exist: some systems never lost to the others, or never met them; add comparisons."]
        )
    drawn = resample(codes_or_rows(columns, item), replicates, seed) if replicates else None
    draws, items = np.empty((0, count)), np.zeros(count, dtype=np.int64)
    if drawn:
        items += drawn.items
        resampled = drawn.cells(forward, count**2, win) + drawn.cells(backward, count**2, lose)
        draws = _strengths(resampled.reshape(-1, count, count))
    met = table[0] + table[0].T
    return (
        pl.DataFrame({"system": systems, **_ranked(strength, drawn, draws, items)})
        .rename({"mean": "strength"})
        .with_columns(
            win_rate=pl.Series(table[0].sum(axis=1) / met.sum(axis=1)),
            comparisons=pl.Series(np.round(met.sum(axis=1)).astype(np.int64)),
        )
        .sort("rank", -pl.col("strength"), "system")
        .select("rank", pl.exclude("rank"))
    )


def _ranked(
    means: Floats, drawn: Resamples | None, draws: Floats, items: Codes, *, is_share: bool = False
) -> dict[str, list[Any]]:
    """Columns rank, mean, low, high of the systems, which rest on so many items; without resamples any lead counts."""
    count = len(means)

    def interval(i: int) -> Interval | None:
        if drawn is None or not np.isfinite(means[i]):
            return None
        if is_share:
            return share_interval(float(means[i]), draws[:, i], min(int(items[i]), drawn.items))
        return drawn.interval(draws[:, i], items=int(items[i]))

    intervals = list(map(interval, range(count)))

    def better(j: int, i: int) -> bool:
        if drawn is None:
            return bool(means[j] > means[i])
        gap = drawn.interval(draws[:, j] - draws[:, i], items=int(min(items[i], items[j])))
        return gap is not None and gap[0] > 0

    known = [i for i in range(count) if np.isfinite(means[i])]
    ranks = {i: 1 + sum(better(j, i) for j in known if means[j] > means[i]) for i in known}
    return {
        "rank": [ranks.get(i) for i in range(count)],
        "mean": [float(m) if np.isfinite(m) else None for m in means],
        "low": [None if interval is None else interval[0] for interval in intervals],
        "high": [None if interval is None else interval[1] for interval in intervals],
    }


def _strengths(wins: Floats) -> Floats:
    """Log-strengths of tables of wins (tables x winner x loser), about their mean; NaN where none are finite."""
    tables, count, _ = wins.shape
    reach = (wins > 0) | np.eye(count, dtype=bool)
    for _ in range(count.bit_length()):
        reach = (reach.astype(np.float32) @ reach.astype(np.float32)) > 0
    exists = reach.all(axis=(1, 2))
    met = wins + wins.transpose(0, 2, 1)
    won = wins.sum(axis=2)
    p = np.ones((tables, count))
    p[~exists] = np.nan
    for _ in range(2000):
        with np.errstate(invalid="ignore", divide="ignore"):
            new = won / (met / (p[:, :, None] + p[:, None, :])).sum(axis=2)
            new /= np.exp(np.log(new).mean(axis=1, keepdims=True))
        change = np.abs(np.log(new[exists] / p[exists])).max(initial=0.0)
        p = new
        if change < 1e-9:
            break
    p[~exists] = np.nan
    strengths: Floats = np.log(p)
    return strengths


def _facts(frame: pl.LazyFrame, system: str, facts: Sequence[str]) -> pl.DataFrame:
    require(frame.collect_schema(), [system, *facts])
    told = collected(
        frame.group_by(pl.col(system).cast(pl.String).alias("system")).agg(
            pl.col(name).drop_nulls().unique() for name in facts
        )
    )
    problems = []
    for name in facts:
        unsure = [(str(row["system"]), len(row[name])) for row in told.sort("system").to_dicts() if len(row[name]) > 1]
        if unsure:
            (of, count), others = unsure[0], len(unsure) - 1
            also = f", and several of {others} other systems" if others else ""
            problems.append(f"Column {name} says {count} things of {of}{also}; a fact must be one for each system.")
    if problems:
        raise SpecError(problems)
    return told.with_columns(pl.col(name).list.first() for name in facts)
