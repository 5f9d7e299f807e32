"""Computes the page of one or several output folders: one population for all panels, then each panel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from scorer.counted import counted
from scorer.errors import SpecError
from scorer.files.router import AnyFiles
from scorer.output.layout import Layout
from scorer.output.limit_history import Sample
from scorer.output.status import Status, history_of, status
from scorer.report.page import answer, how, judge, rows, run, strip, systems, training, where
from scorer.report.page.agreement import checked
from scorer.report.page.data import Judge, Page, Systems, Training, Where
from scorer.report.page.groups import Group, RowsOf, count_groups
from scorer.report.page.options import ReportOptions
from scorer.report.page.population import Population, open_population
from scorer.report.page.row_list import Card, RowId, RowList
from scorer.report.page.suspects import suspects
from scorer.report.run_table import Runs, RunTable, open_runs


def page(tables: Runs, options: ReportOptions) -> Page:
    """The page of one or several output folders over the same input, finished or not.

    Raises SpecError for a folder that holds no run and for columns that cannot serve, OutputError where run.json is
    damaged.
    """
    options.check()
    for last in (False, False, True):
        table = open_runs(tables, options.columns())
        states = {name: status(AnyFiles(), run.out) for name, run in table.runs.items()}
        try:
            return _page(open_population(table, options), states)
        except SpecError:
            # A run under way replaces files by merged ones, also between listing and reading them.
            if last or all(state.state != "running" for state in states.values()):
                raise
    raise AssertionError


def _page(of: Population, states: Mapping[str, Status]) -> Page:
    board = systems.ranking(of)
    far = strip.progress(states, of.names(of.columns.system))
    known = checked(of)
    groups = count_groups(_groups(of, board), of.parts())
    far_apart = {} if far.withheld else systems.differing(of, board)
    chosen = rows.choose(of, groups, far_apart.values())
    cards, places, unread = rows.cards(of, chosen)
    ids = [card.id for card in cards]
    rows_of = RowsOf(groups, of.at(places), ids, of.where)
    number = dict(zip(places, ids, strict=True))
    panels = _Panels(
        systems.panel(of, board, rows_of, far.withheld, _pair_ids(far_apart, number)),
        where.panel(of, board, rows_of),
        judge.panel(of, known, rows_of),
        rows.panel(of, chosen, cards, [*_left(chosen, cards), *unread]),
        training.panel(of, rows_of),
    )
    suspect = list(suspects(of, cards))
    return Page(
        title=_title(of.table),
        written_at=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        population=_population(of),
        left_out=of.left_out,
        strip=strip.strip(of, states, far, suspect),
        answer=answer.answer(of, board, known, far),
        systems=panels.systems,
        where=panels.where,
        judge=panels.judge,
        rows=panels.rows,
        training=panels.training,
        run=replace(
            run.facts(of, rows_of, states, run.examples(of) if of.options.rows else {}, _history(of.table)),
            suspects=suspect,
        ),
        how=how.how(of),
        empty=dict(_empty(of, panels, far)),
        shards=of.table.shards,
        folders=[f"{name}={run.out}" if name else run.out for name, run in of.table.runs.items()],
        texts=bool(of.options.rows),
    )


@dataclass(frozen=True, slots=True)
class _Panels:
    """The panels that a page may lack."""

    systems: Systems | None
    where: Where | None
    judge: Judge | None
    rows: RowList | None
    training: Training | None


def _groups(of: Population, board: systems.Ranking | None) -> dict[str, Group]:
    """The groups of rows behind all marks of the page."""
    found = {**systems.groups(of, board), **judge.groups(of), **run.groups(of), **training.groups(of)}
    return {**found, **where.groups(of, board, found.get("system"))}


def _pair_ids(
    places: Mapping[tuple[str, str], Sequence[tuple[int, int]]], number: Mapping[int, RowId]
) -> dict[tuple[str, str], list[tuple[RowId, RowId]]]:
    """The rows of the pairs whose cards are in the page."""
    return {
        pair: [(number[a], number[b]) for a, b in both if a in number and b in number] for pair, both in places.items()
    }


def _left(chosen: rows.Chosen, cards: Sequence[Card]) -> Iterator[str]:
    """A sentence where not all chosen rows fit."""
    if left := len(chosen.places) - len(cards):
        most = f"{rows.CARD_BYTES / 1e6:.1f} MB"
        yield f"{left:,} more rows were chosen and left out, since the texts of a page have {most} at most."


def _history(table: RunTable) -> list[Sample]:
    """What held the first run back over its time."""
    return history_of(AnyFiles(), Layout(next(iter(table.runs.values())).out))


def _title(table: RunTable) -> str:
    """The names of the folders: the last part of a path that is not plain "out"."""
    return " and ".join(name or _named(run.out) for name, run in table.runs.items())


def _named(out: str) -> str:
    parts = [part for part in out.rstrip("/").split("/") if part not in ("", ".", "..")]
    return "/".join(parts[-2:]) if parts and parts[-1] in ("out", "scores") else parts[-1] if parts else out


def _population(of: Population) -> str:
    system, item = of.columns.system, of.columns.item
    parts = [counted(of.rows, "row")]
    if system is not None:
        parts.append(f"of {counted(len(of.names(system)), 'system')} (column {system})")
    if item is not None:
        parts.append(f"on {counted(of.items, 'item')} (column {item})")
    rest = "Left out are:" if of.left_out else "No finished row is left out."
    return f"All panels count the same {' '.join(parts)}. {rest}"


def _empty(of: Population, panels: _Panels, far: strip.Progress) -> Iterator[tuple[str, str]]:
    """What would fill each panel that has no values."""
    folder = next(iter(of.table.runs.values())).out
    nothing = "No row is finished yet." if far.rows else "The run has no rows."
    if panels.systems is None:
        yield "systems", "No row has a score." if of.finished else nothing
    if panels.judge is None:
        yield (
            "judge",
            (
                "Nothing is known of the judge: no human values, no second order, no other judge. Name a column of "
                "human values with --human COL."
            ),
        )
    if panels.training is None and of.options.step is not None and of.rows:
        yield "training", "The steps and mixes have too many values for curves, or none."
    if panels.rows is None:
        if of.options.rows:
            yield "rows", "No row can be shown." if of.finished else nothing
        else:
            yield "rows", f"This page was written without texts (--rows 0). `scorer show {folder}` shows rows."
