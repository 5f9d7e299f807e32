"""A heat map as an SVG file: names down and across, in each cell a number and a small one, coloured by a share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scorer.report.html.downloads import svg_link
from scorer.report.html.elements import Html, join, tag
from scorer.report.html.svg import TEXT_STYLE, file, word

MOST_CELLS = 600
"""A map of more cells is saved as CSV alone: the drawing would take a fifth of a page's bytes."""
NAMES, WIDTH, HEIGHT, HEAD = 190, 84, 34, 24
"""Pixels of the names down, of a cell, and of the names across."""
_NAME, _HEADING = 28, 12
"""Characters of a name down and across; longer ones are cut."""


@dataclass(frozen=True, slots=True)
class HeatCell:
    """What a cell shows: a number, a smaller one below it, and how strong its colour is, from 0 to 1."""

    shown: str
    small: str = ""
    shade: float | None = None


def heat_link(
    file_name: str, title: str, down: Sequence[str], across: Sequence[str], cells: Sequence[Sequence[HeatCell | None]]
) -> Html | None:
    """A link that saves the map; `cells[i][j]` is that of `down[i]` and `across[j]`. None where it has too many."""
    if not down or not across or len(down) * len(across) > MOST_CELLS:
        return None
    heads = [
        word(_cut(name, _HEADING), f"{NAMES + WIDTH * at + WIDTH / 2:g}", 14, "q m") for at, name in enumerate(across)
    ]
    rows = [_row(HEAD + HEIGHT * at, name, row) for at, (name, row) in enumerate(zip(down, cells, strict=True))]
    colours = tag("g", *(_colours(HEAD + HEIGHT * at, row) for at, row in enumerate(cells)), fill="#0b62a8")
    height, width = HEAD + HEIGHT * len(down), NAMES + WIDTH * len(across) + 24
    return svg_link(file_name, file(join([colours, *heads, *rows]), height, title, width, TEXT_STYLE))


def _colours(top: int, cells: Sequence[HeatCell | None]) -> Html:
    """The squares of a row; those of equal colour are one shape."""
    shapes: dict[str, str] = {}
    for at, one in enumerate(cells):
        if one is not None and one.shade is not None:
            opacity = f"{0.08 + 0.42 * min(max(one.shade, 0.0), 1.0):.2f}"
            square = f"M{NAMES + WIDTH * at + 1} {top + 1}h{WIDTH - 2}v{HEIGHT - 2}h-{WIDTH - 2}z"
            shapes[opacity] = shapes.get(opacity, "") + square
    return join(tag("path", d=shape, fill_opacity=opacity) for opacity, shape in shapes.items())


def _row(top: int, name: str, cells: Sequence[HeatCell | None]) -> Html:
    """The name and the numbers of a row."""
    parts = [word(_cut(name, _NAME), "0", top + HEIGHT / 2 + 4)]
    for at, one in enumerate(cells):
        if one is not None:
            middle = f"{NAMES + WIDTH * at + WIDTH / 2:g}"
            parts.append(word(one.shown, middle, top + (15 if one.small else 21), "m"))
            if one.small:
                parts.append(word(one.small, middle, top + 28, "q m"))
    return join(parts)


def _cut(name: str, most: int) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"
