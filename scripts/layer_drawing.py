"""Draws a Mermaid flowchart of boxes and arrows as SVG, so that a page needs no script for it.

Reads the two kinds of lines that docs/project/architecture.md has: `name["<b>title</b><br/>text"]` and `one --> other`.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable
from html import escape

WIDTH, GAP, LINE, RISE = 122, 10, 14, 44
"""Pixels: a box's width, the space between boxes, a line of text, and the space between levels."""

HEAD = (
    '<defs><marker id="arrow" viewBox="0 0 6 6" refX="6" refY="3" markerWidth="6" markerHeight="6" orient="auto">'
    '<path d="M0 0L6 3L0 6z" fill="currentColor"/></marker></defs>'
)


def levels_of(names: Iterable[str], arrows: Iterable[tuple[str, str]]) -> list[list[str]]:
    """The boxes by level, top first: each stands as high as it can below the boxes that point to it."""
    above: dict[str, set[str]] = {name: set() for name in names}
    below: dict[str, set[str]] = {name: set() for name in above}
    for one, other in arrows:
        above[other].add(one)
        below[one].add(other)

    def height(name: str) -> int:
        return 1 + max((height(other) for other in below[name]), default=-1)

    heights: dict[str, int] = {}
    for name in sorted(above, key=height, reverse=True):
        lowest = min((heights[one] for one in above[name]), default=height(name) + 1)
        heights[name] = lowest - 1
    return [[n for n in above if heights[n] == h] for h in sorted(set(heights.values()), reverse=True)]


def ordered(levels: list[list[str]], arrows: list[tuple[str, str]]) -> list[list[str]]:
    """The same levels, each sorted by the average place of what points to its boxes: fewer arrows cross."""
    place: dict[str, float] = {}
    for level in levels:

        def wanted(name: str) -> float:
            pointing = [place[one] for one, other in arrows if other == name and one in place]
            return sum(pointing) / len(pointing) if pointing else 0.5

        level.sort(key=wanted)
        place.update({name: (at + 0.5) / len(level) for at, name in enumerate(level)})
    return levels


def svg_of_flowchart(text: str) -> str:
    """The flowchart as one line of HTML in the page's own text colour."""
    titles = {name: re.sub(r"</?b>", "", label) for name, label in re.findall(r'^\s*(\w+)\["(.*)"\]$', text, re.M)}
    arrows: list[tuple[str, str]] = re.findall(r"^\s*(\w+) --> (\w+)$", text, re.M)
    levels = ordered(levels_of(titles, arrows), arrows)
    lines = {name: [*lines_of(title)] for name, title in titles.items()}
    full = max(map(len, levels)) * (WIDTH + GAP) + GAP
    boxes: dict[str, tuple[float, float, float, float]] = {}  # left, top, width, height
    top = float(GAP)
    for level in levels:
        tall = max(len(lines[name]) for name in level) * LINE + 10
        wide = WIDTH if len(level) > 1 else max(WIDTH, *(7 * len(line) for line in lines[level[0]]))
        left = (full - len(level) * wide - (len(level) - 1) * GAP) / 2
        for at, name in enumerate(level):
            boxes[name] = (left + at * (wide + GAP), top, wide, tall)
        top += tall + RISE
    parts = [curve(boxes[one], boxes[other]) for one, other in arrows]
    parts += [box(boxes[name], lines[name]) for name in boxes]
    size = f'xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {full} {top - RISE + GAP:.0f}" width="{full}"'
    words = ", ".join(f"{one} imports {other}" for one, other in arrows)
    drawn = HEAD + "".join(parts)
    return f'<div class="drawing"><svg {size} role="img" aria-label="{words}">{drawn}</svg></div>'


def lines_of(title: str) -> Iterable[str]:
    for part in title.split("<br/>"):
        yield from textwrap.wrap(part, 19 if "<br/>" in title else 90)


def curve(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> str:
    """An arrow's line, from the foot of one box to the head of the other."""
    x, y = one[0] + one[2] / 2, one[1] + one[3]
    to_x, to_y = other[0] + other[2] / 2, other[1]
    bend = (to_y - y) / 2
    return (
        f'<path d="M{x:.0f} {y:.0f}C{x:.0f} {y + bend:.0f} {to_x:.0f} {to_y - bend:.0f} {to_x:.0f} {to_y:.0f}" '
        'fill="none" stroke="currentColor" stroke-opacity=".45" marker-end="url(#arrow)"/>'
    )


def box(at: tuple[float, float, float, float], lines: list[str]) -> str:
    left, top, wide, tall = at
    middle = left + wide / 2
    spans = "".join(
        f'<tspan x="{middle:.0f}" y="{top + 17 + number * LINE:.0f}">{escape(line)}</tspan>'
        for number, line in enumerate(lines)
    )
    return (
        f'<rect x="{left:.0f}" y="{top:.0f}" width="{wide:.0f}" height="{tall:.0f}" rx="4" '
        'fill="var(--md-default-bg-color, white)" stroke="currentColor"/>'
        f'<text text-anchor="middle" font-size="11" fill="currentColor">{spans}</text>'
    )
