"""Sentences about the rows of a board: systems without a mean, rows that repeat, items that are not named."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import polars as pl

from scorer.analysis.columns import listed
from scorer.analysis.reading import collected

UNPAIRED = (
    "No --item is given, so systems are compared as independent samples. Where they answered the same questions, name "
    "the column of the question: intervals get narrower."
)
MOST_ROWS = 200_000
"""Of larger tables it is not looked at whether rows repeat."""


def lacking_note(systems: Sequence[str], tasks: Sequence[str]) -> str:
    """A sentence on systems that lack a score in some task that counts, or, without tasks, have none."""
    verb = "has" if len(systems) == 1 else "have"
    where = f"no score in some task that counts ({listed(tasks, 10)})" if list(tasks) != [""] else "no score"
    return f"{listed(systems, 10)} {verb} {where}."


def repeated_rows(frame: pl.LazyFrame, score: str, system: str, rows: int) -> Iterator[str]:
    """A sentence where rows have the shard, row, system and score of another, as when a file is read twice."""
    schema = frame.collect_schema()
    if not {"shard", "row"} <= set(schema) or rows > MOST_ROWS:
        return
    names = list(dict.fromkeys(["shard", "row", system, score]))
    repeated = rows - collected(frame.select(pl.struct(names).n_unique())).item()
    if repeated:
        yield (
            f"{repeated:,} of {rows:,} rows have the shard, row, {system} and {score} of another, and each counts: "
            "give every file once, or drop the doubles."
        )
