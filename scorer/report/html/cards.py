"""The card of a row: its texts, verdicts, values; and the choice of cards that fit into the page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from scorer.report.html.elements import Html, join, name, tag, text
from scorer.report.html.figures import count, number
from scorer.report.page.row_list import Card, Text, Verdict

MAIN = ("generation", "response", "output", "answer", "prompt")
"""The text by which a row is known in lists is the first of these names, else the last text but the reference."""

SHORT = 60
"""Characters of a reply that is shown in its line."""

FOLDED = 2_000
"""Characters of a text that are shown unfolded."""


def card(values: Card, at: Mapping[str, int], places: int) -> Html:
    """The card as a folded element, whose inside is the target of links. `at` numbers the systems for the script."""
    others = [title for title in values.texts if title != "reference"]
    main = next((title for title in MAIN if title in values.texts), others[-1] if others else None)
    return tag(
        "details",
        tag("summary", join([_label(values), _values(values, places)], " ")),
        tag(
            "article",
            tag("h3", _label(values), tabindex="-1"),
            tag("p", _values(values, places), class_="values"),
            *(_text(title, one, title == main) for title, one in values.texts.items()),
            _verdicts(values.verdicts) if values.verdicts else None,
            tag("p", tag("b", values.error), class_="error") if values.error else None,
            _facts(values) if values.facts else None,
            id=f"r={values.id}",
        ),
        data_r=values.id,
        data_s=None if values.system is None else at.get(values.system),
    )


def fitting(cards: Iterable[tuple[Card, Html]], budget: int) -> list[tuple[Card, Html]]:
    """The first cards whose markup has at most `budget` bytes in all."""
    kept = []
    for one, markup in cards:
        budget -= len(markup.encode())
        if budget < 0:
            break
        kept.append((one, markup))
    return kept


def _label(values: Card) -> Html:
    named = [values.system, values.task, values.key]
    return join([name(part) for part in named if part is not None] or [name(f"row {values.id}")], " · ")


def _values(values: Card, places: int) -> Html:
    parts = [
        ("score", number(values.score, places) if values.score is not None else None),
        ("people", number(values.human, places) if values.human is not None else None),
        ("error", values.error),
    ]
    return join([tag("span", label, " ", tag("b", value)) for label, value in parts if value is not None], " ")


def _text(title: str, values: Text, main: bool) -> Html:
    whole = values.head if not values.cut else None
    if whole is not None and len(whole) <= FOLDED:
        body = tag("pre", text(whole), dir="auto")
    else:
        rest = values.head[FOLDED:]
        gap = tag("p", f"{count(values.cut)} characters are left out here", class_="cut") if values.cut else None
        hidden = [
            tag("pre", rest, dir="auto") if rest else None,
            gap,
            tag("pre", values.tail, dir="auto") if values.tail else None,
        ]
        left = len(rest) + len(values.tail)
        body = join(
            [
                tag("pre", values.head[:FOLDED], dir="auto"),
                tag("details", tag("summary", f"{count(left)} more characters"), *hidden, class_="more"),
            ]
        )
    return tag("div", tag("h4", title), body, class_="text", data_g=main)


def _verdicts(verdicts: Iterable[Verdict]) -> Html:
    return tag("div", tag("h4", "Verdict"), *map(_verdict, verdicts), class_="verdicts")


def _verdict(one: Verdict) -> Html:
    """The verdict; a short one beside its neighbours, with its reply in the line where that says more."""
    said = [tag("span", one.of), " ", tag("b", name(one.value))]
    reply = one.raw.head + one.raw.tail if one.raw else ""
    if one.reason is None and len(reply) <= SHORT and "\n" not in reply.strip():
        shown = tag("q", reply.strip(), dir="auto") if reply.strip() not in ("", one.value) else None
        return tag("div", tag("p", *said, " ", shown), class_="short")
    raw = tag("details", tag("summary", "Reply"), tag("pre", reply, dir="auto")) if reply else None
    reason = tag("p", one.reason.head, one.reason.tail, dir="auto") if one.reason else None
    return tag("div", tag("p", *said), reason, raw)


def _facts(values: Card) -> Html:
    facts = {"Row": f"{values.row:,} of {values.shard}", **values.facts}
    return tag("dl", *(tag("div", tag("dt", key), tag("dd", value)) for key, value in facts.items()), class_="facts")
