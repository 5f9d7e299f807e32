"""Links from a number or a mark of a chart to the rows behind it, and what the script needs to know of each."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import takewhile

from scorer.report.html.commands import typed
from scorer.report.html.elements import Html, tag, text
from scorer.report.html.figures import count
from scorer.report.page.row_list import RowId, Rows


class Marks:
    """The marks of one page: those of `link`, in their order."""

    def __init__(self, folders: Sequence[str], cards: Collection[RowId]) -> None:
        """`folders` are the output folders for commands; `cards` are the rows whose card is in the page."""
        self._folders = folders
        self._cards = cards
        self._listed: list[tuple[str | None, int, list[RowId], str | None]] = []

    def link(self, label: str, title: str | None, rows: Rows | None) -> Html:
        """`label` as a link to the rows; as it is where there are none.

        `title` names the rows for the list that the link opens; None in a cell of a table that its headings name.
        Without the script the link goes to the first row.
        """
        if rows is None or not rows.count:
            return text(label)
        ids = [row for row in rows.ids if row in self._cards]
        at = len(self._listed)
        self._listed.append((title, rows.count, ids, condition(rows.where) if len(ids) < rows.count else None))
        described = None if title is None else f"{title}: {count(rows.count)} {'row' if rows.count == 1 else 'rows'}"
        return tag(
            "a", label, href=f"#r={ids[0]}" if ids else f"#m={at}", data_m=at if ids else None, aria_label=described
        )

    def command(self, where: str | None) -> str | None:
        """The command that lists all rows of a condition; None where it cannot be typed as it stands."""
        before, after = self.show(), condition(where)
        return None if before is None or after is None else f"{before} {after}"

    def show(self) -> str | None:
        """The beginning of every command that lists rows, before its condition."""
        return typed(["scorer", "show", *self._folders, "--where"]) if self._folders else None

    def listed(self) -> list[list[object]]:
        """What the script needs of each mark, by the number in its link: title, count of rows, rows in the page.

        Then, where its rows are not all in the page, the condition for a command: how many characters it has in common
        with the one before, and the rest.
        """
        last = ""
        listed: list[list[object]] = []
        for title, rows, ids, where in self._listed:
            shared = [] if where is None else _from(last, where)
            last = last if where is None else where
            listed.append([title, rows, ids, *shared])
        return listed


def _from(last: str, where: str) -> list[object]:
    same = "".join(a for a, _ in takewhile(lambda both: both[0] == both[1], zip(last, where, strict=False)))
    return [len(same.encode("utf-16-le")) // 2, where[len(same) :]]  # in units of UTF-16, as JavaScript counts


def condition(where: str | None) -> str | None:
    """A condition as one word of a command."""
    return None if where is None else typed([where])
