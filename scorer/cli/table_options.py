"""Options of the commands that analyse a table, and the table opened as they ask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from scorer.errors import SpecError

if TYPE_CHECKING:
    import polars as pl

    from scorer.analysis.run_coverage import RunCoverage

Columns = tuple[str, ...]
Table = Annotated[
    str,
    Parameter(
        help="A Parquet file, a folder or a glob of them, the output folder of a run, or its run file. Several output "
        "folders over the same input are one table, with columns NAME.score; NAME=OUT names one."
    ),
]
SCORE = ("score",)
"""The score columns where none are named."""


def listed(names: Columns) -> str:
    """How help shows columns that are a default."""
    return ", ".join(names)


Scores = Annotated[
    Columns,
    Parameter(
        "--score",
        help="A column of scores; may be repeated. Of several folders, the column of each.",
        negative="",
        show_default=listed,
    ),
]
Item = Annotated[str | None, Parameter(help="The column that names what was answered: a question, a document.")]
Task = Annotated[str | None, Parameter(help="The column that names the task.")]
Systems = Annotated[str | None, Parameter("--system", help="The column that names who answered.")]
Labels = Annotated[
    str | None, Parameter(help="A table with the human columns, where they are not in TABLE: Parquet or CSV; see --on.")
]
On = Annotated[
    Columns,
    Parameter(help="The columns that find a row's label; may be repeated. By default shard and row.", negative=""),
]
Resamples = Annotated[
    int,
    Parameter(help="Bootstrap resamples for the 95 % intervals, with a fixed seed; 0 for none.", show_default=True),
]
TaskWeights = Annotated[
    str | None,
    Parameter(
        "--weights",
        help="A file with the weight of each task: TOML or JSON of names and numbers, or a CSV with columns task and "
        "weight. Without it each task counts alike.",
    ),
]
Answers = Annotated[
    str | None,
    Parameter("--text", help="The column of answers, to find systems that give one answer to many items."),
]
Human = Annotated[str, Parameter(help="The column of human values.")]


@dataclass(frozen=True, slots=True)
class OpenedTable:
    """The table of a command: as it was named, its rows, and the score columns that --score means."""

    named: tuple[str, ...]
    frame: pl.LazyFrame
    scores: Sequence[str]

    def coverage(self, system: str | None, *columns: str | Sequence[str] | None) -> RunCoverage | None:
        """How much of the run is in the table, and which of the columns asked for have a namesake in its input."""
        from scorer.analysis.run_coverage import run_coverage

        flat = [name for names in columns for name in ([names] if isinstance(names, str) else names or ())]
        return run_coverage(self.named, system, [*self.scores, *flat])

    def scale_of(self, score: str) -> tuple[float, float] | None:
        """The judge's scale of a score column; None where it is not known."""
        from scorer.analysis.score_range import scale_of

        return scale_of(self.named, score)


def opened(
    tables: tuple[str, ...],
    scores: Columns,
    *,
    labels: str | None = None,
    on: Columns = (),
    human: Sequence[str] = (),
    design: bool = False,
) -> OpenedTable:
    """The table, with the human columns that it lacks joined on from the labels file. Raises SpecError.

    With `design` the columns that say how the labelled rows were drawn stand beside them.
    """
    from scorer.analysis.join_labels import join_labels, keys_of, open_labels
    from scorer.analysis.open_table import open_table, score_columns

    if not tables:
        raise SpecError(["TABLE is missing: give a Parquet file, a folder or a glob of them, or an output folder."])
    if labels is None and on:
        raise SpecError(["--on says which columns find a row's label: give the table of labels, too, with --labels."])
    frame = open_table(tables)
    if labels is not None:
        on = tuple(on or keys_of(labels, frame))
        known = frame.collect_schema().names()
        wanted = [name for name in human if name not in known] or human
        frame = join_labels(frame, open_labels(labels, frame, on), on, wanted, design=design)
    return OpenedTable(tables, frame, score_columns(frame, tables, scores))
