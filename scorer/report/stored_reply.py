"""One stored reply to a judge's request about a row: what it says by itself, and which reply counts for a sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import nan
from typing import Any

from scorer.report.reply_places import ReplyPlace


@dataclass(frozen=True, slots=True)
class StoredReply:
    """One reply to the judge's requests about a row.

    `of` says to which: the model of a panel, the order of a pair, the criterion, the sample, "asked again" after an
    unreadable one; "" where there is but one. `value` is what this reply alone says, "" where that is unknown, an
    error's name where it is unreadable; `number` the same as a number, None for criteria and answers. `numbers` are its
    own result columns that are numbers, such as score_<criterion>. `text` is None where no reply was stored.
    """

    of: str
    value: str
    reason: str | None
    text: str | None
    number: float | None = None
    numbers: Mapping[str, float] = field(default_factory=dict)
    place: ReplyPlace = field(default_factory=ReplyPlace)


def slots_of(replies: Sequence[StoredReply], samples: int, criterion: str = "") -> list[StoredReply]:
    """The reply that counts for each sample: the last one that was asked for it and came."""
    about = [one for one in replies if one.place.criterion == criterion and not one.place.explains]
    slots, again = about[:samples], about[samples:]
    while again and (open_ := [n for n, reply in enumerate(slots) if reply.value == "Unreadable"]):
        for n in open_:
            if again and (reply := again.pop(0)).value != "NoReply":
                slots[n] = reply
    return slots


def number_of(reply: StoredReply, column: str) -> float:
    """What the reply says in a score column, nan where it says nothing."""
    value: Any = reply.number if column in ("score", "preference") else reply.numbers.get(column)
    return nan if value is None else float(value)
