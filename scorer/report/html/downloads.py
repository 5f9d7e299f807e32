"""Links that save a table as CSV or a chart as SVG. The file is inside the link, a data: URI."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from urllib.parse import quote

from scorer.report.html.elements import Html, tag
from scorer.report.html.figures import raw

_SAFE = " !$()*+,-./:;=?@[]^_`{|}~'"
"""Characters that stay as they are: in an HTML attribute in double quotes a data: URI needs no others escaped."""

Cell = str | float | int | None


def csv_link(file_name: str, header: Sequence[str], rows: Iterable[Sequence[Cell]]) -> Html:
    """A link that saves the table: UTF-8, RFC 4180, an empty cell where a value is unknown."""
    written = io.StringIO()
    table = csv.writer(written, lineterminator="\n")
    table.writerow(header)
    table.writerows([raw(cell) if isinstance(cell, float) else cell for cell in row] for row in rows)
    return _link("CSV", file_name + ".csv", "text/csv;charset=utf-8", written.getvalue())


def svg_link(file_name: str, svg: str) -> Html:
    """A link that saves a drawing."""
    return _link("SVG", file_name + ".svg", "image/svg+xml", svg)


def _link(label: str, file_name: str, kind: str, content: str) -> Html:
    # A browser strips white space at the ends of an address.
    data = re.sub(r"^ +| +$", lambda spaces: "%20" * len(spaces[0]), quote(content, safe=_SAFE, errors="replace"))
    href = f"data:{kind},{data}"
    return tag("a", label, download=file_name, href=href, aria_label=f"Save {file_name}", class_="save")
