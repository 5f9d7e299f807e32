"""Scales: what a verdict may be, and which statements of one are read on it.

A scale's `tiers` run from the surest kind of statement to the weakest; the first `sure` of them call themselves a
verdict. `prepare` removes from a normalised text what only looks like one, and moves no character.
"""

from __future__ import annotations

import re
from functools import lru_cache

from scorer.judges.reading.labels import Labels, spelled
from scorer.judges.reading.numbers import Numbers
from scorer.judges.reading.phrases import BEGIN
from scorer.judges.reading.statements import BELOW, BULLET, LINK, OPEN, REST, Tier, tier

Scale = Numbers | Labels


@lru_cache(maxsize=256)
def named_tiers(name: str, scale: Scale) -> tuple[Tier, ...]:
    """Statements of one criterion's verdict: one that opens a line, one within a line."""
    label = rf"{re.escape(spelled(name))}(?: (?:score|rating))?{LINK}"
    return (
        tier(rf"^{BULLET}{label}{OPEN}{scale.token}", rf"^{BULLET}{label}{BELOW}{scale.token}{REST}$"),
        tier(rf"{BEGIN}{label}{OPEN}{scale.token}", unquoted=True),
    )
