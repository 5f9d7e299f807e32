"""Promise: every row is leased to one worker at a time until it is published, even if workers die."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from scorer.types import Shard, Work
from scorer.workers.messages import Slice
from scorer.workers.row_leases import MOST_OFFERED, MOST_SLICES, SLICE_ROWS, RowLeases

WORKERS = 3


def shard(name: str, rows: int) -> Shard:
    return Shard(f"in/{name}.parquet", name, 1, "1", rows, "f")


def numbers(leased: Slice) -> list[int]:
    """The row numbers of a slice."""
    if leased.mask is None:
        return list(range(leased.first, leased.stop))
    bits = np.unpackbits(np.frombuffer(leased.mask, dtype=np.uint8), count=leased.stop - leased.first)
    return (leased.first + np.flatnonzero(bits)).tolist()


def published(rows: RowLeases, leased: Slice, some: list[int]) -> None:
    rows.published(leased.shard.path, leased.generation, np.array(some, dtype=np.int64))


@dataclass
class Life:
    """What a worker holds."""

    slices: list[tuple[Slice, set[int]]] = field(default_factory=list)


class Racing(RuleBasedStateMachine):
    """Workers lease, publish some of what they hold, and die; the model is a dictionary of who has which row."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = RowLeases(WORKERS)
        self.free: set[tuple[str, int, int]] = set()
        self.held: dict[tuple[str, int, int], int] = {}
        self.lives = {worker: Life() for worker in range(1, WORKERS + 1)}
        self.hired = WORKERS
        self.shards = 0

    @rule(rows=st.integers(0, 1500), generation=st.integers(0, 1), every=st.integers(1, 5), first=st.integers(0, 200))
    @precondition(lambda self: self.shards < 4)
    def offer(self, rows: int, generation: int, every: int, first: int) -> None:
        name = f"s{self.shards}"
        self.shards += 1
        todo = np.zeros(rows, dtype=bool)
        todo[first::every] = True
        whole = every == 1 and first == 0
        self.rows.offer(Work(shard(name, rows), None if whole else todo, generation), 0)
        self.free |= {(f"in/{name}.parquet", generation, int(n)) for n in np.flatnonzero(todo)}

    @rule(which=st.integers(0, WORKERS - 1))
    def lease(self, which: int) -> None:
        worker = sorted(self.lives)[which]
        if not (portion := self.rows.portion(worker)):
            assert not self.free, "rows are free, and nobody is given them"
        for leased in portion:
            self.take(worker, leased)

    def take(self, worker: int, leased: Slice) -> None:
        got = {(leased.shard.path, leased.generation, n) for n in numbers(leased)}
        assert 0 < len(got) == leased.rows <= SLICE_ROWS
        assert got <= self.free, "leased twice, or never to be scored"
        self.free -= got
        self.held |= dict.fromkeys(got, worker)
        self.lives[worker].slices.append((leased, {n for _, _, n in got}))

    @rule(which=st.integers(0, WORKERS - 1), share=st.sampled_from([0.3, 1.0]))
    def publish(self, which: int, share: float) -> None:
        life = self.lives[sorted(self.lives)[which]]
        if life.slices:
            leased, left = life.slices[0]
            some = sorted(left)[: max(1, int(len(left) * share))]
            published(self.rows, leased, some)
            left -= set(some)
            for n in some:
                del self.held[leased.shard.path, leased.generation, n]
            if not left:
                life.slices.pop(0)

    @rule(which=st.integers(0, WORKERS - 1))
    def die(self, which: int) -> None:
        worker = sorted(self.lives)[which]
        del self.lives[worker]
        self.hired += 1
        self.lives[self.hired] = Life()
        self.rows.lost([worker])
        self.free |= {row for row, holder in self.held.items() if holder == worker}
        self.held = {row: holder for row, holder in self.held.items() if holder != worker}

    @invariant()
    def counted(self) -> None:
        assert self.rows.left == len(self.free) + len(self.held)

    def teardown(self) -> None:
        """Whoever is left finishes all of it."""
        self.rows.close()
        for worker, life in self.lives.items():
            for leased, left in life.slices:
                published(self.rows, leased, sorted(left))
            while (leased := self.rows.lease(worker)) is not None:
                published(self.rows, leased, numbers(leased))
        assert self.rows.done


Racing.TestCase.settings = settings(max_examples=10, stateful_step_count=20)
TestRacing = Racing.TestCase


