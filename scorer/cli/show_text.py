"""The answer of `scorer show` as text: the picks with their counts, and a card for each row."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scorer.cli.card_text import CardText
from scorer.cli.styles import Styles
from scorer.report.show import title

if TYPE_CHECKING:
    from scorer.report.picks import Picked
    from scorer.report.show import Shown

MARKS = "^── row"
"""A regular expression for the first line of each card."""
_DIRECTED = ("too_high", "too_low")
_MEASURED = (*_DIRECTED, "flips", "spread", "judges")
"""Kinds whose rows are shown with the value that they were picked by."""


def show_text(shown: Shown, above: str, width: int, styles: Styles, *, full: bool) -> str:
    """The text for a terminal of `width` columns, 0 for none. `above` are sentences on the run itself."""
    write = CardText(width, styles, [name for name in shown.table.runs if name], full=full)
    found = shown.table.columns.found
    parts = [write.paragraph(line) for line in above.splitlines()]
    parts += [write.paragraph(f"Columns taken by their names: {', '.join(found)}.")] if found else []
    seen: set[str] = set()
    for pick in shown.picks:
        parts.append(write.heading(title(pick), _count(pick)))
        parts += [write.paragraph(pick.missing)] if pick.missing else []
        for card, by in shown.cards_of(pick):
            beside = _beside(pick, by)
            parts.append(write.again(card, beside) if card.id in seen else write.card(card, beside, full or not seen))
            seen.add(card.id)
    if len(seen) > 1 and not full:
        parts.append(
            write.paragraph("The prompt is shown with the first row; --full shows it with each, and texts whole.")
        )
    parts += [write.paragraph(note) for note in shown.notes]
    return "\n\n".join(part for part in parts if part)


def _count(pick: Picked) -> str:
    if pick.count == 0:
        return "none"
    of = f"{len(pick.rows):,} of {pick.count:,} rows" if pick.count != 1 else "1 row"
    return f"{of} ({pick.unit})" if pick.unit else of


def _beside(pick: Picked, by: float | None) -> str:
    if by is None or pick.kind not in _MEASURED:
        return ""
    return f"{by:+.3g}" if pick.kind in _DIRECTED else f"{by:.3g}"
