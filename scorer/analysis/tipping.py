"""Tipping points: how much a judge must favour one system over another for a choice to be another, and what labels say.

This needs no assumption about the judge. Labels, where people's values are on the judge's scale, say how much it does
favour a system: the mean of score less human value over its labelled rows, less that of the other system.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from scorer.analysis.best import Behind
from scorer.analysis.board import Board
from scorer.analysis.bootstrap import Resamples
from scorer.analysis.by_people import PeoplesScale
from scorer.analysis.choose_result import Favour, LabelNext, Tipping
from scorer.analysis.correlation import Codes, Floats
from scorer.analysis.prediction_powered_fit import LabelledRows
from scorer.analysis.sample_size import items_for
from scorer.analysis.simultaneous import contrast, simultaneous

ITEMS_TO_LABEL = 10


@dataclass(frozen=True, slots=True)
class Answer:
    """What tipping points are about: the choice, or None; the order of preference; the margin."""

    chosen: int | None
    order: Codes
    margin: float


def tipping_points(
    rows: Board, means: Floats, behind: Behind, answer: Answer, people: PeoplesScale | None
) -> tuple[list[Tipping], LabelNext | None]:
    """The tipping points, the nearest first, and what to label next. Labels count that are on the judge's scale."""
    places = _places(means, behind, answer)
    if not places:
        return [], None
    names, found = rows.systems, [_point(rows.systems, behind, answer, *place) for place in places]
    favours: list[Favour | None] = [None] * len(places)
    if people is not None and people.same_scale:
        favours = _favours(people.leads(), [_favoured(place) for place in places], rows.drawn)
    found = [replace(one, labels=favour) for one, favour in zip(found, favours, strict=True)]
    if rows.item_column is None:
        return found, None
    nearest = min(range(len(places)), key=lambda at: (places[at][0] == "passed over", _distance(found[at]), at))
    _, s, j = places[nearest]
    labelled = None if people is None else people.people
    return found, LabelNext((names[s], names[j]), _unlabelled(rows, s, j, labelled), _needed(found[nearest]))


Place = tuple[str, int, int]


def _places(means: Floats, behind: Behind, answer: Answer) -> list[Place]:
    """The pairs that tipping points are about: of the choice with each other, then of each system passed over."""
    known = np.flatnonzero(np.isfinite(means))
    if len(known) < 2:
        return []
    upper = behind.gap + behind.half
    subject = answer.chosen
    kind = "stands"
    if subject is None:
        subject, kind = int(known[np.argmax(means[known])]), "leads"
    others = sorted(
        (int(j) for j in known if j != subject), key=lambda j: (-upper[j, subject], -behind.gap[j, subject])
    )
    places: list[Place] = [(kind, subject, j) for j in others if math.isfinite(behind.gap[j, subject])]
    if answer.chosen is None:
        return places[:1]
    order = answer.order.tolist()
    passed: list[tuple[float, Place]] = []
    for c in order[: order.index(answer.chosen)]:
        gaps = np.where(np.isfinite(behind.gap[:, c]), behind.gap[:, c], -np.inf)
        best = int(gaps.argmax())
        if gaps[best] >= answer.margin and np.isfinite(means[c]):
            passed.append((float(gaps[best]), ("passed over", c, best)))
    return [*places, *(place for _, place in sorted(passed))]


def _favoured(place: Place) -> tuple[int, int]:
    """Whom the judge would have to favour, and over whom."""
    kind, s, j = place
    return (j, s) if kind == "passed over" else (s, j)


def _point(names: Sequence[str], behind: Behind, answer: Answer, kind: str, s: int, j: int) -> Tipping:
    gap, half = float(behind.gap[j, s]), float(behind.half[j, s])
    if kind == "passed over":
        return Tipping("passed over", names[s], names[j], gap - answer.margin, None)
    margin = answer.margin if kind == "stands" else 0.0
    surely = margin - gap - half if math.isfinite(half) else None
    return Tipping("stands" if kind == "stands" else "leads", names[s], names[j], margin - gap, surely)


def _favours(
    leads: Sequence[LabelledRows], pairs: Sequence[tuple[int, int]], drawn: Resamples | None
) -> list[Favour | None]:
    """By how much the judge favours the first of each pair over the second; the intervals hold together."""
    rows = [int(np.isfinite(part.y).sum()) for part in leads]
    errors = [part.label_error(part.y) if count else None for part, count in zip(leads, rows, strict=True)]
    contrasts, places = [], []
    for place, (a, b) in enumerate(pairs):
        first, second = errors[a], errors[b]
        if first is None or second is None:
            continue
        value = leads[a].label_mean(leads[a].y) - leads[b].label_mean(leads[b].y)
        items = min(int(first.present.sum()), int(second.present.sum()))
        contrasts.append(contrast(value, first.of_item - second.of_item, items, drawn))
        places.append(place)
    intervals = simultaneous(contrasts, drawn)
    found: list[Favour | None] = [None] * len(pairs)
    for place, one, interval in zip(places, contrasts, intervals, strict=True):
        a, b = pairs[place]
        found[place] = Favour(one.value, interval, rows[a] + rows[b])
    return found


def _unlabelled(rows: Board, s: int, j: int, people: Floats | None) -> list[str]:
    """Items that both systems answered and that lack a label of one of them, at random."""
    read = np.isfinite(rows.values)
    labelled = np.zeros(len(read), dtype=bool) if people is None else np.isfinite(people)
    both = np.intersect1d(rows.item[read & (rows.system == s)], rows.item[read & (rows.system == j)])
    done = np.intersect1d(rows.item[labelled & (rows.system == s)], rows.item[labelled & (rows.system == j)])
    open_items = np.setdiff1d(both, done)
    drawn = np.random.default_rng(0).permutation(open_items)[:ITEMS_TO_LABEL]
    return rows.item_names(drawn.tolist())


def _distance(point: Tipping) -> float:
    """How far what labels say is from the tipping point, in half widths of their interval; 0 where they say nothing."""
    if point.labels is None or point.labels.interval is None:
        return 0.0
    low, high = point.labels.interval
    return (point.by_more_than - point.labels.value) / ((high - low) / 2)


def _needed(point: Tipping) -> int | None:
    if point.labels is None or point.labels.interval is None:
        return None
    low, high = point.labels.interval
    distance = abs(point.by_more_than - point.labels.value)
    return items_for(point.labels.rows / 2, (high - low) / 2, distance)
