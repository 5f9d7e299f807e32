"""Counts and reports results whose values their columns cannot hold; a run of nothing else is stopped."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from scorer.errors import TooManyFailed
from scorer.output.row_counts import Counts
from scorer.output.tables import UnfitValue
from scorer.types import Result

UNFIT = 200
"""A run is stopped whose first so many rows all hold what their columns cannot."""


class UnfitRows:
    """The rows of one writer. `counts` are corrected where a row failed after all; `say` gets a sentence a column."""

    def __init__(self, counts: Counts, say: Callable[[str], None]) -> None:
        self._counts = counts
        self._say = say
        self._reported: set[str] = set()  # columns
        self._fitted = False  # some row was stored as given
        self._failed = 0  # rows with an error because a column could not hold a value

    def note(
        self, given: Sequence[Result], stored: Sequence[Result], unfit: Sequence[UnfitValue], *, stopped: bool
    ) -> None:
        """Takes results that are on disk, as given and as stored.

        Raises TooManyFailed where no row so far fitted, unless the run is `stopped` anyway.
        """
        if not unfit:
            self._fitted = True
            return
        by_row = {result.row.number: result for result in given}
        before = self._counts.scored
        for result in stored:
            self._counts.became(by_row[result.row.number], result)
        failed = before - self._counts.scored
        self._fitted = self._fitted or failed < len(stored)
        self._failed += failed
        for one in unfit:
            if one.column not in self._reported:
                self._reported.add(one.column)
                row, became = one.result.row, "its score stays" if one.error is None else f"it is {one.error.name}"
                self._say(f"Row {row.number} of {row.shard}: {one.detail}; {became}. Further such rows are not shown.")
        if not self._fitted and self._failed >= UNFIT and not stopped:
            raise TooManyFailed(
                f"The first {self._failed} rows that were stored all ended so: {unfit[-1].detail}. Mend the judge, "
                "then `scorer reread` reads the replies again that output.keep_raw kept."
            )
