"""Panel 5: lists of rows by kind, and the cards that they open."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from scorer.report.html.elements import Html, join, name, tag
from scorer.report.html.figures import count, number
from scorer.report.html.marks import Marks
from scorer.report.html.panels.frame import command, notes, panel
from scorer.report.page.row_list import Card, RowId, RowList, Tab


def rows(values: RowList, cards: Iterable[Html], kept: Mapping[RowId, Card], marks: Marks, places: int) -> Html:
    """The panel. `cards` are the markup of the cards that fit, `kept` their values."""
    left = len(values.cards) - len(kept)
    more = [f"{count(left)} more rows did not fit into the page."] if left else []
    return panel(
        "rows",
        tag("div", *(_tab(one, kept, marks, places) for one in values.tabs), id="lists"),
        tag("div", join(cards, "\n"), id="cards"),
        notes([*([values.left_out] if values.left_out else []), *more]),
    )


def _tab(values: Tab, kept: Mapping[RowId, Card], marks: Marks, places: int) -> Html:
    listed = [row for row in values.rows.ids if row in kept]
    typed = marks.command(values.rows.where)
    return tag(
        "section",
        tag("h3", values.title, " ", tag("small", count(values.rows.count))),
        tag("ol", *(_item(kept[row], places) for row in listed)) if listed else notes([_instead(values)]),
        tag("p", "All of them: ", command(typed)) if typed and values.rows.count > len(listed) else None,
        id=f"t={values.name}",
        data_t=values.name,
        data_n=values.rows.count,
    )


def _instead(values: Tab) -> str:
    return values.empty if not values.rows.count else "None of these rows is in the page."


def _item(card: Card, places: int) -> Html:
    parts: Collection[str] = [part for part in (card.system, card.task, card.key) if part is not None]
    label = join([name(part) for part in parts] or [card.id], " · ")
    return tag("li", tag("a", number(card.score, places), " ", label, href=f"#r={card.id}"))
