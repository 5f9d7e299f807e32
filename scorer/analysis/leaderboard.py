"""Leaderboards: means by system and task, ranks as intervals.

A rank is an interval: from 1 plus the number of systems that are significantly better to the number of systems minus
those that are significantly worse. All these judgements hold together in 95 % of tables (`scorer.analysis.ranks`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import polars as pl

from scorer.analysis.board import Board, board_of
from scorer.analysis.board_columns import acceptable_columns, average_columns, facts_of, refuse_taken, weights_note
from scorer.analysis.board_notes import lacking_note, repeated_rows
from scorer.analysis.bootstrap import BOOTSTRAP, Bootstrap, Resamples
from scorer.analysis.columns import listed
from scorer.analysis.rank_table import interval_columns, nullable, rank_columns, share_columns
from scorer.analysis.ranks import Leads, Ranks, places_and_leads, ranked
from scorer.analysis.repeated_answers import RepeatedAnswer, repeated_answers, text_column
from scorer.analysis.score_range import Range
from scorer.analysis.system_means import SystemMeans, mean_over_tasks
from scorer.analysis.task_weights import Weights, weights_of
from scorer.analysis.unread import UnreadDiffers, unread_notes
from scorer.analysis.unread_by_group import by_group
from scorer.html_tables import rows_html


@dataclass(frozen=True, slots=True)
class Leaderboard:
    """Two tables, best first, and notes; `unread` says whether the share of unread rows differs by system or task.

    `systems`: rank, rank_last, system, mean, low, high, raw, at_lowest, at_highest, rows, unread, then the share of
    acceptable rows (acceptable, acceptable_low, acceptable_high), the facts and the averages asked for, each average
    with its interval (<name>_low, <name>_high). `rank` is the best place that a system may have, `rank_last` the worst.
    Where items are named and some system lacks a score for one, `mean` is adjusted for the items and `raw` the plain
    mean; elsewhere both are that. `at_lowest` and `at_highest` are the mean with every unread row at that end of the
    scale, or of the observed scores; a note says which. With tasks the mean is that of the task means, each task
    counting alike or by the weights given, and null for a system that lacks one. `tasks`: the same by task (rank,
    rank_last, task, system, ...); None without a task column. `leads`: system, against, value, low, high, sure for each
    pair that can be compared, the higher mean first: its lead, with intervals that hold together for all pairs (null
    where unknown), and whether it is one wherever unread rows stand. The ranks follow from `sure`. None where systems
    are ranked by pairs.
    """

    systems: pl.DataFrame
    tasks: pl.DataFrame | None
    notes: Sequence[str] = field(default=())
    unread: Sequence[UnreadDiffers] = field(default=())
    leads: pl.DataFrame | None = None
    repeated: Sequence[RepeatedAnswer] = field(default=())

    @property
    def frame(self) -> pl.DataFrame:
        """`systems`."""
        return self.systems

    def _repr_html_(self) -> str:
        return rows_html("Leaderboard", self.systems.to_dicts(), self.notes)

    def json(self) -> dict[str, Any]:
        return {
            "systems": self.systems.to_dicts(),
            "tasks": None if self.tasks is None else self.tasks.to_dicts(),
            "notes": list(self.notes),
            "unread_differs": [one.json() for one in self.unread],
            "repeated": [asdict(one) for one in self.repeated],
        }


@dataclass(frozen=True, slots=True)
class SystemColumns:
    """Further columns of a leaderboard.

    `averages` are columns of numbers to average by system (cost, tokens, latency); `facts` are columns that have one
    value for each system (hosting, licence).
    """

    averages: Sequence[str] = ()
    facts: Sequence[str] = ()


NO_COLUMNS = SystemColumns()
RAW_BESIDE = "The column raw has the plain means."
"""The note on the column `raw`."""


def leaderboard(
    frame: pl.LazyFrame,
    score: str,
    system: str,
    *,
    task: str | None = None,
    item: str | None = None,
    beside: SystemColumns = NO_COLUMNS,
    scale: Range | None = None,
    weights: Weights | None = None,
    acceptable: float | None = None,
    text: str | None = None,
    bootstrap: Bootstrap = BOOTSTRAP,
    rank_within_tasks: bool = True,
) -> Leaderboard:
    """The systems by their mean score, with intervals from the cluster bootstrap over items.

    `beside` are further columns to show of each system. Without `item` the systems are independent samples, and nothing
    is adjusted. A system is better than another only where it leads with unread rows at either end of the `scale` as
    well; without one, at the lowest and the highest observed score.
    The interval of a mean is that of this mean alone; the ranks of all systems hold together, and those of all tasks.
    `weights` are those of the tasks, which otherwise count alike; by them averages are weighted, too, which otherwise
    are over all rows. `acceptable` is the lowest acceptable score: the share of read rows that reach it is a statement
    about this judge. `text` is the column of answers, to find systems that give one answer to many items.
    The ranks within tasks take the time of systems squared times tasks; without `rank_within_tasks` they are null.
    Raises SpecError for columns or weights that cannot serve, a fact that varies within a system, and where no row has
    a score.
    """
    rows = board_of(
        frame, score, system, task=task, item=item, numbers=beside.averages, scale=scale, bootstrap=bootstrap
    )
    fact_table = facts_of(frame, system, beside.facts)
    of_tasks = weights_of(rows.tasks if task else (), weights) if weights is not None else weights_of(rows.tasks, None)
    given = None if weights is None else of_tasks
    systems, drawn, shares = rows.systems, rows.drawn, rows.is_share
    boards = rows.by_task()
    overall = mean_over_tasks(boards, of_tasks)
    ((places, leads),) = places_and_leads([overall.standing()], drawn)
    best = _table(systems, overall, drawn, is_share=shares, ranks=places)
    if shares:
        best = best.with_columns(**share_columns(boards, of_tasks, drawn))
    if acceptable is not None:
        best = best.with_columns(**acceptable_columns(rows, acceptable, of_tasks))
    refuse_taken([*beside.averages, *beside.facts], best.columns)
    best = best.join(fact_table, on="system", how="left", maintain_order="left")
    for name in beside.averages:
        best = best.with_columns(**average_columns(rows, name, given))
    order = pl.col("mean").is_null(), -pl.col("mean")
    by_task = None
    if task:
        unranked: list[list[Ranks]] = [[(None, None)] * len(systems)] * len(boards)
        by_board = ranked([board.standing() for board in boards], drawn) if rank_within_tasks else unranked
        named = [
            _table(systems, board, drawn, is_share=shares, ranks=ranks).with_columns(task=pl.lit(name))
            for board, ranks, name in zip(boards, by_board, rows.tasks, strict=True)
        ]
        first = ["rank", "rank_last", "task"]
        by_task = pl.concat(named).sort("task", *order, "system").select(*first, pl.exclude(first))
    differs = by_group(rows, [system, *([task] if task else [])])
    notes = [
        *(weights_note(rows.tasks, given) if given is not None else ()),
        *_notes(boards, overall, rows),
        *repeated_rows(frame, score, system, rows.rows),
        *([rows.ends.note(score)] if rows.unread else []),
        *unread_notes(differs),
    ]
    named_text = None if text is None else text_column(frame.collect_schema(), text)
    repeated = [] if named_text is None else repeated_answers(frame, system, named_text, rows.rows)
    return Leaderboard(best.sort(*order, "system"), by_task, notes, differs, _leads(systems, overall, leads), repeated)


def _leads(systems: Sequence[str], board: SystemMeans, leads: Leads) -> pl.DataFrame:
    names = pl.Series(systems, dtype=pl.String)
    value = board.means[leads.high] - board.means[leads.low]
    known = np.where(np.isfinite(leads.half) & (leads.half > 0), leads.half, np.nan)
    return pl.DataFrame(
        {
            "system": names[leads.high],
            "against": names[leads.low],
            "value": value,
            "low": nullable(value - known),
            "high": nullable(value + known),
            "sure": leads.sure,
        }
    )


def _table(
    systems: Sequence[str], board: SystemMeans, drawn: Resamples | None, *, is_share: bool, ranks: Sequence[Ranks]
) -> pl.DataFrame:
    intervals = interval_columns(board.means, board.draws, board.items, drawn, is_share=is_share)
    return pl.DataFrame(
        {
            **rank_columns(ranks, systems),
            "mean": nullable(board.means),
            **intervals,
            "raw": nullable(board.raw),
            "at_lowest": nullable(board.ends[0]),
            "at_highest": nullable(board.ends[1]),
            "rows": board.rows,
            "unread": board.unread,
        }
    )


def _notes(boards: Sequence[SystemMeans], overall: SystemMeans, rows: Board) -> list[str]:
    notes, systems = [], rows.systems
    if lacking := [systems[i] for i in np.flatnonzero(np.isnan(overall.means)).tolist()]:
        notes.append(f"{lacking_note(lacking, rows.tasks)} They have no mean and no rank.")
    if overall.adjusted:
        notes.append(
            "Some systems lack a score for items that others have: means are adjusted for the items (two-way least "
            "squares)."
        )
        notes.append(RAW_BESIDE)
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
