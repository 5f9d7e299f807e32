"""Brackets beside the rows of a sorted table, over runs of rows that cannot be told apart."""

from __future__ import annotations

from collections.abc import Sequence, Set

from scorer.report.html.elements import Html, join, tag

LANES = 5
"""More brackets side by side than this are not drawn: the ranks say the same."""


def groups(tied: Sequence[Set[int]]) -> list[tuple[int, int]]:
    """The longest runs of neighbours (first, last) in which each is tied with the first; none lies within another."""
    found: list[tuple[int, int]] = []
    for first, others in enumerate(tied):
        last = first
        while last + 1 in others:
            last += 1
        if last > first and not (found and found[-1][1] >= last):
            found.append((first, last))
    return found


def ties(tied: Sequence[Set[int]]) -> list[Html]:
    """The brackets of each row, as marks that join to lines from row to row. `tied[i]` are the rows tied with row i."""
    lanes: list[list[tuple[int, int]]] = []
    for group in groups(tied):
        lane = next((lane for lane in lanes if lane[-1][1] < group[0]), None)
        lanes.append([group]) if lane is None else lane.append(group)
    if len(lanes) > LANES or not lanes:
        return [Html()] * len(tied)
    return [
        tag("span", *(_piece(lane, row) for lane in lanes), class_="ties", aria_hidden="true")
        for row in range(len(tied))
    ]


def _piece(lane: list[tuple[int, int]], row: int) -> Html:
    inside = next(((first, last) for first, last in lane if first <= row <= last), None)
    if inside is None:
        return tag("i")
    return tag(
        "i", class_=join(["on", *(["first"] if row == inside[0] else []), *(["last"] if row == inside[1] else [])], " ")
    )
