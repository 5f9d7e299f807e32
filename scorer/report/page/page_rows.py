"""Some rows of a page: each column is read when it is asked for."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl

from scorer.analysis.correlation import Codes, Floats
from scorer.report.columns import number


class PageRows:
    """Rows at these `places` of the page's population, whose columns `read` gives. A column is read once."""

    def __init__(self, read: Callable[[str], pl.Series], places: Codes, score: str, item: str | None) -> None:
        self.places = places
        self._read, self._score, self._item = read, score, item
        self._known: dict[object, Codes | Floats] = {}

    def once(self, key: object, made: Callable[[], Codes]) -> Codes:
        """What `made` gives, made once for each `key`."""
        if key not in self._known:
            self._known[key] = made()
        return self._known[key]  # type: ignore[return-value]

    def column(self, name: str) -> pl.Series:
        """A column as it is held."""
        return self._read(name)

    @property
    def scores(self) -> Floats:
        """The scores, NaN where a row has none."""
        return self.floats(self._score)

    @property
    def items(self) -> Codes:
        """The code of each row's item; its place where no items are known."""
        if self._item is None:
            return self.places
        name = self._item
        return self.once(("item", name), lambda: self._read(name).to_numpy().astype(np.int64))

    def floats(self, name: str) -> Floats:
        """A column of numbers, NaN where a row has none."""
        if ("number", name) not in self._known:
            column = self._read(name)
            found = column.to_frame().select(number(name, column.dtype).fill_null(float("nan"))).to_series()
            self._known["number", name] = found.to_numpy().astype(np.float64)
        return self._known["number", name]  # type: ignore[return-value]

    def codes(self, name: str) -> Codes:
        """The number of each row's value among the names of a column; -1 where it has none."""
        return self.once(("code", name), lambda: self._read(name).to_physical().cast(pl.Int64).fill_null(-1).to_numpy())
