"""Promise: one owner at a time, whatever their clocks say; a dead one is replaced, a replaced one knows it."""

from __future__ import annotations

from contextlib import suppress

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scorer.errors import InUse, OutputError, StorageError
from scorer.files.files import lock_again_s
from scorer.files.lease import BEATS, SILENCE, Conflict, Lease, Taker, Version, alive, read_hold

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
        self.taker = Taker(
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


def test_a_released_lock_is_taken_at_once_and_the_epoch_grows(cell: MemoryCell, time: list[float]) -> None:
    first = Machine(cell, time).take("one")
    first.release()
    second = Machine(cell, time).take("two")
    assert (first.epoch, second.epoch) == (1, 2)
    assert second.sure()


def test_a_silent_owner_is_replaced_after_one_and_a_half_leases_and_not_before(
    cell: MemoryCell, time: list[float]
) -> None:
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


def test_silence_counts_from_the_answer_and_to_the_question(cell: MemoryCell, time: list[float]) -> None:
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


def test_an_owner_that_gives_signs_of_life_is_never_replaced(cell: MemoryCell, time: list[float]) -> None:
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


def test_a_replaced_owner_is_unsure_before_anybody_else_can_be_sure_and_then_stops(
    cell: MemoryCell, time: list[float]
) -> None:
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


def test_an_owner_that_slept_and_was_not_replaced_goes_on(cell: MemoryCell, time: list[float]) -> None:
    owner = Machine(cell, time).take("one")
    time[0] = 1000.0
    assert not owner.sure()
    owner.renew()
    assert owner.sure()


def test_an_answer_that_was_lost_is_no_loss_of_the_lock(cell: MemoryCell, time: list[float]) -> None:
    cell.lost = True
    owner = Machine(cell, time).take("one")
    time[0] = LEASE_S / BEATS
    owner.renew()
    assert owner.sure()
    assert owner.epoch == 1


def test_a_store_that_is_down_leaves_the_owner_unsure_and_ends_it_when_patience_is_over(
    cell: MemoryCell, time: list[float]
) -> None:
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


def test_what_cannot_be_read_is_not_taken_for_free(cell: MemoryCell, time: list[float]) -> None:
    cell.swap(b"\xff not ours", None)
    other = Machine(cell, time)
    with pytest.raises(InUse, match="in use by an unknown process"):
        other.take("two")
    time[0] = SILENCE * LEASE_S
    assert other.take("two").sure()


def test_a_sign_of_life_is_a_new_version(cell: MemoryCell, time: list[float]) -> None:
    assert not alive(cell)
    owner = Machine(cell, time).take("one")

    def pass_time(seconds: float) -> None:
        time[0] += seconds

    def renew_meanwhile(seconds: float) -> None:
        pass_time(seconds)
        if time[0] >= LEASE_S / BEATS:
            owner.renew()

    assert not alive(cell, clock=lambda: time[0], sleep=pass_time)
    time[0] = 0.0
    assert alive(cell, clock=lambda: time[0], sleep=renew_meanwhile)
    owner.release()
    assert not alive(cell)
    assert orjson.loads(cell.data or b"")["free"]


_MOVES = st.lists(
    st.tuples(st.sampled_from([0.0, 1.5, 5.0, 10.5]), st.integers(0, 2), st.sampled_from(["act", "act", "release"])),
    min_size=8,
    max_size=20,
)


@settings(max_examples=25)
@given(moves=_MOVES)
def test_no_two_are_ever_sure_at_once(moves: list[tuple[float, int, str]]) -> None:
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
