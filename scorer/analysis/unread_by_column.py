"""Whether the share of rows with no verdict differs by the kept columns of a run, for `scorer status`.

Light to import: polars is loaded only for a run in which rows are unread.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scorer.errors import ScorerError

if TYPE_CHECKING:
    from scorer.analysis.unread import UnreadDiffers
    from scorer.output.status import Status

MOST_SHARDS = 2000
"""With more files the comparison would make `status` slow."""


@dataclass(frozen=True, slots=True)
class UnreadByColumn:
    """The comparisons by kept columns of texts, and a sentence for each column where rows are unread unevenly."""

    found: Sequence[UnreadDiffers] = ()
    notes: Sequence[str] = ()


def unread_by_column(out: str, status: Status) -> UnreadByColumn:
    """Empty where fewer than 5 rows are unread, no text column is kept, or more than `MOST_SHARDS` shards are there.

    A file that cannot be read makes a note; `status` names it.
    """
    judged = {name: n for name, n in status.errors.items() if name not in ("BadRow", "Damaged")}
    if sum(judged.values()) < 5 or status.shards > MOST_SHARDS:
        return UnreadByColumn()
    from scorer.analysis.unread import by_kept, unread_notes
    from scorer.output.scan import scan_scores

    try:
        scores = scan_scores(out)
        names = scores.collect_schema().names()
        found = by_kept(scores, names[: names.index("score")])  # the id and kept columns come first
    except ScorerError as error:
        return UnreadByColumn(
            notes=[f"Whether the share of rows with no verdict differs by column is not known: {error}"]
        )
    return UnreadByColumn(found, list(unread_notes(found)))
