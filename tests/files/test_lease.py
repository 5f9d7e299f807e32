"""Promise: one owner at a time, whatever the clocks; a dead owner is replaced, and a replaced one stops."""

from __future__ import annotations

from contextlib import suppress

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scorer.errors import InUse, OutputError, StorageError
from scorer.files.lease import BEATS, SILENCE, Conflict, Lease, LockTaker, Version, alive, read_hold
from scorer.files.locking import lock_again_s

LEASE_S = 12.0
PATIENCE_S = 60.0


class MemoryCell:
    """The object in memory. `down` raises as an unreachable store does; `lost` writes and loses the answer."""

    def __init__(self) -> None:
        self.data: bytes | None = None
        self.version = 0
        self.down = False
        self.lost = False

    def read(self) -> tuple[bytes, Version] | None:
        if self.down:
            raise StorageError("down")
        return None if self.data is None else (self.data, {"e_tag": str(self.version)})

    def swap(self, data: bytes, version: Version | None) -> Version:
        if self.down:
            raise StorageError("down")
        if version != (None if self.data is None else {"e_tag": str(self.version)}):
            raise Conflict
        self.data, self.version = data, self.version + 1
        if self.lost:  # asked again by the store's client, the same condition no longer holds
            raise Conflict
        return {"e_tag": str(self.version)}


class Machine:
    """An owner with a clock of its own, `ahead` of everybody's and running at `rate`."""

    def __init__(self, cell: MemoryCell, time: list[float], ahead: float = 0.0, rate: float = 1.0) -> None:
        self.taker = LockTaker(
            cell,
            "b/out",
            patience_s=PATIENCE_S,
            lease_s=LEASE_S,
            clock=lambda: ahead + rate * time[0],
            start=False,
        )

    def take(self, owner: str) -> Lease:
        return self.taker.take(owner)


@pytest.fixture
def cell() -> MemoryCell:
    return MemoryCell()


@pytest.fixture
def time() -> list[float]:
    return [0.0]


def test_lease_that_is_released_is_taken_at_once_with_the_next_epoch(cell: MemoryCell, time: list[float]) -> None:
    first = Machine(cell, time).take("one")
    first.release()
    second = Machine(cell, time).take("two")
    assert (first.epoch, second.epoch) == (1, 2)
    assert second.sure()


def test_lease_of_a_silent_owner_is_taken_after_one_and_a_half_leases(cell: MemoryCell, time: list[float]) -> None:
    Machine(cell, time).take("one")
    other = Machine(cell, time, ahead=1e6)
    with pytest.raises(InUse, match="b/out is in use by one"):
        other.take("two")
    time[0] = SILENCE * LEASE_S - 0.1
    with pytest.raises(InUse) as refused:
        other.take("two")
    assert lock_again_s(refused.value, 99) == pytest.approx(0.1)
    time[0] = SILENCE * LEASE_S
    assert other.take("two").epoch == 2


def test_taker_measures_silence_from_the_first_answer_to_the_last_request(cell: MemoryCell, time: list[float]) -> None:
    Machine(cell, time).take("one")
    other, read = Machine(cell, time), cell.read

    def slowly() -> tuple[bytes, Version] | None:
        time[0] += 3.0
        return read()

    cell.read = slowly  # type: ignore[method-assign]
    with pytest.raises(InUse):
        other.take("two")
    time[0] = 3.0 + SILENCE * LEASE_S - 0.1
    with pytest.raises(InUse):
        other.take("two")
    time[0] = 3.0 + SILENCE * LEASE_S
    assert other.take("two").epoch == 2


def test_lease_that_is_renewed_is_never_taken(cell: MemoryCell, time: list[float]) -> None:
    owner, other = Machine(cell, time).take("one"), Machine(cell, time, ahead=-50.0)
    for _ in range(99):  # a first look and a second one in turn
        with pytest.raises(InUse) as refused:
            other.take("two")
        for _ in range(3):
            time[0] += LEASE_S / BEATS
            owner.renew()
    with pytest.raises(InUse) as refused:
        other.take("two")
    assert refused.value.again_s is None
    assert lock_again_s(refused.value, 1) is None
    assert owner.sure()


