"""A judge that counts the rows in flight, which bound a run's memory."""

from __future__ import annotations

from collections.abc import Generator

from scorer.errors import RowError
from scorer.types import Completion, Judge, Request, Row, Score


class Counted:
    """Wraps a judge; `most` is the highest number of rows in flight."""

    def __init__(self) -> None:
        self.most = self._now = 0

    def of(self, judge: Judge) -> Counted:
        self.columns, self.fields, self.constant = judge.columns, judge.fields, judge.constant
        self._judge = judge
        return self

    def __call__(self, row: Row) -> Generator[list[Request], list[Completion | RowError], Score]:
        self._now += 1
        self.most = max(self.most, self._now)
        try:
            return (yield from self._judge(row))
        finally:
            self._now -= 1
