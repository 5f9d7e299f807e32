"""What has to be done about chunks that may exist at the provider, given a listing of its batches. Pure.

Times are the provider's clock: the chunks' and the listing's. Where a provider tells none, all of them are ours.
"""

from __future__ import annotations

from collections.abc import Sequence

from scorer.batch.types import Batch
from scorer.frozen import dataclass
from scorer.output.chunk import Chunk, Event

EARLIER_S = 60.0
"""A batch may show a time of creation that is this much before the chunk's `sending`."""


@dataclass(frozen=True, slots=True)
class Listing:
    """All of the account's batches since `since`, as they were at `now`."""

    batches: Sequence[Batch]
    now: float


@dataclass(frozen=True, slots=True)
class Mark:
    """Append an event to the chunk's log."""

    nonce: str
    event: Event


@dataclass(frozen=True, slots=True)
class Close:
    """The chunk was never made: close it in its log, then in the ledger; its rows are unscored again."""

    nonce: str


@dataclass(frozen=True, slots=True)
class ReadFirstId:
    """Read the first `custom_id` in the results of this batch, and mark what `proof` says."""

    nonce: str
    batch_id: str


@dataclass(frozen=True, slots=True)
class CancelSecond:
    """A second batch of the chunk: enter it in the ledger at the chunk's worst, mark it, then cancel it."""

    nonce: str
    batch_id: str


Action = Mark | Close | ReadFirstId | CancelSecond


def since(chunks: Sequence[Chunk]) -> float | None:
    """From when on batches must be listed; None where no chunk needs a listing."""
    return min((chunk.sending_at - EARLIER_S for chunk in chunks if chunk.unknown), default=None)


def reconcile(chunks: Sequence[Chunk], listing: Listing, *, names: bool, grace_s: float) -> list[Action]:
    """The actions, in an order that may be cut anywhere: calling it again goes on.

    `chunks` are all that are not closed, but for those that this process is sending at the moment. `names`: the
    provider keeps the nonce. While an action is left, or a chunk is `unknown`, its rows are neither sent again nor
    asked online. `grace_s` is the longest time after which a listing shows a batch.
    """
    known = {id for chunk in chunks for id in (chunk.batch_id, *chunk.twins)}
    listed = {batch.id: batch for batch in listing.batches}.values()  # what moves while pages are asked for comes twice
    actions: list[Action] = []
    for chunk in chunks:
        if chunk.state == "intent":
            actions.append(Close(chunk.nonce))
            continue
        fresh = [batch for batch in listed if batch.id not in known and batch.id not in chunk.ruled_out]
        if names:
            actions += _of_named(chunk, [batch for batch in fresh if batch.nonce == chunk.nonce], listing.now, grace_s)
        elif chunk.unknown:
            actions += _of_nameless(chunk, [batch for batch in fresh if _may_be(chunk, batch)], listing.now, grace_s)
    return actions


def proof(chunk: Chunk, batch_id: str, custom_id: str | None) -> Event:
    """What the first `custom_id` in the results of a candidate says; None where the results have none."""
    ours = custom_id is not None and chunk.line_of(custom_id) is not None
    return Event("created" if ours else "ruled_out", batch_id)


def _of_named(chunk: Chunk, found: Sequence[Batch], now: float, grace_s: float) -> list[Action]:
    if not found:
        return _of_missing(chunk, now, grace_s) if chunk.unknown else []
    actions: list[Action] = []
    rest = sorted(found, key=_furthest, reverse=True)
    if chunk.unknown:
        actions.append(Mark(chunk.nonce, Event("created", rest.pop(0).id)))
    for batch in rest:
        failed = batch.status == "failed"  # and billed nothing
        actions.append(
            Mark(chunk.nonce, Event("ruled_out", batch.id)) if failed else CancelSecond(chunk.nonce, batch.id)
        )
    return actions


def _of_nameless(chunk: Chunk, candidates: Sequence[Batch], now: float, grace_s: float) -> list[Action]:
    if not candidates:
        return _of_missing(chunk, now, grace_s)
    actions: list[Action] = [ReadFirstId(chunk.nonce, batch.id) for batch in candidates if batch.status == "ended"]
    if chunk.state == "sending":
        actions.insert(0, Mark(chunk.nonce, Event("unclear", now)))
    return actions


def _of_missing(chunk: Chunk, now: float, grace_s: float) -> list[Action]:
    if chunk.state == "sending":  # its sender may have died just now: the time of grace begins here
        return [Mark(chunk.nonce, Event("unclear", now))]
    return [Close(chunk.nonce)] if now >= chunk.unclear_at + grace_s else []


def _may_be(chunk: Chunk, batch: Batch) -> bool:
    """By what a provider without names shows: when it was made, and how many requests it has."""
    return batch.created_at >= chunk.sending_at - EARLIER_S and batch.requests in (0, chunk.requests)


def _furthest(batch: Batch) -> tuple[int, int, float, str]:
    return ("failed", "running", "ended").index(batch.status), batch.answered, -batch.created_at, batch.id
