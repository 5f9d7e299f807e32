"""Leaderboards: means by system and task, Bradley-Terry strengths from pairs, ranks as intervals.

A rank is an interval: from 1 plus the number of systems that are surely better to the number of systems less those that
are surely worse. All these judgements hold together in 95 % of tables (`scorer.analysis.ranks`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from scorer.analysis.adjusted import adjust, has_holes
from scorer.analysis.bootstrap import Interval, Resamples, are_shares, means_by_group, resample, share_interval
from scorer.analysis.correlation import Codes, Floats
from scorer.analysis.ranks import Ranks, Standing, ranked
from scorer.analysis.score_range import Bounds, Range, bounds
from scorer.analysis.tables import codes_or_rows, collected, listed, require, take
from scorer.analysis.unread import UnreadDiffers, by_group
from scorer.analysis.unread import told as told_of
from scorer.errors import SpecError


@dataclass(frozen=True, slots=True)
class Leaderboard:
    """Two tables, best first, and what to know beside them; `unread` says whether rows are unread unevenly.

    `systems`: rank, rank_last, system, mean, low, high, raw, at_lowest, at_highest, rows, unread, then the facts and
    the averages asked for. `rank` is the best place that a system may have, `rank_last` the worst. Where items are
    named and some system lacks a score for one, `mean` is adjusted for the items and `raw` the plain mean; elsewhere
    both are that. `at_lowest` and `at_highest` are the mean with every unread row at that end of the scale, or of
    the observed scores; a note says which. With tasks the mean is that of the task means, each task counting alike, and
    null for a system that lacks one. `tasks`: the same by task (rank, rank_last, task, system, ...); None without a
    task column.
    """

    systems: pl.DataFrame
    tasks: pl.DataFrame | None
    notes: Sequence[str] = field(default=())
    unread: Sequence[UnreadDiffers] = field(default=())

    def json(self) -> dict[str, Any]:
        return {
            "systems": self.systems.to_dicts(),
            "tasks": None if self.tasks is None else self.tasks.to_dicts(),
            "notes": list(self.notes),
            "unread_differs": [one.json() for one in self.unread],
        }


def leaderboard(
    frame: pl.LazyFrame,
    score: str,
    system: str,
    *,
    task: str | None = None,
    item: str | None = None,
    averages: Sequence[str] = (),
    facts: Sequence[str] = (),
    scale: Range | None = None,
    replicates: int = 1000,
    seed: int = 0,
) -> Leaderboard:
    """The systems by their mean score, with intervals from the cluster bootstrap over items.

    `averages` are columns of numbers to average by system (cost, tokens, latency), `facts` columns that say one thing
    of each system (hosting, licence). Without `item` the systems are independent samples, and nothing is adjusted.
    A system is better than another only where it leads with unread rows at either end of the `scale` as well; without
    one, at the lowest and the highest observed score.
    The interval of a mean is that of this mean alone; the ranks of all systems hold together, and those of all tasks.
    Raises SpecError for columns that cannot serve, a fact that varies within a system, and where no row has a score.
    """
    columns = take(frame, [score, *averages], [name for name in (system, task, item) if name])
    told = _facts(frame, system, facts)
    values = columns.floats(score)
    of_system, systems = columns.codes(system)
    of_task, tasks = columns.codes(task) if task else (np.zeros(len(values), dtype=np.int64), [""])
    read = ~np.isnan(values)
    if not read.any():
        raise SpecError([f"No row has a value in {score}; a leaderboard needs scores."])
    of_item = codes_or_rows(columns, item)
    drawn = resample(of_item, replicates, seed) if replicates else None
    ends = bounds(values, scale)
    boards = []
    for t in range(len(tasks)):
        mine = of_task == t
        part = None if drawn is None else Resamples(drawn.weights, drawn.cluster[mine], drawn.items)
        boards.append(_board(values[mine], of_system[mine], len(systems), of_item[mine] if item else None, part, ends))
    shares = are_shares(values)
    overall = _together(boards)
    best = _table(systems, overall, drawn, is_share=shares, ranks=ranked([overall.standing()], drawn)[0])
    extra = pl.DataFrame(
        [columns.names[system].cast(pl.String).alias("system"), *map(columns.numbers.__getitem__, averages)]
    )
    for further in (told, extra.group_by("system").mean()):
        best = best.join(further, on="system", how="left", maintain_order="left")
    order = pl.col("mean").is_null(), -pl.col("mean")
    by_task = None
    if task:
        places = ranked([board.standing() for board in boards], drawn)
        named = [
            _table(systems, board, drawn, is_share=shares, ranks=ranks).with_columns(task=pl.lit(name))
            for board, ranks, name in zip(boards, places, tasks, strict=True)
        ]
        first = ["rank", "rank_last", "task"]
        by_task = pl.concat(named).sort("task", *order, "system").select(*first, pl.exclude(first))
    named_by = {system: (of_system, systems), **({task: (of_task, tasks)} if task else {})}
    differs = by_group(named_by, ~read, of_item)
    notes = [*_notes(boards, overall, systems), *([] if read.all() else [ends.note(score)]), *told_of(differs)]
    return Leaderboard(best.sort(*order, "system"), by_task, notes, differs)


@dataclass(frozen=True, slots=True)
class _Board:
    """The systems of one task, or of all; `draws` are the resampled means, `adjusted` says that `means` are not raw."""

    means: Floats
    raw: Floats
    draws: Floats
    influence: Floats
    items: Codes
    part: Codes
    ends: tuple[Floats, Floats]
    rows: Codes
    unread: Codes
    span: float
    adjusted: bool

    def standing(self) -> Standing:
        return Standing(self.means, self.influence, self.items, self.part, self.span, self.ends)


def _board(
    values: Floats, system: Codes, systems: int, item: Codes | None, drawn: Resamples | None, scale: Bounds
) -> _Board:
    read = np.isfinite(values)
    raw, draws = means_by_group(values, system, systems, drawn)
    low, high = scale.low, scale.high
    span = high - low or (1.0 if high in (0.0, 1.0) else 0.0)  # ones alone may be shares
    part = np.where(np.isfinite(raw), 0, -1)
    means, adjusted = raw, item is not None and has_holes(values, system, item)
    influence = np.empty((0, systems))
    if drawn is not None:
        count = np.bincount(system[read], minlength=systems)
        rest = np.where(read, values - raw[system], 0.0) / np.maximum(count, 1)[system]
        clusters = drawn.weights.shape[1]
        sums = np.bincount(drawn.cluster * systems + system, rest, minlength=clusters * systems)
        influence = sums.reshape(clusters, systems).astype(np.float64)
    if adjusted and item is not None and read.any():
        fit = adjust(values, system, systems, item, drawn)
        means, part, influence = fit.means, fit.part, fit.influence
        if drawn is not None:
            draws = means + drawn.weights @ influence
    filled = [np.where(read, values, end) for end in (low, high)]
    if item is not None and adjusted:
        at = [adjust(full, system, systems, item, None).means for full in filled]
    else:
        at = [means_by_group(full, system, systems, None)[0] for full in filled]
    ends = (np.where(np.isfinite(means), at[0], np.nan), np.where(np.isfinite(means), at[1], np.nan))
    items = np.zeros(systems, dtype=np.int64)
    if drawn is not None:
        items = np.minimum(drawn.items_by_group(system, systems, read), drawn.items)
    return _Board(
        means=means,
        raw=raw,
        draws=draws,
        influence=influence,
        items=items,
        part=part,
        ends=ends,
        rows=np.bincount(system[read], minlength=systems),
        unread=np.bincount(system[~read], minlength=systems),
        span=span,
        adjusted=adjusted,
    )


def _together(boards: Sequence[_Board]) -> _Board:
    """The mean over tasks. Systems are of one part where they are so in every task."""
    parts = np.stack([board.part for board in boards], axis=1)
    return _Board(
        means=np.mean([board.means for board in boards], axis=0),
        raw=np.mean([board.raw for board in boards], axis=0),
        draws=np.mean([board.draws for board in boards], axis=0),
        influence=np.mean([board.influence for board in boards], axis=0),
        items=np.sum([board.items for board in boards], axis=0),
        part=np.unique(parts, axis=0, return_inverse=True)[1].reshape(-1),
        ends=(np.mean([b.ends[0] for b in boards], axis=0), np.mean([b.ends[1] for b in boards], axis=0)),
        rows=np.sum([board.rows for board in boards], axis=0),
        unread=np.sum([board.unread for board in boards], axis=0),
        span=max(board.span for board in boards),
        adjusted=any(board.adjusted for board in boards),
    )


def _table(
    systems: Sequence[str], board: _Board, drawn: Resamples | None, *, is_share: bool, ranks: Sequence[Ranks]
) -> pl.DataFrame:
    intervals = _intervals(board.means, board.draws, board.items, drawn, is_share=is_share)
    return pl.DataFrame(
        {
            **_placed(ranks, systems),
            "mean": _known(board.means),
            **intervals,
            "raw": _known(board.raw),
            "at_lowest": _known(board.ends[0]),
            "at_highest": _known(board.ends[1]),
            "rows": board.rows,
            "unread": board.unread,
        }
    )


def _placed(ranks: Sequence[Ranks], systems: Sequence[str]) -> dict[str, pl.Series]:
    return {
        "rank": pl.Series([first for first, _ in ranks], dtype=pl.Int64),
        "rank_last": pl.Series([last for _, last in ranks], dtype=pl.Int64),
        "system": pl.Series(systems, dtype=pl.String),
    }


def _known(values: Floats) -> pl.Series:
    return pl.Series(values, dtype=pl.Float64).fill_nan(None)


def _intervals(
    means: Floats, draws: Floats, items: Codes, drawn: Resamples | None, *, is_share: bool
) -> dict[str, pl.Series]:
    """The columns low and high of the systems, which rest on so many items."""

    def interval(i: int) -> Interval | None:
        if drawn is None or not np.isfinite(means[i]):
            return None
        if is_share:
            return share_interval(min(max(float(means[i]), 0.0), 1.0), draws[:, i], min(int(items[i]), drawn.items))
        return drawn.interval(draws[:, i], items=int(items[i]))

    found = list(map(interval, range(len(means))))
    return {
        "low": pl.Series([None if one is None else one[0] for one in found], dtype=pl.Float64),
        "high": pl.Series([None if one is None else one[1] for one in found], dtype=pl.Float64),
    }


def _notes(boards: Sequence[_Board], overall: _Board, systems: Sequence[str]) -> list[str]:
    notes = []
    if overall.adjusted:
        notes.append(
            "Some systems lack a score for items that others have: means are adjusted for the items (two-way least "
            "squares), the plain ones are beside them as raw."
        )
    apart = {
        systems[i]
        for board in boards
        for i in np.flatnonzero(board.part >= 0).tolist()
        if board.part[i] != np.bincount(board.part[board.part >= 0]).argmax()
    }
    if apart:
        notes.append(
            f"{listed(sorted(apart))} share no items with the other systems: they are not ranked against each other. "
            "Without --item they are compared as independent samples."
        )
    return notes


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
    """Strengths from pairwise verdicts, best first.

    Columns: rank, rank_last, system, strength, low, high, win_rate, comparisons.

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
    met = table[0] + table[0].T
    influence = np.empty((0, count))
    if drawn:
        items += drawn.items
        resampled = drawn.cells(forward, count**2, win) + drawn.cells(backward, count**2, lose)
        draws = _strengths(resampled.reshape(-1, count, count))
        influence = _pulls(strength, met, code[:, kept], values[kept], drawn, drawn.cluster[kept])
    # A strength has no ends to its scale, so a lead without any spread proves nothing.
    standing = Standing(strength, influence, items, np.zeros(count, dtype=np.int64), np.inf)
    return pl.DataFrame(
        {
            **_placed(ranked([standing], drawn)[0], systems),
            "strength": strength,
            **_intervals(strength, draws, items, drawn, is_share=False),
            "win_rate": table[0].sum(axis=1) / met.sum(axis=1),
            "comparisons": np.round(met.sum(axis=1)).astype(np.int64),
        }
    ).sort(-pl.col("strength"), "system")


def _pulls(strength: Floats, met: Floats, code: Codes, values: Floats, drawn: Resamples, cluster: Codes) -> Floats:
    """Clusters x systems: by how much each cluster's verdicts move the strengths, by one step of Newton's method."""
    count, clusters = len(strength), drawn.weights.shape[1]
    chance = 1 / (1 + np.exp(strength[None, :] - strength[:, None]))
    weight = met * chance * (1 - chance)
    information = np.diag(weight.sum(axis=1)) - weight
    beyond = values - chance[code[0], code[1]]
    score = np.bincount(cluster * count + code[0], beyond, minlength=clusters * count)
    score = score - np.bincount(cluster * count + code[1], beyond, minlength=clusters * count)
    pulls: Floats = score.reshape(clusters, count) @ np.linalg.pinv(information, rcond=1e-10, hermitian=True)
    return pulls


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
