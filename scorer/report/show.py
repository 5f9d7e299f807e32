"""Rows to read: what `scorer show` and `scorer.show` ask for, and the cards that answer it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import polars as pl

from scorer.analysis.binary_text import binary_text, binary_values
from scorer.errors import SpecError
from scorer.inputs.where import Where
from scorer.report.collecting import FilesChanged, collect_all
from scorer.report.columns import GivenColumns
from scorer.report.folding import Fold, whole
from scorer.report.page.row_list import Card
from scorer.report.pick_kinds import KINDS, TITLES
from scorer.report.picks import Picked, Wanted, condition, pick_rows
from scorer.report.row_texts import row_texts
from scorer.report.run_table import RowKey, Runs, RunTable, open_runs

DEFAULT = {"worst": 1, "best": 1, "random": 3}
"""What is shown where nothing is asked for."""
_TRIES = 3
MOST = 1000
"""So many rows of one kind are shown at most: beyond that a table is the better answer."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Which rows are asked for: `picks` are kinds and how many rows of each, `ids` rows by their id.

    `where` narrows the picks; with it alone, the first `n` rows that match it are shown. `seed` draws the random ones.
    """

    picks: Mapping[str, int] = field(default_factory=dict)
    ids: Sequence[str] = ()
    where: str | None = None
    n: int = 5
    seed: int = 0
    columns: GivenColumns = field(default_factory=GivenColumns)


@dataclass(frozen=True, slots=True)
class Shown:
    """The picks that were asked for and the cards of their rows, by row; `notes` say what could not be shown."""

    table: RunTable
    picks: Sequence[Picked]
    cards: Mapping[RowKey, Card]
    notes: Sequence[str]

    def cards_of(self, pick: Picked) -> list[tuple[Card, float | None]]:
        """The cards of a pick in its order, each with the value that it was picked by."""
        values = pick.by or [None] * len(pick.rows)
        return [(self.cards[key], by) for key, by in zip(pick.rows, values, strict=True) if key in self.cards]


def show(tables: Runs, asked: Asked, *, fold: Fold = whole, fold_prompt: Fold = whole, verbatim: bool = False) -> Shown:
    """The rows asked for, as cards with texts folded by `fold` and `fold_prompt`; see `row_texts` for `verbatim`.

    Files that a run under way merges meanwhile are looked for again. Raises SpecError with every mistake in what was
    given.
    """
    for _ in range(_TRIES - 1):
        with suppress(FilesChanged):
            return _shown(_opened(tables, asked), asked, fold, fold_prompt, verbatim)
    return _shown(_opened(tables, asked), asked, fold, fold_prompt, verbatim)


def _shown(table: RunTable, asked: Asked, fold: Fold, fold_prompt: Fold, verbatim: bool) -> Shown:
    picks = [_by_id(table, asked.ids)] if asked.ids else []
    wanted = [Wanted(kind, n) for kind, n in _kinds(asked).items()]
    picks += pick_rows(table, wanted, where=asked.where, seed=asked.seed)
    rows = [key for pick in picks for key in pick.rows]
    found = row_texts(table, rows, picks=picks, fold=fold, fold_prompt=fold_prompt, verbatim=verbatim)
    cards = {(card.shard, card.row): card for card in found.cards}
    nothing = [f"No finished row meets --where {asked.where!r}."] if asked.where is not None and not rows else []
    return Shown(table, picks, cards, [*nothing, *found.notes])


def title(pick: Picked) -> str:
    """What a pick shows, in words."""
    return TITLES.get(pick.kind, "rows by their id")


def _kinds(asked: Asked) -> Mapping[str, int]:
    if asked.picks or asked.ids:
        return asked.picks
    return {"rows": asked.n} if asked.where is not None else DEFAULT


def _opened(tables: Runs, asked: Asked) -> RunTable:
    """The table, once everything that is asked for is possible. Raises SpecError with every mistake."""
    numbers = [("-n", asked.n), *((f"--{kind}", n) for kind, n in asked.picks.items() if n != asked.n)]
    problems = [
        f"{option} {n} is not allowed: give a number of rows from 1 to {MOST:,}."
        for option, n in numbers
        if not 1 <= n <= MOST
    ]
    problems += [
        f"{kind} is no kind of rows; there are {', '.join(KINDS)}." for kind in asked.picks if kind not in KINDS
    ]
    table: RunTable | None = None
    for columns in (asked.columns, GivenColumns()):  # without the columns that are wrong, to check the rest
        try:
            table = open_runs(tables, columns)
            break
        except SpecError as error:
            problems += [problem for problem in error.problems if problem not in problems]
    if asked.where is not None:
        try:
            Where(asked.where, "--where") if table is None else condition(asked.where, table)
        except SpecError as error:
            problems += error.problems
    if problems or table is None:
        raise SpecError(problems)
    return table


def _by_id(table: RunTable, ids: Sequence[str]) -> Picked:
    """The finished rows with these ids: values of the column id, or `<shard number>:<row>`. Raises SpecError."""
    keys = {name: key for name in ids if (key := _key(table, name)) is not None}
    chosen = pl.any_horizontal(
        (pl.col("shard") == shard) & (pl.col("row") == row) for shard, row in (keys.values() or [("", -1)])
    )
    schema = table.results.collect_schema()
    has_id = table.columns.id is not None and table.columns.id in schema
    named, wanted = pl.lit(None, pl.String), pl.Series(ids, dtype=pl.String)
    if has_id and schema["id"] == pl.Binary:
        named, wanted = (
            pl.col("id"),
            pl.Series([value for name in ids for value in binary_values(name)], dtype=pl.Binary),
        )
    elif has_id:
        named = pl.col("id").cast(pl.String, strict=False)
    (found,) = collect_all(
        [table.results.select("shard", "row", name=named).filter(chosen | pl.col("name").is_in(wanted))]
    )
    rows = {
        (row["shard"], row["row"]): binary_text(name) if isinstance(name := row["name"], bytes) else name
        for row in found.iter_rows(named=True)
    }
    by_name: dict[str, list[RowKey]] = {}
    for key, name in rows.items():
        by_name.setdefault(name, []).append(key)
    picked: list[RowKey] = []
    problems = []
    for name in ids:
        mine = by_name.get(name) or [key for key in (keys.get(name),) if key in rows]
        picked += [key for key in mine if key is not None]
        if not mine:
            problems.append(_unknown(table, name, keys.get(name), has_id=has_id))
    if problems:
        raise SpecError(problems)
    return Picked("id", list(dict.fromkeys(picked)), len(picked))


def _unknown(table: RunTable, name: str, key: RowKey | None, *, has_id: bool) -> str:
    if key is not None and key[1] >= table.sizes[key[0]]:
        return f"--row {name}: {key[0]} has {table.sizes[key[0]]:,} rows, counted from 0."
    if key is not None:
        return f"--row {name}: this row has no result yet."
    ids = "the column id, or " if has_id else ""
    last = len(table.shards) - 1
    return (
        f"--row {name}: no finished row has this id. Give a value of {ids}SHARD:ROW: the number of a shard (0 to "
        f"{last}, in the order of run.json) and of a row in it, both counted from 0."
    )


def _key(table: RunTable, name: str) -> RowKey | None:
    shard, colon, row = name.partition(":")
    if not (colon and shard.isdecimal() and row.isdecimal() and int(shard) < len(table.shards)):
        return None
    return table.shards[int(shard)], int(row)
