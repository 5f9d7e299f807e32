"""The rows that all panels of a page count, with the few columns that the panels need, and what is left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import polars as pl

from scorer.analysis.bootstrap import Bootstrap, Resamples
from scorer.analysis.columns import missing_columns
from scorer.analysis.correlation import Codes
from scorer.analysis.packed import Packed
from scorer.analysis.score_range import scale_of_judge
from scorer.errors import SpecError
from scorer.report.columns import RunColumns, may_be_number, number
from scorer.report.numbers_for_columns import may_be_name
from scorer.report.page.column_summary import ColumnSummary, summary_of
from scorer.report.page.left_out import leave_out
from scorer.report.page.options import ReportOptions
from scorer.report.page.page_rows import PageRows
from scorer.report.page.read_rows import distinct, read_rows, trimmed
from scorer.report.page.text_lengths import Lengths, lengths_of
from scorer.report.picks import condition
from scorer.report.run_table import RunTable

HUMAN = "\0people"
"""The mean human value of a row, where there are several people."""
FEWER = (60, 400)
"""With more systems than the first number, so many resamples: the intervals of all pairs take the square of it."""
MOST_NAMES = {"system": 300, "task": 200}
"""With more values a column tells no systems or tasks apart that anybody compares, and comparing them takes hours."""


@dataclass(frozen=True)
class Population:
    """The rows of a page in memory, some bytes a row. It holds no text of any row.

    `frame` has the columns `shard` and `row`, those of `columns` (names as Enum, items as numbers), the people's, the
    step, the mix, further result columns, and the lengths of the responses where they are known. `columns.human` is
    HUMAN where there are several `people`. `finished` counts all rows that have a result, `errors` their errors, and
    `left_out` says in sentences which of them no panel counts. `where` is the condition that the others meet, "" where
    all do. `lengths` are those of the responses. `notes` say which columns
    were not used, since they have too many values to compare, or none.
    """

    table: RunTable
    options: ReportOptions
    columns: RunColumns
    people: Sequence[str]
    frame: Packed
    finished: int
    errors: Mapping[str, int]
    left_out: Sequence[str]
    where: str
    lengths: Lengths
    notes: Sequence[str] = ()
    _summaries: dict[str, ColumnSummary] = field(default_factory=dict)

    @property
    def score(self) -> str:
        """The column of the scores that the panels are about: the first run's."""
        return self.columns.scores[0]

    @property
    def error(self) -> str:
        """The column of the first run's errors."""
        return self.table.of_run(next(iter(self.table.runs)), "error")

    def first(self, name: str) -> str | None:
        """A result column of the first run; None where the results have no such column."""
        found = self.table.of_run(next(iter(self.table.runs)), name)
        return found if found in self.frame.schema else None

    @property
    def human(self) -> str:
        """The column of human values, where there are `people`."""
        assert self.columns.human is not None
        return self.columns.human

    @property
    def rows(self) -> int:
        return self.frame.height

    @cached_property
    def items(self) -> int:
        """How many items the rows are of; the rows themselves without a column of items."""
        if self.columns.item is None:
            return self.rows
        there = np.zeros(self._codes_of_items, dtype=bool)
        for part in self.parts():
            there[part.items] = True
        return int(there.sum())

    @cached_property
    def _codes_of_items(self) -> int:
        """One more than the largest code of an item."""
        if self.columns.item is None:
            return self.rows
        return 1 + max((int(part.items.max(initial=-1)) for part in self.parts()), default=-1)

    @cached_property
    def scale(self) -> tuple[float, float] | None:
        """The judge's scale; None where it has none, or a score lies outside of it."""
        run = next(iter(self.table.runs))
        scale = scale_of_judge(self.table.judges[run].options, self.score.removeprefix(f"{run}."))
        known = self.summary(self.score)
        return scale if scale and known.rows and scale[0] <= known.low and known.high <= scale[1] else None

    @property
    def has_scores(self) -> bool:
        """Whether a row has a score."""
        return self.summary(self.score).rows > 0

    def summary(self, name: str) -> ColumnSummary:
        """The numbers of a column."""
        if name not in self._summaries:
            self._summaries[name] = summary_of(part.floats(name) for part in self.parts())
        return self._summaries[name]

    def count(self, name: str) -> int:
        """How many rows have a value in a column."""
        return sum(part.column(name).count() for part in self.parts())

    def comparable(self, name: str) -> str:
        """A column's name where SQL can compare its values with numbers; else one that no condition can have."""
        return name if name in self.table.schema and self.table.schema[name].is_numeric() else f"\0{name}"

    def run_of(self, score: str) -> str:
        """The name of the run whose score a column is; the column's where there is one run."""
        return next((run for run in self.table.runs if run and score.startswith(f"{run}.")), score)

    @property
    def lazy(self) -> pl.LazyFrame:
        return self.frame.lazy

    def parts(self) -> Iterator[PageRows]:
        """The rows some at a time."""
        for first, rows, read in self.frame.parts():
            yield PageRows(read, np.arange(first, first + rows, dtype=np.int64), self.score, self.columns.item)

    def at(self, places: Sequence[int] | Codes) -> PageRows:
        """The rows at these places, in the order given."""
        frame = self.frame.rows(places)
        return PageRows(frame.get_column, np.asarray(places, dtype=np.int64), self.score, self.columns.item)

    def again(self, columns: Sequence[str]) -> Iterator[pl.LazyFrame]:
        """The rows once more, some shards at a time, with columns of the table that are not in memory."""
        keep = condition(self.where, self.table) if self.where else None
        read = dict.fromkeys([*columns, *(keep.meta.root_names() if keep is not None else ())])
        for frame in self.table.parts(list(read)):
            yield frame if keep is None else frame.filter(keep)

    @cached_property
    def picking(self) -> RunTable:
        """The table of these rows alone, for picks."""
        return self.table.over(self.frame, self.columns)

    def names(self, name: str | None) -> list[str]:
        """The values of a column that names systems, tasks or mixes, as texts and in order; empty without one."""
        kind = None if name is None else self.frame.schema[name]
        return kind.categories.to_list() if isinstance(kind, pl.Enum) else []

    def values(self, name: str) -> Mapping[str, object]:
        """The values of such a column as the table has them, by their texts; without those that are no plain values."""
        kind = self.table.schema[name]
        if kind in (pl.String, pl.Categorical, pl.Enum):
            return {text: text for text in self.names(name)}
        if kind == pl.Boolean:
            return {text: text == "true" for text in self.names(name)}
        if not kind.is_numeric():
            return {}
        return {text: int(text) if kind.is_integer() else float(text) for text in self.names(name)}

    @cached_property
    def bootstrap(self) -> Bootstrap:
        """How often items are drawn: less often where many systems are compared with each other."""
        many, resamples = FEWER
        return Bootstrap(resamples) if len(self.names(self.columns.system)) > many else Bootstrap()

    @cached_property
    def drawn(self) -> Resamples | None:
        """Resamples of the items; of the rows where no item column is known. None without rows."""
        return self.bootstrap.draw_items(self._codes_of_items) if self.rows else None


