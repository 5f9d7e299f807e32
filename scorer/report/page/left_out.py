"""Rows that no panel of the page counts: why, how many, and the condition that the others meet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import polars as pl

from scorer.analysis.packed import Packed
from scorer.analysis.unread import NO_REPLY_TO_READ
from scorer.report.page.conditions import column, literal
from scorer.report.run_table import RunTable


@dataclass(frozen=True, slots=True)
class LeftOut:
    """The `rows` that stay, a sentence for each reason why others do not, and the SQL condition of those that stay.

    `where` is "" where all rows stay.
    """

    rows: Packed
    sentences: Sequence[str]
    where: str


def leave_out(table: RunTable, rows: Packed, names: Sequence[str]) -> LeftOut:
    """Leaves out rows that had nothing to judge, that lack one of `names`, and of several runs those that one lacks.

    A row with two reasons counts for the first. Where some go, `rows` is empty afterwards.
    """
    rules = list(_rules(table, names))
    stays: list[pl.Expr] = [pl.lit(True)]
    for rule in rules:
        stays.append(stays[-1] & rule.kept)
    gone = [
        (before & ~rule.kept).sum().alias(str(n)) for n, (before, rule) in enumerate(zip(stays, rules, strict=False))
    ]
    counts = rows.lazy.select(gone).collect(engine="streaming").row(0) if rules else ()
    left = [(rule, count) for rule, count in zip(rules, counts, strict=True) if count]
    return LeftOut(
        Packed(part.filter(stays[-1]) for part in rows.drained()) if left else rows,
        [f"{count:,} {'row' if count == 1 else 'rows'} {rule.why}" for rule, count in left],
        " AND ".join(rule.where for rule, _ in left),
    )


@dataclass(frozen=True, slots=True)
class _Rule:
    """Rows that stay, the condition that says so in SQL, and why the others go."""

    kept: pl.Expr
    where: str
    why: str


def _rules(table: RunTable, names: Sequence[str]) -> Iterator[_Rule]:
    bad = ", ".join(str(literal(name)) for name in NO_REPLY_TO_READ)
    first = next(iter(table.runs))
    for run in table.runs:
        error, score = table.of_run(run, "error"), table.of_run(run, table.columns.scores[0].removeprefix(f"{first}."))
        of = f" of {run}" if run else ""
        if run:
            kept = pl.col(error).is_not_null() | pl.col(score).is_not_null()
            where = f"({column(error)} IS NOT NULL OR {column(score)} IS NOT NULL)"
            yield _Rule(
                kept, where, f"without a result{of}: the judges are compared over rows that all of them judged."
            )
        kept = ~pl.col(error).is_in(NO_REPLY_TO_READ).fill_null(False)
        where = f"({column(error)} IS NULL OR {column(error)} NOT IN ({bad}))"
        yield _Rule(kept, where, f"that had nothing to judge{of} ({' or '.join(NO_REPLY_TO_READ)}).")
    for name in names:
        yield _Rule(pl.col(name).is_not_null(), f"{column(name)} IS NOT NULL", f"without a value in {name}.")
