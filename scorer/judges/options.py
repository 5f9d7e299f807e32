"""Checks the options of judges: one sentence for each mistake.

Knows the keys of the run file's [judge] by name, and nothing of what a judge does with them.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args, get_type_hints


def option_names(make: Callable[..., Any]) -> tuple[str, ...] | None:
    """The options that a judge takes; None where it takes any.

    Keyword arguments that are typed as `**asking: Unpack[Options]` are options, too.
    """
    names: list[str] = []
    holder: Any = make
    for name, parameter in inspect.signature(make).parameters.items():
        if parameter.kind is not parameter.VAR_KEYWORD:
            names.append(name)
        elif str(parameter.annotation).startswith("Unpack["):
            hints = get_type_hints(holder.__init__ if isinstance(make, type) else holder)
            taken = get_args(hints[name])[0].__annotations__
            own = [one for one in getattr(make, "defaults", ()) if one in taken]
            names += [*own, *(one for one in taken if one not in own)]
        else:
            return None
    return tuple(names)


def option_defaults(make: Callable[..., Any]) -> dict[str, Any]:
    """A judge's own options with their defaults: its keyword arguments, or what it holds as `defaults`."""
    parameters = inspect.signature(make).parameters.values()
    named = {one.name: one.default for one in parameters if one.kind is one.KEYWORD_ONLY}
    return named | dict(getattr(make, "defaults", {}))


def count_problems(name: str, value: Any) -> list[str]:
    """A sentence where the option is no whole number from 1 up."""
    good = isinstance(value, int) and not isinstance(value, bool) and value >= 1
    return [] if good else [f"judge.{name}: {value!r} is not allowed; a whole number from 1 up is."]


def choice_problems(name: str, value: Any, allowed: Sequence[Any]) -> list[str]:
    """A sentence where the option is none of `allowed`."""
    if value in allowed and not isinstance(value, bool):
        return []
    return [f"judge.{name}: {value!r} is unknown; allowed are {', '.join(map(str, allowed))}."]


def prompt_text(
    kind: str, prompt: str | None, rubric: str | None, rubrics: Mapping[str, str], problems: list[str]
) -> str:
    """The prompt or the built-in one behind `rubric`; adds a sentence to `problems` for each mistake."""
    if rubric is not None:
        if prompt is not None:
            problems.append("judge.prompt and judge.rubric: both are given; one of them is allowed.")
        problems += choice_problems("rubric", rubric, tuple(rubrics))
        return rubrics.get(rubric, "")
    if prompt is None:
        problems.append(
            f"judge.prompt: missing; {kind} needs a prompt, or rubric = {' | '.join(repr(name) for name in rubrics)}."
        )
    return prompt or ""


def weights_of(weights: Any, criteria: Sequence[str], problems: list[str]) -> tuple[float, ...]:
    """The weight of each criterion in their order, 1 where none is given; adds to `problems` what is wrong with them.

    `weights` is a table of criteria and weights, which may leave some out, a list with one for each, or None.
    """
    if weights is None:
        return (1.0,) * len(criteria)
    table = weights if isinstance(weights, Mapping) else None
    listed = not isinstance(weights, str) and isinstance(weights, Sequence)
    allowed = "a table of criteria and numbers from 0 up is, or a list with one number for each criterion, not all 0"
    wrong = []
    if not criteria:
        wrong.append("there are no judge.criteria to weigh")
    elif table is None and (not listed or len(weights) != len(criteria)):
        wrong.append(f"there are {len(criteria)} criteria, and it is no list of as many numbers")
    given = dict(table if table is not None else zip(criteria, weights if listed else (), strict=False))
    wrong += [
        f"{name!r} is no criterion ({', '.join(criteria)})" for name in given if criteria and name not in criteria
    ]
    bad = [name for name, weight in given.items() if not _is_weight(weight)]
    wrong += [f"{given[name]!r} for {name!r} is no number from 0 up" for name in bad]
    if not bad and criteria and not any(given.get(name, 1) for name in criteria):
        wrong.append("every weight is 0")
    if wrong:
        problems.append(f"judge.weights: {weights!r} is not allowed: {'; '.join(wrong)}. What is allowed: {allowed}.")
        return ()
    return tuple(float(given.get(name, 1)) for name in criteria)


def _is_weight(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf
