"""Promise: no chunk is struck that exists, none is sent twice, and none is left unknown: wherever a kill falls."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from scorer.batch.reconcile import Action, CancelSecond, Close, Listing, Mark, ReadFirstId, proof, reconcile, since
from scorer.batch.types import Batch
from scorer.output.chunk import Chunk, Event, after

GRACE_S = 600.0


def at(state: str, **more: object) -> Chunk:
    return replace(Chunk("n1", 2), state=state, sending_at=100.0, **more)  # type: ignore[arg-type]


def made(id: str = "b1", **more: object) -> Batch:
    return replace(Batch(id, "running", 100.0, nonce="n1", requests=2), **more)  # type: ignore[arg-type]


def actions(chunk: Chunk, *batches: Batch, now: float = 200.0, names: bool = True) -> list[Action]:
    return reconcile([chunk], Listing(batches, now), names=names, grace_s=GRACE_S)


def test_reconcile_strikes_what_was_never_sent() -> None:
    assert actions(Chunk("n1", 2)) == [Close("n1")]


def test_reconcile_takes_the_batch_with_the_nonce_and_no_other() -> None:
    for state in ("sending", "unclear"):
        found = actions(at(state), made("b0", nonce="n0"), made(), made("b2", nonce=None))
        assert found == [Mark("n1", Event("created", "b1"))]
    assert actions(at("created", batch_id="b1"), made()) == []


def test_batch_that_a_listing_shows_twice_is_not_its_own_twin() -> None:
    assert actions(at("unclear", unclear_at=1.0), made(), made()) == [Mark("n1", Event("created", "b1"))]


@pytest.mark.parametrize("names", [True, False])
def test_reconcile_strikes_only_after_the_grace_since_the_last_unclear_moment(names: bool) -> None:
    assert actions(at("sending"), now=99_999.0, names=names) == [Mark("n1", Event("unclear", 99_999.0))]
    unclear = at("unclear", unclear_at=1000.0)
    assert actions(unclear, now=1599.0, names=names) == []
    assert actions(unclear, now=1600.0, names=names) == [Close("n1")]


def test_reconcile_takes_the_furthest_of_two_and_enters_the_other() -> None:
    ended, running, failed = made("b1", status="ended"), made("b2"), made("b3", status="failed")
    assert actions(at("unclear"), running, failed, ended) == [
        Mark("n1", Event("created", "b1")),
        CancelSecond("n1", "b2"),
        Mark("n1", Event("ruled_out", "b3")),
    ]
    assert actions(at("fetched", batch_id="b1"), running, ended) == [CancelSecond("n1", "b2")]


def test_reconcile_without_names_waits_for_proof_of_each_that_may_be_it() -> None:
    unclear = at("unclear", unclear_at=150.0)
    others = [made("b5", requests=3), made("b6", created_at=39.0), made("b7")]
    held = replace(unclear, ruled_out=frozenset({"b7"}))
    assert actions(held, *others, made("b8"), now=99_999.0, names=False) == []
    assert actions(held, *others, made("b8", status="ended"), now=99_999.0, names=False) == [ReadFirstId("n1", "b8")]
    assert actions(held, *others, now=99_999.0, names=False) == [Close("n1")]
    assert proof(unclear, "b8", "n1-1") == Event("created", "b8")
    for alien in ("n1-2", "n2-1", None):
        assert proof(unclear, "b8", alien) == Event("ruled_out", "b8")


def test_reconcile_does_not_take_the_batch_of_another_chunk_for_a_candidate() -> None:
    other = replace(Chunk("n2", 2), state="created", batch_id="b2", twins=frozenset({"b3"}))
    listing = Listing([made("b2"), made("b3")], 99_999.0)
    assert reconcile([at("unclear"), other], listing, names=False, grace_s=GRACE_S) == [Close("n1")]


def test_listing_begins_a_minute_before_the_oldest_unknown_chunk() -> None:
    assert since([at("created"), Chunk("n0", 1)]) is None
    assert since([at("unclear"), replace(at("sending"), sending_at=90.0), Chunk("n0", 1)]) == 30.0


# --- a provider that lags, makes twice, and is shared with others -----------------------------------------------------


@dataclass
class Made:
    """A batch as the provider knows it. `owner` is the nonce in its custom_ids; `lag_s` keeps it from listings."""

    batch: Batch
    owner: str
    lag_s: float
    cancelled: bool = False


@dataclass
class World:
    """The provider, and what is durable of ours; a process that is killed loses nothing else."""

    names: bool
    now: float = 1000.0
    batches: list[Made] = field(default_factory=list)
    logs: dict[str, Chunk] = field(default_factory=dict)
    sent: dict[str, int] = field(default_factory=dict)

    def make(self, nonce: str, lag_s: float, requests: int = 2) -> str:
        shown = nonce if self.names else None
        batch = Batch(f"b{len(self.batches)}", "running", self.now, nonce=shown, requests=requests)
        self.batches.append(Made(batch, nonce, lag_s))
        return batch.id

    def listing(self, start: float) -> Listing:
        shown = [m.batch for m in self.batches if m.batch.created_at >= start]
        return Listing([b for b, m in zip(shown, self.shown(start), strict=True) if m], self.now)

    def shown(self, start: float) -> list[bool]:
        return [self.now >= m.batch.created_at + m.lag_s for m in self.batches if m.batch.created_at >= start]

    def mark(self, nonce: str, event: Event) -> None:
        self.logs[nonce] = after(self.logs[nonce], event)

    @property
    def open(self) -> list[Chunk]:
        return [chunk for chunk in self.logs.values() if chunk.state != "closed"]

    def reconcile(self, cut: int = 99) -> None:
        """One pass, killed after `cut` actions."""
        start = since(self.open)
        listing = self.listing(0.0 if start is None else start)
        for action in reconcile(self.open, listing, names=self.names, grace_s=GRACE_S)[:cut]:
            self.act(action)

    def act(self, action: Action) -> None:
        match action:
            case Mark(nonce, event):
                self.mark(nonce, event)
            case Close(nonce):
                self.mark(nonce, Event("closed", "struck"))
            case CancelSecond(nonce, id):
                self.mark(nonce, Event("twin", id))
                next(m for m in self.batches if m.batch.id == id).cancelled = True
            case ReadFirstId(nonce, id) if self.logs[nonce].unknown:
                owner = next(m.owner for m in self.batches if m.batch.id == id)
                self.mark(nonce, proof(self.logs[nonce], id, f"{owner}-0"))


class Reconciling(RuleBasedStateMachine):
    @initialize(names=st.booleans())
    def begin(self, names: bool) -> None:
        self.world = World(names)

    @rule(
        how=st.sampled_from(["intent", "sending", "not made", "made", "made twice", "answered"]),
        lag_s=st.floats(0, GRACE_S - 1),
        unclear=st.booleans(),
    )
    def submit(self, how: str, lag_s: float, unclear: bool) -> None:
        """A chunk, killed at an edge of its life; a kill leaves `sending`, an answer that says nothing `unclear`."""
        world, nonce = self.world, f"n{len(self.world.logs)}"
        world.logs[nonce] = Chunk(nonce, 2)
        if how == "intent":
            return
        world.mark(nonce, Event("sending", world.now))
        if how == "sending":
            return
        world.sent[nonce] = world.sent.get(nonce, 0) + 1
        ids = [
            world.make(nonce, lag_s)
            for _ in range(("not made", "made", "made twice").index(how) if how != "answered" else 1)
        ]
        if how == "answered":
            world.mark(nonce, Event("created", ids[0]))
        elif unclear:
            world.mark(nonce, Event("unclear", world.now))

    @rule(lag_s=st.floats(0, GRACE_S - 1), requests=st.integers(1, 3))
    def others_submit(self, lag_s: float, requests: int) -> None:
        self.world.make("alien", lag_s, requests)

    @rule(seconds=st.floats(0, 2 * GRACE_S))
    def time_passes(self, seconds: float) -> None:
        self.world.now += seconds

    @rule(number=st.integers(0, 30), status=st.sampled_from(["ended", "failed"]))
    def a_batch_ends(self, number: int, status: str) -> None:
        if number < len(self.world.batches):
            one = self.world.batches[number]
            if one.batch.status == "running" and not (status == "failed" and not self.world.names):
                one.batch = replace(one.batch, status=status)  # type: ignore[arg-type]

    @rule(cut=st.integers(0, 3))
    def reconcile_and_kill(self, cut: int) -> None:
        self.world.reconcile(cut)

    @invariant()
    def nothing_that_was_made_is_struck_or_taken_by_another(self) -> None:
        for one in self.world.batches if hasattr(self, "world") else ():
            holders = [chunk for chunk in self.world.logs.values() if one.batch.id in (chunk.batch_id, *chunk.twins)]
            assert all(chunk.nonce == one.owner for chunk in holders)
            if one.owner != "alien":
                assert self.world.logs[one.owner].state != "closed"

    def teardown(self) -> None:
        """Once everything has ended and lags are over, every batch of ours is known, every other chunk is struck."""
        world = self.world
        for _ in range(4):
            world.batches = [
                replace(
                    one, batch=replace(one.batch, status="ended" if one.batch.status == "running" else one.batch.status)
                )
                for one in world.batches
            ]
            world.now += GRACE_S
            world.reconcile()
        for chunk in world.logs.values():
            ours = {one.batch.id for one in world.batches if one.owner == chunk.nonce}
            assert world.sent.get(chunk.nonce, 0) <= 1
            assert (chunk.state == "closed") == (not ours)
            assert not chunk.unknown
            if world.names:
                assert ours <= {chunk.batch_id, *chunk.twins, *chunk.ruled_out}


Reconciling.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestReconciling = Reconciling.TestCase
