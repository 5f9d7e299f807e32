"""Deduplicates identical requests within one process: one row asks, its duplicates copy the result.

Knows no wire, no limit, no file. A row that waits sends nothing and waits for no limit.
What is known is forgotten when the process ends (docs/project/decisions/0013).
"""

from __future__ import annotations

import pickle
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from hashlib import blake2b
from operator import attrgetter
from typing import Any

from scorer.errors import ROW_ERRORS, Refused, Rejected, RowError, TooLong
from scorer.types import (
    Judge,
    Request,
    Result,
    Row,
    Score,
)
from scorer.usage import (
    Usage,
)

QUESTIONS = 1_000_000
"""So many answers are remembered."""
ANSWER_BYTES = 96 * 1024 * 1024
"""And so many bytes of them; the oldest are forgotten first."""
ALIKE_FOR_ALL = (Refused, TooLong, Rejected)
"""Errors that the question brings about, for any row that asks it. The others may be the moment's, or a sample's."""

_asked = attrgetter(*(field.name for field in fields(Request) if field.name != "tokens"))


def question_of(judge: Judge, row: Row) -> bytes | None:
    """A 16-byte hash, equal for two rows exactly where the judge asks the same of both (collisions: 2^-128).

    They stand for the first requests of the row and for the values of all columns that the judge reads: it is pure, so
    whatever it asks later follows from these and from the answers. None where it asks nothing.
    """
    conversation = judge(row)
    try:
        requests = next(conversation)
    except Exception:  # noqa: BLE001 - whatever it is, the row asks for itself and ends in it
        return None
    finally:
        conversation.close()
    if not requests:
        return None
    read = [row.values.get(name) for name in judge.columns]
    return blake2b(repr((read, [_asked(one) for one in requests])).encode(), digest_size=16).digest()


class Deduplicator:
    """Finds rows that ask what a row before them asks: in flight, or answered and in `AnswerCache`.

    Not copied is what may come out otherwise for the next: a row that ended in any other error than `ALIKE_FOR_ALL`.
    """

    def __init__(self, judge: Judge, window: AnswerCache | None = None) -> None:
        self._judge = judge
        self._window = window or AnswerCache()
        self._waiting: dict[bytes, list[Row]] = {}

    def question(self, row: Row) -> bytes | None:
        return question_of(self._judge, row)

    def known(self, question: bytes, row: Row, now_us: int) -> Result | None:
        """The cached result of an earlier row with this hash, as this row's."""
        found = self._window.find(question)
        return None if found is None else copy_of(found, row, now_us)

    def waits(self, question: bytes, row: Row) -> bool:
        """True where another row is asking this already: `finished` will give the row back. Else this one asks."""
        waiting = self._waiting.get(question)
        if waiting is None:
            self._waiting[question] = []
            return False
        waiting.append(row)
        return True

    def finished(self, question: bytes, result: Result, now_us: int) -> tuple[list[Result], list[Row]]:
        """The duplicates that waited: copies of the result, or rows that have to ask for themselves."""
        rows = self._waiting.pop(question, [])
        if result.error is not None and not isinstance(result.error, ALIKE_FOR_ALL):
            return [], rows
        self._window.keep(question, result)
        return [copy_of(result, row, now_us) for row in rows], []

    def turned_away(self, question: bytes) -> list[Row]:
        """The rows that waited for one that asks nothing after all."""
        return self._waiting.pop(question, [])

    def __enter__(self) -> Deduplicator:
        return self

    def __exit__(self, *_: object) -> None:
        self._window.close()


