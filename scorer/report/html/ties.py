"""Brackets beside the rows of a sorted table, over runs of rows that cannot be told apart."""

from __future__ import annotations

from collections.abc import Sequence, Set

from scorer.report.html.elements import Html, tag

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


Lane = Sequence[tuple[int, int]]
"""Brackets below one another: the first and the last row of each."""


def lanes(tied: Sequence[Set[int]]) -> list[Lane]:
    """The brackets of a table, in as few lanes side by side as hold them. `tied[i]` are the rows tied with row i.

    None where there are more than LANES.
    """
    found: list[list[tuple[int, int]]] = []
    for group in groups(tied):
        lane = next((lane for lane in found if lane[-1][1] < group[0]), None)
        if lane is None:
            found.append([group])
        else:
            lane.append(group)
    return list(found) if len(found) <= LANES else []


def brackets(lanes: Sequence[Lane], row: int) -> Html | None:
    """The pieces of the brackets that pass a row; those of neighbouring rows join."""
    pieces = (tag("i", class_=_piece(lane, row)) for lane in lanes)
    return tag("span", *pieces, class_="ties", aria_hidden="true") if lanes else None


def _piece(lane: Lane, row: int) -> str | None:
    inside = next(((first, last) for first, last in lane if first <= row <= last), None)
    return inside and "on" + " first" * (row == inside[0]) + " last" * (row == inside[1])
