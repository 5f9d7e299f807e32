"""Publishing beside a run: in order, off the loop; a table that fails stops nothing and is tried again."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

import pytest

from scorer.errors import Interrupted, ScorerError, SpecError, StorageError
from scorer.publish.during import Publishing
from scorer.types import Shard


def shard(name: str) -> Shard:
    return Shard(name, name, 1, "v", 10, "f")


class Table:
    """A table that can be told to fail; what is committed stands in `rows`."""

    def __init__(self) -> None:
        self.rows: list[str] = []
        self.down = False
        self.failed: Callable[[], object] = lambda: None
        self.refuses: set[str] = set()
        self.groups: list[int] = []
        self.threads: set[int] = set()
        self.gate = threading.Event()
        self.gate.set()

    def publish(self, group: Sequence[Shard]) -> list[bool | ScorerError]:
        """As publish_shards: a refused shard keeps no other one of its group out."""
        self.groups.append(len(group))
        return [self._one(one) for one in group]

    def _one(self, one: Shard) -> bool | ScorerError:
        self.threads.add(threading.get_ident())
        self.gate.wait()
        if self.down:
            self.failed()
            raise StorageError(f"{one.path}: the catalog is down")
        if one.path in self.refuses:
            return SpecError([f"{one.path} does not fit"])
        if one.path == "bug":
            raise ZeroDivisionError
        new = one.path not in self.rows
        if new:
            self.rows.append(one.path)
        return new


class Events:
    """What was reported, in order."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []

    def __call__(self, name: str, fields: Mapping[str, Any]) -> None:
        self.events.append((name, fields["shard"]))


def begin(table: Table, events: Events, at_once: int = 1) -> Publishing:
    """Publishing that takes so many shards at once."""

    def group(waiting: Iterable[Shard]) -> list[Shard]:
        return list(islice(waiting, at_once))

    return Publishing("delta://t", table.publish, events, group)


async def until(true: Callable[[], bool]) -> None:
    while not true():  # noqa: ASYNC110 - a thread's doing, of which no event tells
        await asyncio.sleep(0.001)


async def test_publishing_commits_shards_in_order_on_its_own_thread() -> None:
    table, events = Table(), Events()
    going_on = begin(table, events)
    going_on.start([shard("a")])
    for name in "bcd":
        going_on.sealed(shard(name))
    await going_on.finish()
    await until(lambda: len(events.events) == 4)
    assert table.rows == ["a", "b", "c", "d"]
    assert len(table.threads) == 1
    assert threading.get_ident() not in table.threads
    assert events.events == [("published", name) for name in "abcd"]
    going_on.check()


async def test_publishing_reports_no_event_for_a_published_shard() -> None:
    table, events = Table(), Events()
    table.rows = ["a"]
    going_on = begin(table, events)
    going_on.start([shard("a"), shard("b")])
    await going_on.finish()
    await until(lambda: bool(events.events))
    assert events.events == [("published", "b")]
    assert going_on.committed == 1


async def test_publishing_retries_waiting_shards_at_the_end() -> None:
    table, events = Table(), Events()
    table.down = True
    going_on = begin(table, events)
    going_on.start([shard("a")])
    await until(lambda: bool(events.events))
    going_on.sealed(shard("b"))
    assert going_on.pending == 2
    assert going_on.problem == "a: the catalog is down"
    table.down = False
    await going_on.finish()  # though it paused
    assert table.rows == ["a", "b"]
    assert going_on.problem is None
    going_on.check()


async def test_publishing_retries_a_commit_that_fails_as_the_run_ends() -> None:
    table, events = Table(), Events()
    table.gate.clear()
    table.down = True
    going_on = begin(table, events)
    table.failed = lambda: setattr(table, "down", False)
    going_on.start([shard("a")])
    await until(lambda: bool(table.groups))
    ending = asyncio.create_task(going_on.finish())
    await asyncio.sleep(0)
    table.gate.set()
    await ending
    assert table.rows == ["a"]
    going_on.check()


async def test_publishing_raises_at_the_end_where_the_table_stays_down() -> None:
    table = Table()
    table.down = True
    going_on = begin(table, Events())
    going_on.start([shard("a"), shard("b"), shard("c")])
    await going_on.finish()
    with pytest.raises(StorageError, match=r"3 shards were not published to delta://t.*scores nothing again.*is down"):
        going_on.check()


async def test_publishing_continues_after_a_shard_that_does_not_fit() -> None:
    table, events = Table(), Events()
    table.refuses = {"b"}
    going_on = begin(table, events)
    going_on.start([shard(name) for name in ("a", "b", "bug", "c")])
    await going_on.finish()
    assert table.rows == ["a", "c"]
    assert going_on.pending == 2
    with pytest.raises(StorageError, match=r"(?s)2 shards were not published.*ZeroDivisionError"):
        going_on.check()


async def test_shards_that_wait_for_a_commit_share_the_next_one() -> None:
    table, events = Table(), Events()
    table.gate.clear()
    table.refuses = {"c"}
    going_on = begin(table, events, at_once=3)
    going_on.start([shard("a")])
    await until(lambda: bool(table.groups))
    for name in "bcde":
        going_on.sealed(shard(name))
    table.gate.set()
    await going_on.finish()
    await until(lambda: len(events.events) == 5)
    assert table.groups == [1, 3, 1]
    assert table.rows == ["a", "b", "d", "e"]
    assert sorted(events.events) == [("publish_failed", "c"), *(("published", name) for name in "abde")]
    assert (going_on.committed, going_on.pending) == (4, 1)


async def test_leave_finishes_the_current_commit_and_starts_no_other() -> None:
    table = Table()
    table.gate.clear()
    going_on = begin(table, Events())
    going_on.start([shard("a"), shard("b")])
    await until(lambda: bool(table.threads))
    going_on.leave()
    table.gate.set()
    await going_on.finish()
    assert table.rows == ["a"]
    with pytest.raises(StorageError, match="1 shards were not published"):
        going_on.check()
    assert Interrupted.exit_code == 130
