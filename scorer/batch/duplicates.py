"""Rows of a start that ask what another row asks: one of them is put into a batch, and the others copy its result.

No text of a row is held: 16 bytes for what it asks, and its shard and number. To be used by one thread at a time.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Literal

import numpy as np

from scorer.batch.rows import Numbers
from scorer.engine.dedupe import ALIKE_FOR_ALL, AnswerCache, copy_of, question_of
from scorer.types import Judge, Result, Row

Look = Result | Literal["asks", "waits"]
"""The result of an earlier row that asked the same; else whether a row asks, or waits for another one that does."""


class Duplicates:
    """The rows that are asked and those that wait for them. `now_us` is the wall clock in microseconds since 1970.

    Results of earlier starts are not known; rows that are out in batches of earlier starts are, by `asks`.
    """

    def __init__(self, judge: Judge, now_us: Callable[[], int]) -> None:
        self._judge = judge
        self._now_us = now_us
        self._answers = AnswerCache()
        self._shards: dict[str, int] = {}
        self._paths: list[str] = []
        self._ready: dict[str, list[int]] = {}
        self.has_results = False
        """There is a result that rows may copy."""
        self._db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode = OFF")
        self._db.execute("CREATE TABLE asked (question BLOB PRIMARY KEY, shard INTEGER, row INTEGER) WITHOUT ROWID")
        self._db.execute(
            "CREATE TABLE waiting (question BLOB, shard INTEGER, row INTEGER, PRIMARY KEY (question, shard, row)) "
            "WITHOUT ROWID"
        )

    def asks(self, row: Row) -> None:
        """A row is out in a batch."""
        if (question := question_of(self._judge, row)) is not None:
            self._claim(question, row)

    def look(self, row: Row) -> Look:
        """What becomes of a row. One that waits is `ready` once the other one has a result."""
        question = question_of(self._judge, row)
        if question is None:
            return "asks"
        if (known := self._answers.find(question)) is not None:
            return copy_of(known, row, self._now_us())
        if self._claim(question, row):
            return "asks"
        self._db.execute("INSERT OR IGNORE INTO waiting VALUES (?, ?, ?)", (question, *self._place(row)))
        return "waits"

    def finished(self, result: Result) -> None:
        """A row has a result: those that wait for it are `ready`.

        Where the next row may end otherwise, each of them asks for itself.
        """
        question = question_of(self._judge, result.row)
        if question is None:
            return
        if result.error is None or isinstance(result.error, ALIKE_FOR_ALL):
            self._answers.keep(question, result)
            self.has_results = True
            self._db.execute("DELETE FROM asked WHERE question = ?", (question,))
        else:
            self._db.execute("INSERT OR REPLACE INTO asked VALUES (?, NULL, NULL)", (question,))
        for shard, row in self._db.execute("SELECT shard, row FROM waiting WHERE question = ?", (question,)):
            self._ready.setdefault(self._paths[shard], []).append(row)
        self._db.execute("DELETE FROM waiting WHERE question = ?", (question,))

    def take_ready(self) -> dict[str, Numbers]:
        """The rows, by shard, that waited for one that has a result. Each is returned once."""
        ready, self._ready = self._ready, {}
        return {shard: np.unique(np.array(rows, dtype=np.int64)) for shard, rows in ready.items()}

    def close(self) -> None:
        self._db.close()
        self._answers.close()

    def _claim(self, question: bytes, row: Row) -> bool:
        """Whether this row asks: it is the first to ask this, or each asks for itself."""
        place = self._place(row)
        self._db.execute("INSERT OR IGNORE INTO asked VALUES (?, ?, ?)", (question, *place))
        found = self._db.execute("SELECT shard, row FROM asked WHERE question = ?", (question,)).fetchone()
        return found in (place, (None, None))

    def _place(self, row: Row) -> tuple[int, int]:
        if row.shard not in self._shards:
            self._shards[row.shard] = len(self._paths)
            self._paths.append(row.shard)
        return self._shards[row.shard], row.number
