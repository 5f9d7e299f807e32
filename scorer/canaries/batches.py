"""Canaries in provider batches: known rows in each chunk, watched in the order in which they were put into chunks.

A canary is a row of a shard that is no file: `canary:`, the start that drew it, and a digest of the known rows. With
its number that says which known row it is, so that a later start can judge its replies. Where the known rows have
changed since, it is left alone.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator
from contextlib import aclosing
from dataclasses import replace
from math import ceil

import msgspec
import numpy as np

from scorer.batch.building import InputRows
from scorer.batch.open_chunks import OpenChunks
from scorer.batch.rows import BatchRows, Numbers
from scorer.build.open_run import OpenRun
from scorer.canaries.watching import Canaries
from scorer.engine.engine import RunContext
from scorer.output.canary_files import SHARD
from scorer.types import Mask, Result, Row, Shard, Work

Key = tuple[str, int]
"""The shard and the number of a canary: in the order in which canaries are drawn."""
_SPARE = 64
"""Canaries beyond the share of all rows: each wave of a question rounds up."""


class BatchCanaries:
    """The canaries of a start, drawn into `rows`. `watch` gets their answers; `input_rows` are those of the run."""

    def __init__(
        self, opened: OpenRun, watch: Canaries, chunks: OpenChunks, rows: BatchRows, input_rows: InputRows
    ) -> None:
        self._watch, self._pool, self._share = watch, watch.pool, watch.share
        self._chunks, self._rows, self._input = chunks, rows, input_rows
        self._run = opened.manifest.id
        many = ceil(self._share * opened.manifest.rows) + _SPARE
        self._shard = _shard(f"{SHARD}{int(opened.wall_s() * 1000):013d}-{self._pool.digest}", many)
        self._drawn = 0
        self._order: deque[Key] = deque()
        self._answers: dict[Key, Result] = {}

    # --- canaries out -------------------------------------------------------------------------------------------------

    def restore(self) -> None:
        """Takes up the canaries in the chunks of earlier starts whose answers are not stored."""
        paths: dict[str, list[Numbers]] = {}
        for one in self._chunks:
            for path, numbers in one.rows.items():
                if path.startswith(SHARD) and path.endswith(self._pool.digest):
                    paths.setdefault(path, []).append(numbers)
        for path, parts in sorted(paths.items()):
            numbers = np.unique(np.concatenate(parts))
            stored = [_name((path, number)) in self._watch.draws for number in numbers.tolist()]
            self._add(_shard(path, int(numbers[-1]) + 1), numbers[~np.array(stored)])

    def draw(self) -> None:
        """Draws canaries for the rows that are to be put into batches: their share of these, at least one."""
        todo = {True: 0, False: 0}
        for part in self._rows.parts:
            todo[part.shard.path.startswith(SHARD)] += int(np.logical_or.reduce([*part.todo.values()]).sum())
        many = min(ceil(self._share * todo[False]) - todo[True], self._shard.rows - self._drawn)
        if many > 0:
            self._add(self._shard, np.arange(self._drawn, self._drawn + many))
            self._drawn += many

    def _add(self, shard: Shard, numbers: Numbers) -> None:
        mask: Mask = np.zeros(shard.rows, dtype=bool)
        mask[numbers] = True
        self._rows.add(Work(shard, mask), ahead=True)
        self._order.extend((shard.path, int(number)) for number in numbers)

    def read(self, works: Iterable[Work], unread: dict[str, str]) -> Iterator[list[Row]]:
        """The rows of some work, those of canaries evenly among the others, where they come first in it."""
        waiting = deque[Row]()

        def of_files() -> Iterator[Work]:
            for work in works:
                if work.shard.path.startswith(SHARD):
                    waiting.extend(self._read(work))
                else:
                    yield work

        credit = 1.0 - self._share
        for rows in self._input.read(of_files(), unread):
            among: list[Row] = []
            for row in rows:
                among.append(row)
                credit += self._share
                if credit >= 1.0 and waiting:
                    credit -= 1.0
                    among.append(waiting.popleft())
            yield among
        if waiting:
            yield [*waiting]

    def online(self, works: Iterable[Work]) -> AskedFirst:
        """The canaries of some work, to be asked before rows that are asked online."""
        return AskedFirst([row for work in works for row in self._read(work)])

    def _read(self, work: Work) -> Iterator[Row]:
        assert work.todo is not None
        for number in np.flatnonzero(work.todo).tolist():
            known = self._known(work.shard.path, number)
            yield replace(known, shard=work.shard.path, number=number)

    def _known(self, path: str, number: int) -> Row:
        rows = self._pool.rows
        return rows[random.Random(f"{self._run} {path} {number}").randrange(len(rows))]

    # --- answers in ---------------------------------------------------------------------------------------------------

    def take(self, result: Result) -> None:
        """Takes the result of a canary. It waits for those to canaries that were drawn before."""
        self._answers[result.row.shard, result.row.number] = result
        while self._order and self._order[0] in self._answers:
            self._hand_on()

    def flush(self) -> None:
        """Hands on the answers that wait for others, which will not come."""
        while self._order:
            self._hand_on()

    async def write(self) -> None:
        """Makes the answers durable that were handed on."""
        await self._watch.work()

    def _hand_on(self) -> None:
        key = self._order.popleft()
        if (result := self._answers.pop(key, None)) is None:
            return
        self._rows.finish(*key)
        sent_at = self._chunks.sent_at(result.row)
        took_s = result.answered_s if sent_at is None else max(0.0, result.finished_at / 1e6 - sent_at)
        answer = self._pool.answer(result, self._known(*key), took_s)
        self._watch.take(msgspec.structs.replace(answer, draw=_name(key)))


class AskedFirst:
    """Canaries that are asked online before the rows; their results go where those of the rows go."""

    def __init__(self, rows: list[Row]) -> None:
        self._rows = rows

    async def mixed(self, batches: AsyncIterator[list[Row]]) -> AsyncGenerator[list[Row]]:
        """The canaries, then the rows."""
        async with aclosing(batches):  # type: ignore[type-var]
            if self._rows:
                yield self._rows
            async for batch in batches:
                yield batch

    def around(self, parts: RunContext) -> RunContext:
        """The same parts."""
        return parts


def _name(key: Key) -> str:
    return f"{key[0].removeprefix(SHARD)} {key[1]}"


def _shard(path: str, rows: int) -> Shard:
    return Shard(path, "canaries", 0, "", rows, "")