def open_population(table: RunTable, options: ReportOptions) -> Population:
    """Reads the columns that a page needs, some shards at a time. Raises SpecError for columns that cannot serve."""
    columns = table.columns
    people = options.human or ((columns.human,) if columns.human is not None else ())
    names = [name for name in (columns.system, columns.task, options.mix) if name is not None]
    numbers = [*people, *([options.step] if options.step is not None else [])]
    _check(table, [*numbers, *names], numbers)
    wanted = [name for name in _wanted(table, [*columns.scores, *numbers, *names]) if name in table.schema]
    item = columns.item if columns.item not in wanted else None
    lengths = lengths_of(table)
    mean = [number(name, table.schema[name]) for name in people]
    more = pl.mean_horizontal(mean).alias(HUMAN) if len(people) > 1 else None
    columns = replace(columns, human=HUMAN) if more is not None else columns
    rows = read_rows(table, wanted, names, item, lengths.expression, more)
    columns = replace(columns, item=item)
    columns, empty = _filled(columns, rows)
    columns, notes = _comparable(columns, rows)
    item = columns.item
    names = list(dict.fromkeys(name for name in (columns.system, columns.task, options.mix) if name is not None))
    finished, errors = rows.height, _errors(table, rows)
    left = leave_out(table, rows, [*names, *([item] if item else [])])
    return Population(
        table=table,
        options=options,
        columns=columns,
        people=people,
        frame=trimmed(left.rows),
        finished=finished,
        errors=errors,
        left_out=left.sentences,
        where=left.where,
        lengths=lengths,
        notes=[*empty, *notes],
    )


