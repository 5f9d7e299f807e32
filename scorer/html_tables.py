"""Small tables as HTML for notebooks: escaped, in the notebook's own colours, without script."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from scorer.escapes import printable

MOST_ROWS = 30
"""Rows of a table that are shown."""
MOST_LETTERS = 200
"""Letters of a text that are shown."""
_CELL = "padding: 2px 10px 2px 0; vertical-align: top; text-align: "


def facts_html(title: str, facts: Iterable[tuple[str, str]]) -> str:
    """A title, and a row for each name and text below it."""
    rows = "".join(
        f'<tr><th scope="row" style="{_CELL}left; font-weight: normal; opacity: .75">{_escaped(name)}</th>'
        f'<td style="{_CELL}left">{_escaped(text)}</td></tr>'
        for name, text in facts
    )
    return f"<table><caption {_CAPTION}>{_escaped(title)}</caption><tbody>{rows}</tbody></table>"


def preformatted_html(title: str, lines: Iterable[str]) -> str:
    """A title, and lines below it whose columns are aligned, such as bars and curves."""
    text = "\n".join(_escaped(line) for line in lines)
    return f'<div><b>{_escaped(title)}</b><pre style="line-height: 1.25">{text}</pre></div>'


def rows_html(title: str, rows: Sequence[Mapping[str, Any]], notes: Iterable[str] = ()) -> str:
    """A table of rows with equal keys, and notes below it. The first 30 rows are shown, with the number of all."""
    names = list(rows[0]) if rows else []
    numeric = {
        n: all(r[n] is None or (isinstance(r[n], int | float) and r[n] is not True) for r in rows) for n in names
    }
    head = "".join(_tag("th", name, numeric[name], ' scope="col"') for name in names)
    body = "".join(
        f"<tr>{''.join(_tag('td', _text(row[name]), numeric[name]) for name in names)}</tr>" for row in rows[:MOST_ROWS]
    )
    more = [f"The first {MOST_ROWS} of {len(rows):,} rows; `frame` has all."] if len(rows) > MOST_ROWS else []
    empty = ["Nothing is in it."] if not rows else []
    below = "".join(f"<p>{_escaped(note)}</p>" for note in [*more, *empty, *notes])
    inner = f"<caption {_CAPTION}>{_escaped(title)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
    return f"<table>{inner}</table>{below}"


_CAPTION = 'style="caption-side: top; text-align: left; font-weight: bold; white-space: nowrap"'


def _tag(kind: str, text: str, is_number: bool, more: str = "") -> str:
    return f'<{kind}{more} style="{_CELL}{"right" if is_number else "left"}">{_escaped(text)}</{kind}>'


def _text(value: Any) -> str:
    """Four significant digits of a number, a dash for null."""
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _escaped(text: str) -> str:
    import html  # its table of entities takes a start's time, and no command shows HTML

    shown = text if len(text) <= MOST_LETTERS else text[:MOST_LETTERS] + "…"
    return html.escape(printable(shown))
