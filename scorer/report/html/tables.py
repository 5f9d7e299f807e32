"""Tables: headings, cells, and a figure with its table twin and what it saves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from scorer.report.html.elements import Attribute, Html, join, tag, text


def head(label: str, sort: str | None = None, style: str | None = None, more: Html | None = None) -> Html:
    """A heading of a column. `sort` is `number` or `text` where the column can be sorted by the script."""
    return tag("th", label, more, scope="col", data_sort=sort, class_=style)


def cell(value: str, **attributes: Attribute) -> Html:
    """A cell with a number: aligned right."""
    return tag("td", value, class_="n", **attributes)


def table(
    caption: str, headings: Iterable[Html], rows: Iterable[Html], kind: str | None = None, style: str | None = None
) -> Html:
    """A table in a frame that scrolls across where the page is narrow; `caption` is for screen readers."""
    return tag(
        "div",
        tag(
            "table",
            tag("caption", caption, class_="sr"),
            tag("thead", tag("tr", *headings)),
            tag("tbody", join(rows, "\n")),
            class_=kind,
            style=style,
        ),
        class_="wide",
    )


def plain_table(caption: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> Html:
    """A table whose first column names the row and whose others are numbers."""
    return table(
        caption,
        [head(label, style=None if at == 0 else "n") for at, label in enumerate(header)],
        [tag("tr", tag("th", first, scope="row"), *(cell(value) for value in rest)) for first, *rest in rows],
    )


def figure(title: str, chart: Html, twin: Html | None, saves: Sequence[Html], note: str | None = None) -> Html:
    """A chart under its title, with its table and its files."""
    tools = [tag("details", tag("summary", "Table"), twin) if twin else None, *saves]
    return tag(
        "figure",
        tag("figcaption", tag("b", title), tag("span", text(note), class_="note") if note else None),
        chart,
        tag("div", *tools, class_="tools"),
    )
