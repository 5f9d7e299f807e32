"""A chunk: the requests that become one batch, and what its log says of it. Pure; times are the provider's clock.

    intent -> sending -> created -> ended -> fetched -> closed
                 |          ^
                 +-> unclear +          (from each of them to closed, where nothing was billed)

From `intent`, `sending` and `created` a chunk also becomes `failed`: its provider refused it as a whole, and billed
nothing.

A chunk in `intent` was never sent. One in `sending` or `unclear` may exist at the provider or not; `reconcile` finds
out. A chunk is sent once: from `sending` no event leads back.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from scorer.frozen import dataclass

State = Literal["intent", "sending", "unclear", "created", "ended", "fetched", "failed", "closed"]
Kind = Literal[
    "sending", "unclear", "created", "ruled_out", "twin", "twin_closed", "ended", "fetched", "failed", "closed"
]
BY_HAND = "by-hand-"
"""How the id of a batch begins that a person sends."""
LIVE: frozenset[State] = frozenset(("intent", "sending", "unclear", "created", "ended"))
"""The states in which its rows are out: no other request may ask them."""

_FROM: dict[Kind, tuple[State, ...]] = {
    "sending": ("intent",),
    "unclear": ("sending",),
    "created": ("sending", "unclear"),
    "ruled_out": ("sending", "unclear", "created", "ended", "fetched", "failed"),
    "twin": ("created", "ended", "fetched", "failed"),
    "twin_closed": ("created", "ended", "fetched", "failed"),
    "ended": ("created",),
    "fetched": ("ended",),
    "failed": ("intent", "sending", "created"),
    "closed": ("intent", "sending", "unclear", "created", "ended", "fetched", "failed"),
}


@dataclass(frozen=True, slots=True)
class Event:
    """One line of a chunk's log. `value` is a time for `sending`, `unclear` and `ended`, else an id or a word."""

    kind: Kind
    value: float | str = ""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A chunk as its log leaves it. `requests` is the number of its lines.

    `ruled_out` are batches that are not its own, or failed and billed nothing. `twins` are further batches of its
    nonce, which were entered in the ledger and cancelled; those in `twins_open` have not been read yet.
    """

    nonce: str
    requests: int
    state: State = "intent"
    sending_at: float = 0.0
    unclear_at: float = 0.0
    ended_at: float = 0.0
    batch_id: str = ""
    ruled_out: frozenset[str] = frozenset()
    twins: frozenset[str] = frozenset()
    twins_open: frozenset[str] = frozenset()
    why: str = ""

    @property
    def live(self) -> bool:
        """Its rows are out."""
        return self.state in LIVE

    @property
    def by_hand(self) -> bool:
        """A person sends it: no provider is asked after it."""
        return self.batch_id.startswith(BY_HAND)

    @property
    def unknown(self) -> bool:
        """It may have been made, and its batch is unknown."""
        return self.state in ("sending", "unclear")

    def custom_id(self, line: int) -> str:
        """The `custom_id` of one of its lines."""
        return f"{self.nonce}-{line}"

    def line_of(self, custom_id: str) -> int | None:
        """The line that a `custom_id` names; None where it is none of this chunk."""
        nonce, _, number = custom_id.rpartition("-")
        if nonce != self.nonce or not (number.isascii() and number.isdigit()) or len(number) > 9:
            return None
        return line if str(line := int(number)) == number and line < self.requests else None


def after(chunk: Chunk, event: Event) -> Chunk:
    """The chunk after an event. Raises ValueError where the event does not follow its state."""
    if chunk.state not in _FROM[event.kind]:
        raise ValueError(f"{event.kind} does not follow {chunk.state} ({chunk.nonce})")
    value = event.value
    match event.kind:
        case "sending":
            return replace(chunk, state="sending", sending_at=float(value))
        case "unclear":
            return replace(chunk, state="unclear", unclear_at=float(value))
        case "created":
            return replace(chunk, state="created", batch_id=str(value))
        case "ruled_out":
            return replace(chunk, ruled_out=chunk.ruled_out | {str(value)})
        case "twin":
            one = {str(value)}
            return replace(chunk, twins=chunk.twins | one, twins_open=chunk.twins_open | one)
        case "twin_closed":
            return replace(chunk, twins_open=chunk.twins_open - {str(value)})
        case "closed":
            if chunk.twins_open:
                raise ValueError(f"a second batch of {chunk.nonce} is still open")
            return replace(chunk, state="closed", why=str(value))
        case "failed":
            return replace(chunk, state="failed", why=str(value))
        case "ended":
            return replace(chunk, state="ended", ended_at=value if isinstance(value, float) else 0.0)
        case "fetched":
            return replace(chunk, state="fetched")
