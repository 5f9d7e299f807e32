"""The answer of `[stop]` as a value of JSON, and as a sentence: what holds, with which confidence, over which items."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from scorer.analysis.sequential.decision import Bound
from scorer.analysis.sequential.rules import Compare, Ranking
from scorer.job.stopping.early_stop import EarlyStop
from scorer.types import Mask


def statement(stop: EarlyStop, *, questions: int, together: float) -> dict[str, Any]:
    """The answer so far; it holds at any time.

    `state` is `open`, `answered` or `undecided` (no item is left). `systems` answer the question, best first, or remain
    in question. `items` were decided on, of `items_in_all`; `items_of_all_systems` before the first system went out,
    the first ones of the order. `rows_beyond` have a result and were not decided on. `questions` were asked of this
    folder, and all their answers hold together with a confidence of `together` at least.
    """
    decision, population = stop.decision, stop.population
    found = decision.answer()
    at_end = stop.taken >= stop.rounds.count
    state = "answered" if found is not None else "undecided" if at_end else "open"
    prefix = stop.rounds.items[: stop.rounds.starts[stop.taken]]
    names = list(population.systems)
    if stop.question.kind != "mean":
        left = decision.left()
        order = [int(place) for place in np.argsort(-decision.means, kind="stable") if left[place]]
        names = [population.systems[place] for place in (found if found is not None else order)]
    intervals = [_interval(stop, bound) for bound in decision.bounds()]
    value: dict[str, Any] = {
        "question": stop.question.text,
        "state": state,
        "text": "",
        "systems": names,
        "equal": found is not None and decision.equal(),
        "intervals": intervals,
        "confidence": stop.stop.confidence,
        "population": stop.stop.population,
        "method": stop.stop.method or "exact",
        "items": len(prefix),
        "items_in_all": len(population.keys),
        "items_of_all_systems": int(stop.rounds.starts[stop.balanced]),
        "rows": stop.rows,
        "rows_beyond": int(stop.done.sum()) - stop.rows,
        "unread": stop.unread,
        "counted_as": stop.stop.unread,
        "unplaced": population.unplaced,
        "questions": questions,
        "together": together,
    }
    rule = decision.rule
    if isinstance(rule, Compare):
        value["yes"] = rule.yes
    if isinstance(rule, Ranking):
        value["better"] = _better(population.systems, rule.better, found)
    value["text"] = _text(stop, value, len(names))
    return value


def _interval(stop: EarlyStop, bound: Bound) -> dict[str, Any]:
    """In points of the score: of a difference of two systems, or of the mean of a system (in a task)."""
    systems, unit = stop.population.systems, stop.unit
    if bound.b is not None:
        return {"a": systems[bound.a], "b": systems[bound.b], "low": bound.low * unit, "high": bound.high * unit}
    task, system = divmod(bound.a, len(systems))
    where = {"task": stop.population.tasks[task]} if stop.stop.task is not None else {}
    low, high = (stop.bounds[0] + unit * end for end in (bound.low, bound.high))
    return {"system": systems[system], **where, "low": low, "high": min(high, stop.bounds[1])}


def _better(systems: Sequence[str], better: Mask, found: Sequence[int] | None) -> list[list[str]]:
    """Each pair of which the first is proven better; of an answered ranking the neighbours alone."""
    if found is not None:
        pairs = [(a, b) for a, b in pairwise(found) if better[a, b]]
    else:
        pairs = list(zip(*np.nonzero(better), strict=True))
    return [[systems[a], systems[b]] for a, b in pairs]


def _text(stop: EarlyStop, value: dict[str, Any], left: int) -> str:
    parts = [f"{_claim(stop, value, left)} (by this judge)"]
    items = f"{value['items']:,} of {value['items_in_all']:,} items, {value['rows']:,} rows"
    confidence = (
        f"{value['confidence']:.0%} confidence"
        if value["method"] == "exact"
        else (f"{value['confidence']:.0%} confidence, asymptotic")
    )
    of = "for items like these" if value["population"] == "future" else "over all of these items"
    parts.append(f"{confidence}, {of}; {items}.")
    text = ": ".join(parts)
    if value["unread"]:
        text += f" {value['unread']:,} rows have no score and count as " + (
            "anything between the lowest and the highest." if stop.stop.unread == "bounds" else f"{stop.stop.unread:g}."
        )
    if value["questions"] > 1:
        text += (
            f" {value['questions']} questions were asked here; all answers hold together with a confidence of at least "
            f"{value['together']:.0%}."
        )
    return text


def _claim(stop: EarlyStop, value: dict[str, Any], left: int) -> str:
    names, kind, margin = value["systems"], stop.question.kind, stop.stop.margin
    within = f" within {margin:g}" if margin else ""
    if kind == "mean":
        width = max((one["high"] - one["low"]) / 2 for one in value["intervals"])
        several = len(value["intervals"])
        means = f"{several} mean scores are" if several > 1 else "The mean score is"
        return f"{means} known to within {width:.3g}"
    if kind == "compare":
        yes = value["yes"]
        return f"{stop.question.text}: {'not known yet' if yes is None else 'yes' if yes else 'no'}"
    if value["state"] != "answered":
        if kind == "ranking":
            return f"The order is open; {len(value['better'])} pairs of systems are told apart"
        few = ", ".join(names[:5]) + (f" and {left - 5} more" if left > 5 else "")
        lead = max((-one["low"] for one in value["intervals"] if one["b"] in names), default=0.0)
        wanted = "The best is" if kind == "best" else f"The top {stop.question.top} are"
        return (
            f"{wanted} among {few}; {names[0]} leads, and is at most {lead:.3g} below the best"
            if kind == "best"
            else (f"{wanted} among {few}")
        )
    if value["equal"]:
        return (
            f"{', '.join(names)} have exactly the same mean"
            if kind == "best"
            else (f"{', '.join(names)} share the first {stop.question.top} places: some are exactly equal")
        )
    if kind == "best":
        return f"{names[0]} is the best of {len(stop.population.systems)} systems{within}"
    if kind == "top":
        return f"{', '.join(names)} are the top {len(names)} of {len(stop.population.systems)} systems{within}"
    pairs = {tuple(pair) for pair in value["better"]}
    order = names[0]
    for a, b in pairwise(names):
        order += f" {'>' if (a, b) in pairs else '='} {b}"
    return f"{order}{f' (= is within {margin:g})' if margin else ''}"
