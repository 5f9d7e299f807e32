"""The scoring that is under way, and what reaches it from outside: a stop, changed settings, a hurry."""

from __future__ import annotations

from scorer.engine.engine import StopFlag
from scorer.job.scoring import Range, Scoring
from scorer.limits.live_settings import LiveSettings


class CurrentPass:
    """The scoring of the present pass. Before the first one, each call changes the flags alone.

    `drain` is set once the run is to stop; `halt` once no further row is to be begun, whatever the reason.
    """

    def __init__(self) -> None:
        self.drain = StopFlag()
        self.halt = StopFlag()
        self.scoring: Scoring | None = None

    def begin_no_row(self) -> None:
        """Starts no further row; rows in flight are finished."""
        self.halt.asked = True
        if self.scoring is not None:
            self.scoring.drain()

    def apply(self, settings: LiveSettings) -> None:
        """Changes the run while it goes on. Raises SpecError for a higher cap where the run ends of the old one."""
        if self.scoring is not None:
            self.scoring.apply(settings)

    def hurry(self) -> None:
        """Shortens the retries of failing storage in workers."""
        if self.scoring is not None:
            self.scoring.hurry()

    @property
    def concurrency(self) -> Range:
        """Requests in flight, and the range that they may be changed to."""
        return Range() if self.scoring is None else self.scoring.concurrency

    @property
    def places(self) -> int:
        """How many requests may be in flight; 0 where it is not known yet. Any thread may ask."""
        return 0 if self.scoring is None else self.scoring.places
