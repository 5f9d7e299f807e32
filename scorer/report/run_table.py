"""The rows of one or several runs as a lazy table, with what its columns are and the judges that made the scores."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import polars as pl

from scorer.analysis.open_table import out_folder, several_folders, single
from scorer.analysis.packed import Packed
from scorer.errors import SpecError
from scorer.files.files import Files
from scorer.files.router import AnyFiles
from scorer.output.scan_folders import Run, load_runs, shards_at
from scorer.output.scan_parts import scan_parts, scan_some
from scorer.report.columns import GivenColumns, RunColumns, find_columns
from scorer.report.stored_judge import StoredJudge
from scorer.types import Shard

RowKey = tuple[str, int]
"""A row: the path of its shard, as in the column `shard` of the table, and its number."""

_KEY = ("shard", "row")

_TOGETHER = 4
"""So many parts of rows in memory are looked at together."""

Runs = str | Path | Sequence[str | Path] | Mapping[str, str | Path]
"""One output folder or its run file, or several, as a list (`NAME=OUT` names one) or by name."""


@dataclass(frozen=True)
class RunTable:
    """The table of one or several runs over the same input.

    `results` has the columns of `scorer.scan_scores`, `joined` those of the input beside them. `judges` has the judge
    of each run, by its name; of a single run the name is "". `at` has the shards that can be read now, by their path
    in the table, and `shards` are all these paths in the order of run.json. `within` are rows in memory, with
    columns of their own, to which `parts` keeps; None for all rows.
    """

    runs: Mapping[str, Run]
    results: pl.LazyFrame
    joined: pl.LazyFrame
    columns: RunColumns
    judges: Mapping[str, StoredJudge]
    shards: Sequence[str]
    at: Mapping[str, Shard]
    _files: Files = field(default_factory=AnyFiles, repr=False)
    within: Packed | None = None

    @cached_property
    def schema(self) -> pl.Schema:
        """The columns of `joined`, and of `within`, and their types."""
        own = {} if self.within is None else self.within.schema
        return pl.Schema({**self.joined.collect_schema(), **own})

    def over(self, rows: Packed, columns: RunColumns) -> RunTable:
        """The same runs over these rows alone, which have a column shard and row; `columns` may be some of theirs."""
        return replace(self, within=rows, columns=columns)

    @cached_property
    def _result_names(self) -> frozenset[str]:
        return frozenset(self.results.collect_schema().names())

    @cached_property
    def numbers(self) -> Mapping[str, int]:
        """The number of each shard, by its path in the table."""
        return {path: number for number, path in enumerate(self.shards)}

    @cached_property
    def sizes(self) -> Mapping[str, int]:
        """The number of rows of each shard, by its path in the table."""
        return {run.paths[shard.path]: shard.rows for run in self.runs.values() for shard in run.manifest.shards}

    def rows(self, columns: Sequence[str]) -> pl.LazyFrame:
        """The rows with at least these columns; joined with the input only where one of them is the input's."""
        return self.results if self._result_names.issuperset(columns) else self.joined

    def parts(self, columns: Collection[str]) -> Iterator[pl.LazyFrame]:
        """The rows in frames of some shards each, with all columns that are asked for: a join of one is small."""
        if self.within is None:
            yield from (frame for _, frame in self._parts(columns))
            return
        names = [name for name in self.within.schema if name in columns and name not in _KEY]
        others = [name for name in columns if name not in names and name not in _KEY]
        if not others:
            yield from (
                part.lazy().select("shard", pl.col("row").cast(pl.Int64), *names)
                for part in self.within.frames([*_KEY, *names], together=_TOGETHER)
            )
            return
        for paths, frame in self._parts([*_KEY, *others]):
            mine = self.within.lazy.filter(pl.col("shard").is_in(list(paths)))
            rows = mine.select(pl.col("shard").cast(pl.String), pl.col("row").cast(pl.Int64), *names)
            yield frame.select(*_KEY, *others).join(rows, on=_KEY)

    def results_of(self, shards: Collection[str]) -> pl.LazyFrame:
        """The results of some shards, by the files that are there now."""
        return scan_some(list(self.runs.values()), self._files, shards, joined=False)

    def _parts(self, columns: Collection[str]) -> Iterator[tuple[frozenset[str], pl.LazyFrame]]:
        """The rows of some shards, with their paths in the table."""
        joined = not self._result_names.issuperset(columns)
        return scan_parts(list(self.runs.values()), self._files, columns, self.schema, joined=joined)

    def of_run(self, run: str, column: str) -> str:
        """The name in the table of a result column of a run."""
        return f"{run}.{column}" if run and f"{run}.{column}" in self._result_names else column

    def further_columns(self, run: str, without: Collection[str]) -> list[str]:
        """The result columns of a run that are neither kept from the input nor in `without`, under their own names."""
        names = self.results.collect_schema().names()
        kept = {"id", *(self.runs[run].manifest.kept or ())}
        prefix = f"{run}." if run else ""
        own = [name.removeprefix(prefix) for name in names if name.startswith(prefix)]
        return [name for name in own if name not in without and name not in kept]

    @property
    def shown_columns(self) -> list[str]:
        """The columns of `joined` that a card shows and the results lack."""
        columns = self.columns
        wanted = [*columns.labels, columns.human, columns.response, columns.reference]
        return [name for name in wanted if name is not None and name not in self._result_names]

    def row_id(self, key: RowKey) -> str:
        """The id of a row in links and options: `<shard number>:<row>`."""
        return f"{self.numbers[key[0]]}:{key[1]}"


def open_runs(tables: Runs, given: GivenColumns | None = None, *, files: Files | None = None) -> RunTable:
    """Opens one or several output folders, finished or not.

    Raises SpecError where one holds no run and for columns that cannot serve, OutputError where run.json is damaged.
    """
    files, given = files or AnyFiles(), given or GivenColumns()
    folders = several_folders(tables)
    if folders is None:
        out = out_folder(single(tables))
        if out is None:
            raise SpecError(
                [f"{single(tables)} is no output folder of a run: give the output.path of a run, or its run file."]
            )
        folders = {"": out}
    runs = load_runs(folders, files)
    results, joined = (scan_some(runs, files, None, joined=joined) for joined in (False, True))
    judges = {run.name: StoredJudge(run.manifest) for run in runs}
    schema = joined.collect_schema()
    scores = [f"{run.name}.{given.score}" for run in runs if f"{run.name}.{given.score}" in schema]
    first = next(iter(judges.values()))
    columns = find_columns(given, schema, scores or [given.score], first.options, first.shown)
    paths = dict.fromkeys(path for run in runs for path in run.paths.values())
    at = {shard.path: shard for shard in shards_at(runs, files)}
    return RunTable({run.name: run for run in runs}, results, joined, columns, judges, list(paths), at, files)
