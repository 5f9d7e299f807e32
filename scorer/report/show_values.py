"""Rows to read as values: one JSON object, or a polars frame."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import polars as pl

from scorer.report.page.row_list import Card
from scorer.report.picks import Picked
from scorer.report.show import Shown, title

_FIRST = (
    ("pick", pl.String), ("by", pl.Float64), ("weight", pl.Float64), ("row_id", pl.String), ("id", pl.String),
    ("item", pl.String), ("system", pl.String), ("task", pl.String), ("score", pl.Float64), ("human", pl.Float64),
    ("error", pl.String), ("reason", pl.String),
)  # fmt: skip
_VERDICTS = pl.List(pl.Struct({"of": pl.String, "value": pl.String, "reason": pl.String, "raw": pl.String}))
_LAST = (
    ("verdicts", _VERDICTS), ("facts", pl.List(pl.Struct({"name": pl.String, "value": pl.String}))),
    ("shard", pl.String), ("row", pl.Int64),
)  # fmt: skip


def show_json(shown: Shown) -> dict[str, Any]:
    """The picks with their rows, as plain values for JSON."""
    columns = shown.table.columns
    roles = ("human", "id", "item", "system", "task", "response", "reference")
    return {
        "columns": {"score": list(columns.scores), **{role: getattr(columns, role) for role in roles}},
        "picks": [
            {
                "pick": pick.kind,
                "title": title(pick),
                "count": pick.count,
                "unit": pick.unit,
                "missing": pick.missing,
                "rows": [{**_row(card, pick, by), "verdicts": _verdicts(card)} for card, by in shown.cards_of(pick)],
            }
            for pick in shown.picks
        ],
        "notes": list(shown.notes),
    }


def show_frame(shown: Shown) -> pl.DataFrame:
    """A row for each picked row, in the order of the picks; a text column for each text of the cards.

    `pick` names the pick and `by` is the value that the row was picked by. A text whose name another column has is
    `text_<name>`.
    """
    taken = {name for name, _ in (*_FIRST, *_LAST)}
    names = {name: None for card in shown.cards.values() for name in card.texts}
    texts = {name: f"text_{name}" if name in taken else name for name in names}
    schema: dict[str, Any] = dict([*_FIRST, *((column, pl.String()) for column in texts.values()), *_LAST])
    rows = []
    for pick in shown.picks:
        for card, by in shown.cards_of(pick):
            row = _row(card, pick, by)
            found, facts = row.pop("texts"), row.pop("facts")
            rows.append(
                {
                    **row,
                    **{column: found.get(name) for name, column in texts.items()},
                    "pick": pick.kind,
                    "reason": next((one.reason.head for one in card.verdicts if one.reason is not None), None),
                    "verdicts": _verdicts(card),
                    "facts": [{"name": name, "value": value} for name, value in facts.items()],
                }
            )
    return pl.DataFrame(rows, schema=schema)


def _row(card: Card, pick: Picked, by: float | None) -> dict[str, Any]:
    """The plain values of a card whose texts are not folded."""
    return {
        "row_id": card.id,
        "id": card.key,
        "by": by,
        "weight": pick.weight,
        **{name: getattr(card, name) for name in ("item", "system", "task", "score", "human", "error", "shard", "row")},
        "texts": {name: text.head for name, text in card.texts.items()},
        "facts": dict(card.facts),
    }


def _verdicts(card: Card) -> list[dict[str, Any]]:
    return [
        {name: value["head"] if isinstance(value, dict) else value for name, value in asdict(verdict).items()}
        for verdict in card.verdicts
    ]
