"""A moment that a person writes: "07:00", the next one by local time, or ISO 8601."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from scorer.errors import SpecError
from scorer.patterns import pattern

_CLOCK = pattern(r"(\d{1,2}):(\d{2})", re.ASCII)


def is_moment(text: str) -> bool:
    """Whether a text is a moment, whenever it is."""
    if (found := _CLOCK.fullmatch(text.strip())) is not None:
        return int(found[1]) < 24 and int(found[2]) < 60
    try:
        datetime.fromisoformat(text.strip())
    except ValueError:
        return False
    return True


def moment(text: str, now: datetime, name: str, *, may_be_over: bool = False) -> datetime:
    """The moment, with its time zone. `now` has the local zone, which also holds where `text` names none.

    Raises SpecError, which calls it `name`, for another text and, unless it `may_be_over`, for a moment that is not
    after `now`.
    """
    problem = f'{name} = "{text}" is no time to come: give "07:00" (the next one) or ISO 8601, "2026-12-01T07:00".'
    found = _CLOCK.fullmatch(text.strip())
    try:
        if found is not None:
            today = now.replace(hour=int(found[1]), minute=int(found[2]), second=0, microsecond=0)
            return today if today > now else today + timedelta(days=1)
        given = datetime.fromisoformat(text.strip())
    except ValueError:
        raise SpecError([problem]) from None
    given = given if given.tzinfo is not None else given.replace(tzinfo=now.tzinfo)
    if given <= now and not may_be_over:
        raise SpecError([problem])
    return given