def _errors(table: RunTable, rows: Packed) -> dict[str, int]:
    """How many rows have each error of the first run, the commonest first."""
    error = table.of_run(next(iter(table.runs)), "error")
    counted = rows.lazy.group_by(pl.col(error).cast(pl.String)).len().drop_nulls().collect(engine="streaming")
    return dict(counted.sort("len", error, descending=[True, False]).iter_rows())


def _filled(columns: RunColumns, rows: Packed) -> tuple[RunColumns, list[str]]:
    """The columns without those that were taken by their names and hold no value, and a sentence for each of these."""
    found = {one.partition(" = ")[0] for one in columns.found}
    named = {role: getattr(columns, role) for role in ("item", "system", "task") if role in found}
    empty = {
        role: f"Column {name} has no value in any row: it is not used. --{role} names another."
        for role, name in named.items()
        if name is not None and rows.height > 0 and not any(part[name].count() for part in rows.frames([name]))
    }
    columns = replace(
        columns,
        item=None if "item" in empty else columns.item,
        system=None if "system" in empty else columns.system,
        task=None if "task" in empty else columns.task,
    )
    return columns, list(empty.values())


def _comparable(columns: RunColumns, rows: Packed) -> tuple[RunColumns, list[str]]:
    """The columns without those of systems and tasks that have too many values, and a sentence for each of these."""
    notes = []
    for role, most in MOST_NAMES.items():
        name = getattr(columns, role)
        if name is None or (count := distinct(rows, name)) <= most:
            continue
        notes.append(f"Column {name} has {count:,} values: more than {most} are not compared. --{role} names another.")
        columns = replace(columns, system=None) if role == "system" else replace(columns, task=None)
    return columns, notes


def _check(table: RunTable, names: Sequence[str], numbers: Sequence[str]) -> None:
    """Raises SpecError for columns that are not there, and for those that hold no numbers."""
    problems = missing_columns(table.schema, names)
    problems += [
        f"Column {name} holds {table.schema[name]}, not numbers: give a column of numbers."
        for name in numbers
        if name in table.schema and not may_be_number(table.schema[name])
    ]
    problems += [
        f"Column {name} holds {table.schema[name]}: give a column of plain values, such as texts."
        for name in names
        if name in table.schema and name not in numbers and not may_be_name(table.schema[name])
    ]
    if problems:
        raise SpecError(problems)


def _wanted(table: RunTable, named: Sequence[str]) -> Iterator[str]:
    first = next(iter(table.runs))
    yield from dict.fromkeys(
        [
            *named,
            *(table.of_run(run, "error") for run in table.runs),
            *(table.of_run(first, name) for name in _OF_FIRST),
            *(table.of_run(run, name) for run in table.runs for name in _JUDGES_OWN),
        ]
    )


_OF_FIRST = ("prompt_tokens", "cost_microusd")
"""Result columns that panels read of the first run; the next ones of each run."""
_JUDGES_OWN = ("disagreement", "flipped", "preference_given", "preference_swapped", "judge_model")
