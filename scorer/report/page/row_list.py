"""The rows to read of a report page as plain values: cards with their texts and verdicts, and lists of them.

Knows no polars, no files and no HTML. None where a value is unknown or does not apply.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

RowId = str
"""`<shard number>:<row>`, the part of a link after `#r=`; shards are numbered in the order of run.json, from 0."""


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows behind a number or a mark: how many, those whose card is in the page, and how to list all of them.

    `where` is the SQL condition for `scorer show OUT --where "..."`; None where no condition can name them.
    """

    count: int
    ids: Sequence[RowId] = ()
    where: str | None = None


@dataclass(frozen=True, slots=True)
class Text:
    """A text as the page carries it: at most 4 kB, head and tail; `cut` is the number of characters left out."""

    head: str
    tail: str = ""
    cut: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """One reading of one judge: `of` says which (a run's name, an order, a sample, a criterion)."""

    of: str
    value: str
    reason: Text | None = None
    raw: Text | None = None


@dataclass(frozen=True, slots=True)
class Card:
    """One row of panel 5. `texts` are its named texts in reading order (prompt, generation, reference ...).

    `picked` says why the row is in the page; only rows picked as `random` may serve as a sample of labels, and
    `weight` is then one over their inclusion probability. `facts` are further values by name (tokens, cost, error).
    """

    id: RowId
    shard: str
    row: int
    key: str | None
    system: str | None
    task: str | None
    item: str | None
    score: float | None
    human: float | None
    error: str | None
    texts: Mapping[str, Text]
    verdicts: Sequence[Verdict]
    facts: Mapping[str, str]
    picked: Sequence[str]
    weight: float | None = None


@dataclass(frozen=True, slots=True)
class Tab:
    """A list of rows in panel 5, in its order. `rows.count` counts all of the kind, not only those in the page."""

    name: str
    title: str
    rows: Rows
    empty: str


@dataclass(frozen=True, slots=True)
class RowList:
    """Panel 5: the tabs and the cards they show. `left_out` says what the budget of the page left out."""

    tabs: Sequence[Tab]
    cards: Sequence[Card]
    left_out: str | None = None