def test_lease_is_unsure_before_another_owner_can_be_sure(cell: MemoryCell, time: list[float]) -> None:
    owner, other = Machine(cell, time).take("one"), Machine(cell, time)
    with pytest.raises(InUse):
        other.take("two")
    time[0] = LEASE_S
    assert not owner.sure()
    time[0] = SILENCE * LEASE_S
    other.take("two")
    assert not owner.sure()
    owner.renew()
    with pytest.raises(OutputError, match="b/out was taken over by two"):
        owner.sure()
    owner.release()
    found = read_hold(cell)
    assert found is not None
    assert (found[0].owner, found[0].free) == ("two", False)


def test_lease_of_a_suspended_owner_continues_where_it_was_not_taken(cell: MemoryCell, time: list[float]) -> None:
    owner = Machine(cell, time).take("one")
    time[0] = 1000.0
    assert not owner.sure()
    owner.renew()
    assert owner.sure()


def test_lease_survives_a_lost_response_to_a_renewal(cell: MemoryCell, time: list[float]) -> None:
    cell.lost = True
    owner = Machine(cell, time).take("one")
    time[0] = LEASE_S / BEATS
    owner.renew()
    assert owner.sure()
    assert owner.epoch == 1


def test_lease_is_unsure_while_the_store_is_down_and_ends_after_patience_s(cell: MemoryCell, time: list[float]) -> None:
    owner = Machine(cell, time).take("one")
    cell.down = True
    time[0] = LEASE_S + PATIENCE_S
    owner.renew()
    assert not owner.sure()
    time[0] += 1
    owner.renew()
    with pytest.raises(StorageError, match="down"):
        owner.sure()
    owner.release()


def test_taker_counts_unreadable_content_as_held(cell: MemoryCell, time: list[float]) -> None:
    cell.swap(b"\xff not ours", None)
    other = Machine(cell, time)
    with pytest.raises(InUse, match="in use by an unknown process"):
        other.take("two")
    time[0] = SILENCE * LEASE_S
    assert other.take("two").sure()


def test_alive_is_true_after_a_new_version(cell: MemoryCell, time: list[float]) -> None:
    assert not alive(cell)
    owner = Machine(cell, time).take("one")

    def pass_time(seconds: float) -> None:
        time[0] += seconds

    def renew_meanwhile(seconds: float) -> None:
        pass_time(seconds)
        if time[0] >= LEASE_S / BEATS:
            owner.renew()

    assert not alive(cell, sleep=pass_time)
    assert time[0] == pytest.approx(2.5 * LEASE_S / BEATS)
    time[0] = 0.0
    assert alive(cell, sleep=renew_meanwhile)
    owner.release()
    assert not alive(cell)
    assert orjson.loads(cell.data or b"")["free"]


def test_alive_does_not_take_a_store_that_hangs_for_a_dead_holder(cell: MemoryCell, time: list[float]) -> None:
    owner = Machine(cell, time).take("one")
    reads = iter((0.0, LEASE_S))  # the second read is answered after a lease, and the owner's renewal after that

    def read() -> tuple[bytes, Version] | None:
        time[0] += next(reads, 0.0)
        return MemoryCell.read(cell)

    def sleep(seconds: float) -> None:
        time[0] += seconds
        if time[0] > LEASE_S + LEASE_S / BEATS:
            owner.renew()

    cell.read = read  # type: ignore[method-assign]
    assert alive(cell, sleep=sleep)


_MOVES = st.lists(
    st.tuples(st.sampled_from([0.0, 1.5, 5.0, 10.5]), st.integers(0, 2), st.sampled_from(["act", "act", "release"])),
    min_size=8,
    max_size=20,
)


@settings(max_examples=25)
@given(moves=_MOVES)
def test_leases_are_never_sure_at_the_same_time(moves: list[tuple[float, int, str]]) -> None:
    """Three machines whose clocks disagree by years and run up to a fifth faster or slower than one another."""
    cell, time = MemoryCell(), [0.0]
    machines = [Machine(cell, time, ahead=1e8 * n, rate=rate) for n, rate in enumerate((1.0, 1.1, 0.92))]
    held: dict[int, Lease] = {}
    for pause_s, who, move in moves:
        time[0] += pause_s
        if who not in held:
            with suppress(InUse):
                held[who] = machines[who].take(f"machine {who}")
        elif move == "release":
            held.pop(who).release()
        else:
            held[who].renew()
        sure = []
        for one, lease in list(held.items()):
            try:
                sure += [one] if lease.sure() else []
            except OutputError:
                del held[one]
        assert len(sure) <= 1
