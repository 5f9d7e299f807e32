"""What a run tells its caller while it goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from scorer.frozen import dataclass

if TYPE_CHECKING:
    from scorer.output.progress import Snapshot
    from scorer.publish.during import Tell


@dataclass(frozen=True, slots=True)
class Callbacks:
    """The callbacks of a run.

    `watch` gets a snapshot every second. `say` gets a sentence about each repair and warning, on any thread. `tell`
    gets each event (a shard is sealed or published) as a name and its fields. `answered` gets the latency in seconds of
    each request of this process.
    """

    watch: Callable[[Snapshot], None] | None = None
    say: Callable[[str], None] = lambda _: None
    tell: Tell = lambda _name, _fields: None
    answered: Callable[[float], None] | None = None


NO_CALLBACKS = Callbacks()
