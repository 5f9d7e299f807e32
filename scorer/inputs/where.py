"""A SQL condition over one row's columns, as `input.where` and `scorer show --where` take it, evaluated by polars.

polars is imported where a condition is given, and nowhere else in a run.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pyarrow as pa

from scorer.errors import InputError, SpecError
from scorer.types import Mask

if TYPE_CHECKING:
    import polars as pl

_SEVERAL_ROWS = {
    "Agg": "an aggregate such as avg or max",
    "Over": "a window function",
    "Window": "a window function",
    "Explode": "unnest",
    "Len": "count(*)",
}
"""Expressions that a condition over one row may not contain, by polars' names in an expression's tree."""


class Where:
    """A condition. `columns` are the columns that it reads. Raises SpecError where it is none.

    A row belongs where the condition is true; not where it is false or null. `called` is what gave the condition, in
    messages.
    """

    def __init__(self, condition: str, called: str = "input.where =") -> None:
        import polars as pl

        self.condition = condition
        self.shown = f'{called} "{condition}"'
        try:
            self.expression: pl.Expr = pl.sql_expr(condition)
        except (pl.exceptions.PolarsError, ValueError) as error:
            raise self._wrong(str(error).partition("\n")[0]) from error
        tree = orjson.loads(self._tree())
        for name, what in _SEVERAL_ROWS.items():
            if _holds(tree, name):
                raise self._wrong(f"it holds {what}, which looks at several rows")
        self.columns: tuple[str, ...] = tuple(dict.fromkeys(self.expression.meta.root_names()))
        if not self.columns:
            raise self._wrong("it names no column")

    def mask(self, rows: pa.RecordBatch, path: str) -> Mask:
        """The matching rows. Raises InputError where the types of `columns` do not fit the condition."""
        import polars as pl

        frame = pl.from_arrow(pa.Table.from_batches([rows]))
        assert isinstance(frame, pl.DataFrame)
        try:
            found = frame.select(self.expression.alias("belongs")).to_series()
            if found.dtype not in (pl.Boolean, pl.Null):
                raise InputError(f"{self.shown} gives {found.dtype}, not true or false. Compare it with a value.")
        except pl.exceptions.PolarsError as error:
            types = ", ".join(f"{name} is {kind}" for name, kind in frame.schema.items())
            why = str(error).partition("\n")[0].partition(" (create native python")[0]
            time = next((name for name, kind in frame.schema.items() if kind.is_temporal()), None)
            hint = f" Compare a date or time after a cast: {time}::timestamp > '2026-01-31'::timestamp." if time else ""
            raise InputError(f"{self.shown} cannot be evaluated over {path}: {why}. There {types}.{hint}") from error
        belongs: Mask = np.array(found.cast(pl.Boolean).fill_null(False).to_numpy(), dtype=bool)
        return belongs

    def _tree(self) -> str:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # polars promises no stable form of the tree: only names are looked for
            return str(self.expression.meta.serialize(format="json"))

    def _wrong(self, why: str) -> SpecError:
        return SpecError(
            [
                f"{self.shown}: {why}. It is a SQL condition over the columns of one row, such as "
                "\"task = 'summary' and n > 3\"."
            ]
        )


def _holds(tree: Any, name: str) -> bool:
    """True where a node of the expression has that name; the user's values and the columns' names are no nodes."""
    if isinstance(tree, dict):
        return name in tree or any(_holds(part, name) for key, part in tree.items() if key not in ("Literal", "Column"))
    if isinstance(tree, list):
        return any(_holds(part, name) for part in tree)
    return bool(tree == name)
