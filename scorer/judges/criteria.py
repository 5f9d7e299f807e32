"""The criteria of a rating, from names or tables of the run file: scale, labels, weight, description. Checks them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from scorer.frozen import dataclass
from scorer.judges.options import weights_of
from scorer.judges.reading.numbers import Numbers
from scorer.judges.reading.phrases import plain
from scorer.judges.reading.scales import Scale
from scorer.judges.scale_options import chosen

KEYS = ("name", "description", "scale", "weight")
"""The keys of a criterion that is a table."""


@dataclass(frozen=True, slots=True)
class Criterion:
    """One criterion; `name` is "" for the only score. `ends` are the lowest and the highest score of its scale."""

    name: str
    scale: Scale
    labels: Mapping[str, float]
    ends: tuple[float, float]
    weight: float = 1.0
    description: str = ""

    @property
    def slot(self) -> str:
        """What the judge model is asked to write for the verdict."""
        if isinstance(self.scale, Numbers):
            return f"<a number from {self.scale.low:g} to {self.scale.high:g}>"
        return f"<one of: {', '.join(self.labels)}>"

    def on(self, ends: tuple[float, float], value: float) -> float:
        """A value of this scale on the scale from ends[0] to ends[1]; it stays where the two are the same."""
        if ends == self.ends:
            return value
        (low, high), (bottom, top) = self.ends, ends
        return bottom + (value - low) / (high - low) * (top - bottom)

    def step(self, n: int) -> Any:
        """A verdict, as a number or a label; `n` picks one of those that the scale has."""
        if self.labels:
            return list(self.labels)[n % len(self.labels)]
        low, high = self.ends
        steps = range(math.ceil(low), math.floor(high) + 1)
        return steps[n % len(steps)] if len(steps) > 1 else (low, (low + high) / 2, high)[n % 3]

    def said(self, value: float) -> Any:
        """A value of this scale as a reply says it: the label that stands for it, or the number."""
        if self.labels and not isinstance(self.scale, Numbers):
            return next(label for label, stands_for in self.labels.items() if stands_for == value)
        return int(value) if value == int(value) else value

    def schema(self) -> dict[str, Any]:
        """The JSON schema of the verdict. Bounds stand in its description too, for servers whose schemas know none."""
        about = {"description": self.description} if self.description else {}
        if self.labels and not isinstance(self.scale, Numbers):
            return {"type": "string", "enum": list(self.labels), **about}
        low, high = self.ends
        if self.labels or (low == int(low) and high == int(high) and high - low <= _MOST_STEPS):
            values = sorted(set(self.labels.values())) if self.labels else range(int(low), int(high) + 1)
            if all(value == int(value) for value in values):
                return {"type": "integer", "enum": [int(value) for value in values], **about}
            return {"type": "number", "enum": list(values), **about}
        ends = f"{self.description} From {low:g} to {high:g}.".strip()
        return {"type": "number", "minimum": low, "maximum": high, "description": ends}


_MOST_STEPS = 20


def criteria_of(
    given: Any, weights: Any, scale: Any, labels: Any, read: str, problems: list[str]
) -> tuple[Criterion, ...]:
    """The criteria of the run file, or the one score where it names none.

    `given` is a list of names, or of tables with `name` and, where wanted, `description`, `scale` and `weight`. Adds
    one sentence to `problems` for each mistake.
    """
    table, whole = chosen(scale, labels, read, problems)
    tables = _tables(given, problems)
    if tables is None:
        if not given:
            weights_of(weights, (), problems)
        return (_criterion({"name": ""}, table, whole, scale),)
    names = [str(one["name"]) for one in tables]
    own = {one["name"]: one["weight"] for one in tables if "weight" in one}
    if own and weights is not None:
        problems.append("judge.weights and judge.criteria: both give weights; keep those of one of them.")
        weights = None
    weighed = weights_of(own or weights, names, problems) or (1.0,) * len(names)
    made = []
    for place, (one, weight) in enumerate(zip(tables, weighed, strict=True)):
        ends, mine, where = scale, (table, whole), f"judge.criteria[{place}].scale"
        if one.get("scale") is not None and one["scale"] != scale:
            ends, mine = one["scale"], chosen(one["scale"], labels, read, problems, where)
        made.append(_criterion(one, *mine, ends, weight))
    return tuple(made)


def _criterion(
    one: Mapping[str, Any], labels: Mapping[str, float], scale: Scale, ends: Any, weight: float = 1.0
) -> Criterion:
    try:
        low, high = (float(end) for end in ends)
    except (TypeError, ValueError):
        low, high = 0.0, 1.0  # a problem already
    return Criterion(str(one["name"]), scale, labels, (low, high), weight, str(one.get("description") or ""))


def _tables(given: Any, problems: list[str]) -> list[dict[str, Any]] | None:
    """Each criterion as a table; None where there are none, or where what is given is no such list."""
    if given is None or (not isinstance(given, str | Mapping) and isinstance(given, Sequence) and not given):
        return None
    if isinstance(given, str | Mapping) or not isinstance(given, Sequence):
        problems.append(f"judge.criteria: {given!r} is not allowed; a list of names or of tables is.")
        return None
    tables: list[dict[str, Any]] = []
    for place, one in enumerate(given):
        if isinstance(one, str) and one.strip():
            tables.append({"name": one})
        elif isinstance(one, Mapping):
            wrong = _table_problems(one, f"judge.criteria[{place}]")
            problems += wrong
            if not wrong:
                tables.append(dict(one))
        else:
            problems.append(f"judge.criteria: {given!r} is not allowed; a list of names or of tables is.")
            return None
    names = [plain(one["name"]).strip() for one in tables]
    problems += [
        f"judge.criteria: {one['name']!r} is there twice; a reply could not tell them apart. Remove one."
        for place, one in enumerate(tables)
        if names[place] in names[:place]
    ]
    return tables or None


def _table_problems(one: Mapping[str, Any], where: str) -> list[str]:
    problems = [
        f"{where}.{key}: is no key of a criterion; allowed are {', '.join(KEYS)}." for key in one if key not in KEYS
    ]
    name, description, weight = one.get("name"), one.get("description", ""), one.get("weight", 1)
    if not isinstance(name, str) or not name.strip():
        problems.append(f"{where}.name: {name!r} is not allowed; a criterion needs a name.")
    if not isinstance(description, str):
        problems.append(f"{where}.description: {description!r} is not allowed; text is.")
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight < math.inf:
        problems.append(f"{where}.weight: {weight!r} is not allowed; a number from 0 up is.")
    return problems


def descriptions(criteria: Sequence[Criterion]) -> str:
    """What the criteria mean, for the end of a prompt; "" where none has a description."""
    lines = [f"{one.name}: {one.description}" for one in criteria if one.description]
    return "\n\nCriteria:\n" + "\n".join(lines) if lines else ""


def names_of(given: Any) -> tuple[str, ...]:
    """The names of the run file's criteria."""
    return tuple(str(one["name"]) if isinstance(one, Mapping) else str(one) for one in given or ())


def are_tables(given: Any) -> bool:
    """Whether the run file gives a criterion as a table, which asks for a reason of its own for each."""
    return isinstance(given, Sequence) and any(isinstance(one, Mapping) for one in given)
