"""Links from a number or a mark of a chart to the rows behind it, and what the script needs to know of each."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Sequence

from scorer.escapes import printable_line
from scorer.report.html.elements import Html, tag, text
from scorer.report.html.figures import count
from scorer.report.page.data import RowId, Rows


class Marks:
    """The marks of one page: those of `link`, in their order."""

    def __init__(self, folders: Sequence[str], cards: Collection[RowId]) -> None:
        """`folders` are the output folders for commands; `cards` are the rows whose card is in the page."""
        self._folders = folders
        self._cards = cards
        self._listed: list[tuple[str, int, list[RowId], str | None]] = []

    def link(self, label: str, title: str, rows: Rows | None) -> Html:
        """`label` as a link to the rows; as it is where there are none.

        `title` names the rows for the list that the link opens. Without the script the link goes to the first row.
        """
        if rows is None or not rows.count:
            return text(label)
        ids = [row for row in rows.ids if row in self._cards]
        at = len(self._listed)
        self._listed.append((title, rows.count, ids, self.command(rows.where)))
        href = f"#r={ids[0]}" if ids else f"#m={at}"
        return tag("a", label, href=href, data_m=at, aria_label=f"{title}: {count(rows.count)} rows")

    def command(self, where: str | None) -> str | None:
        """The command that lists all rows of a condition; None where it cannot be typed as it stands."""
        if where is None or not self._folders:
            return None
        typed = ["scorer", "show", *self._folders, "--where", where]
        return " ".join(quoted(word) for word in typed) if all(printable_line(word) == word for word in typed) else None

    def listed(self) -> list[tuple[str, int, list[RowId], str | None]]:
        """Title, count of rows, rows in the page and command of each mark, by the number that its link carries."""
        return self._listed


def quoted(word: str) -> str:
    """The word for a POSIX shell; in double quotes where that reads better and means the same."""
    if shlex.quote(word) == word or "'" not in word or any(sign in word for sign in '"$`\\!'):
        return shlex.quote(word)
    return f'"{word}"'