def test_row_leases_split_one_large_shard_between_workers() -> None:
    rows = RowLeases(2)
    rows.offer(Work(shard("a", 100_000)), 0)
    one, two = rows.lease(1), rows.lease(2)
    assert one is not None
    assert two is not None
    assert (one.first, two.first) == (0, 50_256)  # the front, and the back half of what was left


def test_row_leases_give_each_worker_ascending_slices() -> None:
    rows = RowLeases(2)
    rows.offer(Work(shard("a", 10_000)), 0)
    slices = [rows.lease(worker) for worker in (1, 2, 1, 2, 1)]
    for worker in (0, 1):
        firsts = [leased.first for leased in slices[worker::2] if leased is not None]
        assert firsts == sorted(firsts)


def test_row_leases_give_small_shards_several_at_once_and_fewer_near_the_end() -> None:
    rows = RowLeases(2)
    offered = 0
    while rows.wants_shard:
        rows.offer(Work(shard(f"s{offered}", 200)), 0)
        offered += 1
    assert offered == 6  # two portions of 512 rows
    assert [leased.shard.stem for leased in rows.portion(1)] == ["s0", "s1", "s2"]
    assert rows.wants_shard
    rows.close()
    assert [leased.shard.stem for leased in rows.portion(2)] == ["s3"]
    assert [leased.rows for leased in rows.portion(1)] == [150]


def test_row_leases_want_no_more_shards_of_few_rows_than_some() -> None:
    rows = RowLeases(100)
    for n in range(MOST_OFFERED):
        assert rows.wants_shard
        rows.offer(Work(shard(f"s{n}", 1)), 0)
    assert not rows.wants_shard
    assert len(rows.portion(1)) == MOST_SLICES
    assert rows.wants_shard


def test_row_leases_give_a_portion_no_part_of_another_workers_shard() -> None:
    rows = RowLeases(2)
    for name, size in (("small", 10), ("large", 1000)):
        rows.offer(Work(shard(name, size)), 0)
    assert [leased.shard.stem for leased in rows.portion(1)] == ["small", "large"]
    rows.lease(1)
    rows.offer(Work(shard("last", 10)), 0)
    assert [leased.shard.stem for leased in rows.portion(2)] == ["last"]


def test_row_leases_shorten_slices_near_end() -> None:
    rows = RowLeases(2)
    rows.offer(Work(shard("a", 1000)), 0)
    rows.close()
    sizes = []
    while (leased := rows.lease(1)) is not None:
        sizes.append(leased.stop - leased.first)
        published(rows, leased, numbers(leased))
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == 125
    assert sizes[-1] <= 8


@settings(max_examples=20)
@given(todo=st.lists(st.booleans(), max_size=200))
def test_row_leases_lease_only_rows_still_to_do(todo: list[bool]) -> None:
    rows = RowLeases(1)
    rows.offer(Work(shard("a", len(todo)), np.array(todo, dtype=bool), 3), 7)
    found = []
    while (leased := rows.lease(1)) is not None:
        assert (leased.generation, leased.number) == (3, 7)
        found += numbers(leased)
    assert found == [n for n, wanted in enumerate(todo) if wanted]


def test_row_leases_hold_rows_until_published() -> None:
    rows = RowLeases(2)
    rows.offer(Work(shard("a", 2000)), 5)
    leased = rows.lease(1)
    assert leased is not None
    assert [work.shard.stem for work in rows.holds(1)] == ["a"]
    published(rows, leased, numbers(leased))
    assert rows.holds(1) == []


def test_row_leases_finish_without_rows_of_unreadable_shard() -> None:
    rows = RowLeases(2)
    rows.offer(Work(shard("a", 100)), 0)
    rows.offer(Work(shard("b", 10)), 0)
    rows.close()
    first = rows.lease(1)
    other = rows.lease(2)
    assert first is not None
    assert other is not None
    published(rows, first, numbers(first)[:3])
    rows.give_up("in/a.parquet")
    rows.give_up("in/a.parquet")
    assert rows.left == 10
    while (leased := rows.lease(1)) is not None:
        assert leased.shard.path == "in/b.parquet"
        published(rows, leased, numbers(leased))
    published(rows, first, numbers(first))
    published(rows, other, numbers(other))
    rows.lost([1, 2])
    assert rows.done
