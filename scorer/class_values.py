"""The values of a classifier's classes as text: what a provider makes of its reply, and a judge reads.

A row's result keeps this text, so a stored reply is read again without the model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import orjson

from scorer.frozen import dataclass


@dataclass(frozen=True, slots=True)
class ClassValues:
    """The value of each class, None where it is no finite number, and the class's name, None where it is unknown."""

    values: tuple[float | None, ...]
    labels: tuple[str | None, ...]

    @property
    def likeliest(self) -> str | None:
        """The name of the class with the highest value; None where it is unknown, or there is only one class."""
        known = [(value, place) for place, value in enumerate(self.values) if value is not None]
        return self.labels[max(known)[1]] if len(known) > 1 else None


def written(values: Sequence[float | None], labels: Sequence[str | None]) -> str:
    """The text of these values: `{"values": [-1.5, 2.0], "labels": [null, "good"]}`, without `labels` if all are None.

    The numbers are written so that they are read back bit by bit.
    """
    fields: dict[str, Any] = {"values": list(values)}
    if any(label is not None for label in labels):
        fields["labels"] = list(labels)
    return orjson.dumps(fields).decode()


def read(text: str) -> ClassValues | None:
    """The values in a text that `written` made, or in a number alone; None where there are none."""
    try:
        fields = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(fields, dict):
        return None if (value := number(fields)) is None else ClassValues((value,), (None,))
    values = fields.get("values")
    if not isinstance(values, list) or not values:
        return None
    labels = fields.get("labels", [None] * len(values))
    if not isinstance(labels, list) or len(labels) != len(values):
        return None
    return ClassValues(
        tuple(number(value) for value in values), tuple(name if isinstance(name, str) else None for name in labels)
    )


def number(value: Any) -> float | None:
    """A finite number as a float; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None
