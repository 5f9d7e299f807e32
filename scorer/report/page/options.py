"""What the command `scorer report` takes: columns, the bar of acceptable scores, and how many rows to show."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isfinite

from scorer.errors import SpecError
from scorer.report.columns import GivenColumns

MOST_ROWS = 400


@dataclass(frozen=True, slots=True)
class ReportOptions:
    """The options of `scorer report`. Columns that are None are found by their usual names.

    `human` are columns of human values, one for each person; of several, their mean counts and their agreement with
    each other is the ceiling. `own` names systems of the judge's own kind. `step` is a column of numbers (examples
    trained on), `mix` names what is trained on, and `margin` is the difference between steps that counts as none.
    Scores at or above `acceptable` are counted as such. `rows` is the largest number of rows whose texts are in the
    page; with 0 it holds no text of any row.
    """

    score: str = "score"
    human: tuple[str, ...] = ()
    item: str | None = None
    system: str | None = None
    task: str | None = None
    response: str | None = None
    own: tuple[str, ...] = ()
    step: str | None = None
    mix: str | None = None
    margin: float | None = None
    acceptable: float | None = None
    rows: int = MOST_ROWS

    def columns(self) -> GivenColumns:
        """The columns as `open_runs` takes them; of several people the first."""
        person = self.human[0] if self.human else None
        return GivenColumns(self.score, person, self.item, self.system, self.task, self.response)

    def check(self) -> None:
        """Raises SpecError with every mistake that can be seen without the table."""
        problems = []
        if not 0 <= self.rows <= MOST_ROWS:
            problems.append(
                f"--rows {self.rows}: a page holds 0 to {MOST_ROWS} rows. `scorer show OUT` shows any other row."
            )
        if self.own and not self.human:
            problems.append("--own needs --human: people's values say whether the judge prefers its own kind.")
        if self.mix is not None and self.step is None:
            problems.append("--mix needs --step: the column of numbers along which the mixes are compared.")
        if self.acceptable is not None and not isfinite(self.acceptable):
            problems.append(f"--acceptable {self.acceptable:g}: give a score, as a finite number.")
        if self.margin is not None and (self.step is None or not 0 <= self.margin < inf):
            problems.append(f"--margin {self.margin:g}: give a difference of 0 or more, together with --step.")
        if problems:
            raise SpecError(problems)
