"""What the script of the page needs to know, as values for JSON. Texts of rows it takes from their cards."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from scorer.report.html.commands import estimate
from scorer.report.html.figures import bracket, decimals, number
from scorer.report.html.marks import Marks
from scorer.report.html.panels.pairs import SHOWN
from scorer.report.page.data import Page, Systems
from scorer.report.page.row_list import Card, RowId


def script_data(page: Page, kept: Mapping[RowId, Card], marks: Marks) -> dict[str, object]:
    """The values. `kept` are the cards in the page, `marks` those of all its links."""
    systems = page.systems
    cards = page.rows.cards if page.rows else ()
    # A random sample of which some did not fit is a smaller random sample: each of its rows stands for more.
    scaled = _randoms(cards) / max(_randoms(kept.values()), 1)
    return {
        "page": f"{page.title} {page.written_at}",
        "systems": [one.name for one in systems.systems] if systems else [],
        "shards": list(page.shards),
        "scale": list(systems.scale) if systems and not systems.observed else None,
        "judges": list(systems.systems[0].others) if systems and systems.systems else [],
        "places": decimals(*systems.scale) if systems else 2,
        "estimate": estimate(page),
        "show": marks.show(),
        "marks": marks.listed(),
        "cards": [
            [one.id, one.score, one.human, one.item, one.key, one.weight and one.weight * scaled]
            for one in kept.values()
        ],
        "pairs": _pairs(systems, kept) if systems else [],
    }


def _pairs(values: Systems, kept: Mapping[RowId, Card]) -> list[list[object]]:
    """The differences of pairs; rows only where the script cannot match them by their item."""
    at = {system.name: place for place, system in enumerate(values.systems)}
    places = decimals(*values.scale)
    listed: list[list[object]] = []
    for pair in values.pairs[:SHOWN]:
        if pair.a not in at or pair.b not in at:
            continue
        one = pair.difference
        both = [(kept[a], kept[b]) for a, b in pair.rows if a in kept and b in kept]
        rows = [(a.id, b.id) for a, b in both if a.item is None or a.item != b.item]
        shown = f"{number(one.value, places)} {bracket(one, places)}"
        listed.append([at[pair.a], at[pair.b], shown, one.n, *([rows] if rows else [])])
    return listed


def _randoms(cards: Collection[Card]) -> int:
    return sum("random" in one.picked for one in cards)