class AnswerCache:
    """The answers to the last `most` questions, as far as they fit into `most_bytes`; the oldest are forgotten first.

    A table of SQLite's in memory: a dict takes twice as much. To be used by one thread at a time.
    """

    def __init__(self, most: int = QUESTIONS, most_bytes: int = ANSWER_BYTES) -> None:
        self._most, self._most_bytes = most, most_bytes
        self._shards: list[str] = []
        self._places: dict[str, int] = {}
        self._held = self._bytes = 0
        self._db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode = OFF")
        self._db.execute(
            "CREATE TABLE answers (age INTEGER PRIMARY KEY, question BLOB NOT NULL UNIQUE, shard INTEGER NOT NULL, "
            "row INTEGER NOT NULL, answer BLOB NOT NULL)"
        )

    def __len__(self) -> int:
        return self._held

    def find(self, question: bytes) -> Result | None:
        """The result of the row that asked it, without what it took."""
        found = self._db.execute("SELECT shard, row, answer FROM answers WHERE question = ?", (question,)).fetchone()
        if found is None:
            return None
        shard, number, answer = found
        return _unpacked(Row(self._shards[shard], number, {}), answer)

    def keep(self, question: bytes, result: Result) -> None:
        """Remembers it, unless the question is known, or a user's judge put into it what cannot be copied."""
        try:
            answer = _packed(result)
        except (pickle.PicklingError, TypeError, AttributeError, ValueError, RecursionError):
            return
        self._keep(question, result.row.shard, result.row.number, answer)

    def met(self, question: bytes) -> bool:
        """Whether the question is known; remembered without an answer where it is not. For counting."""
        return not self._keep(question, "", 0, b"")

    def _keep(self, question: bytes, shard: str, number: int, answer: bytes) -> bool:
        """True where the question was not known."""
        if shard not in self._places:
            self._places[shard] = len(self._shards)
            self._shards.append(shard)
        done = self._db.execute(
            "INSERT OR IGNORE INTO answers (question, shard, row, answer) VALUES (?, ?, ?, ?)",
            (question, self._places[shard], number, answer),
        )
        self._held += done.rowcount
        self._bytes += done.rowcount * len(answer)
        while self._held > self._most or self._bytes > self._most_bytes:
            age, size = self._db.execute("SELECT age, length(answer) FROM answers ORDER BY age LIMIT 1").fetchone()
            self._db.execute("DELETE FROM answers WHERE age = ?", (age,))
            self._held -= 1
            self._bytes -= size
        return bool(done.rowcount)

    def close(self) -> None:
        self._db.close()


def copy_of(result: Result, row: Row, now_us: int) -> Result:
    """The result as another row's, for which nothing was sent and nothing is paid."""
    error = result.error
    return replace(
        result,
        row=row,
        error=None if error is None else _error(type(error), error.detail, error.fields),
        usage=Usage(0, 0, 0),
        cost_pico=0,
        attempts=0,
        waited_s=0.0,
        answered_s=0.0,
        finished_at=now_us,
        copied_from=f"{result.row.shard}#{result.row.number}",
    )


def _error(kind: type[RowError], detail: str, fields: Mapping[str, Any]) -> RowError:
    error = kind(detail)
    error.fields = fields
    return error


def _packed(result: Result) -> bytes:
    score, error = result.score, result.error
    fields = (
        None if score is None else (score.value, score.reason, score.method, score.samples, score.fields or None),
        None if error is None else (error.name, error.detail, error.fields or None),
        result.raw,
        result.model,
        result.finish_reason,
        result.system_fingerprint,
    )
    return pickle.dumps(fields, protocol=5)  # never leaves the process


def _unpacked(row: Row, answer: bytes) -> Result:
    fields = pickle.loads(answer)
    score: Sequence[object] | None
    error: tuple[str, str, Mapping[str, Any] | None] | None
    score, error, raw, model, finish_reason, fingerprint = fields
    return Result(
        row=row,
        score=None if score is None else _score(*score),
        error=None if error is None else _error(ROW_ERRORS[error[0]], error[1], error[2] or {}),
        raw=raw,
        model=model,
        finish_reason=finish_reason,
        usage=None,
        cost_pico=None,
        attempts=0,
        waited_s=0.0,
        answered_s=0.0,
        finished_at=0,
        system_fingerprint=fingerprint,
    )


def _score(value: float, reason: str | None, method: str, samples: int, more: dict[str, object] | None) -> Score:
    return Score(value, reason, method, samples, more or {})
