"""Coverage of an unfinished run: finished rows and systems, and column names that the input has too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from scorer.analysis.open_table import Tables, out_folder, several_folders, single
from scorer.files.router import AnyFiles
from scorer.output.layout import Layout
from scorer.output.located import look_for
from scorer.output.manifest import Manifest, load
from scorer.output.scan import beside, scan_scores
from scorer.output.scan_folders import load_runs
from scorer.output.scan_input import scan_input
from scorer.output.status import answer_of

_SHOWN = 10
"""The most intervals of an answer that a command shows."""


@dataclass(frozen=True, slots=True)
class RunCoverage:
    """How much of a run is finished: `rows` of `rows_total` have a result; `systems` have at least one such row.

    The systems are None where no column of systems was asked for, the run is complete, or the input cannot be read.
    `notes` are sentences on columns of the run whose name a column of the input has too. The scores of a `rehearsal`
    mean nothing. Of several runs `rows` have a result in any of them, and `missing` says by run how many of these rows
    it has no result for. `answer` is that of `[stop]` where it ended the run early.
    """

    rows: int
    rows_total: int
    systems: int | None = None
    systems_total: int | None = None
    notes: tuple[str, ...] = ()
    rehearsal: bool = False
    missing: Mapping[str, int] = field(default_factory=dict)
    answer: Mapping[str, Any] | None = None

    def json(self) -> dict[str, Any]:
        """The keys that a command's JSON has beside its answer."""
        of: dict[str, Any] = {"rows": self.rows, "rows_total": self.rows_total}
        if self.systems_total is not None:
            of |= {"systems": self.systems, "systems_total": self.systems_total}
        if self.missing:
            of["missing"] = dict(self.missing)
        more: dict[str, Any] = {"notes": list(self.notes)} if self.notes else {}
        early = {"answer": dict(self.answer)} if self.answer is not None else {}
        return {"coverage": of, **more, **early, **({"rehearsal": True} if self.rehearsal else {})}

    def text(self) -> str:
        """The sentences above a command's answer; "" where the run is complete, real, and no name is ambiguous."""
        lines = list(self.notes)
        if self.rows < self.rows_total or self.answer is not None:
            systems = f", {self.systems:,} of {self.systems_total:,} systems" if self.systems_total is not None else ""
            subject = "The runs are" if self.missing else "The run is"
            lines.insert(0, f"{subject} not finished: {self.rows:,} of {self.rows_total:,} rows{systems}.")
        lines += [
            f"{name} has no result for {count:,} of these {self.rows:,} rows: its columns are null there."
            for name, count in self.missing.items()
            if count
        ]
        if self.answer is not None:
            lines[:1] = _early(self.answer, self.rows, self.rows_total)
        if self.rehearsal:
            lines.insert(0, "This is a rehearsal: the scores are simulated and mean nothing.")
        return "\n".join(lines)


def run_coverage(table: Tables, system: str | None = None, named: Iterable[str | None] = ()) -> RunCoverage | None:
    """How much is finished of the run or the runs in `table`; None where that is no output folder.

    `system` is the column of systems, `named` are all columns that the command was given.
    """
    if (folders := several_folders(table)) is not None:
        return _of_several(folders)
    out = out_folder(single(table))
    manifest = load(AnyFiles(), Layout(out)) if out is not None else None
    if out is None or manifest is None:
        return None
    scores = scan_scores(out)
    notes = (
        *_notes(beside(out, manifest), {name for name in (system, *named) if name is not None}),
        *(_several_judges(scores) if manifest.judges else ()),
    )
    rows: int = scores.select(pl.len()).collect().item()
    total, found = manifest.rows, None
    if manifest.selection.stop is not None:
        total = sum(manifest.selection.belonging_of(shard) for shard in manifest.shards)
        found = answer_of(AnyFiles(), Layout(out))
    systems = (None, None) if system is None or rows >= total else _systems(out, manifest, system)
    return RunCoverage(rows, total, *systems, notes=notes, rehearsal=manifest.rehearsal, answer=found)


def _early(answer: Mapping[str, Any], rows: int, total: int) -> Iterable[str]:
    """What a run that ended at an answer says, and why the numbers of a command do not."""
    yield f"The run ended at an answer, after {rows:,} of {total:,} rows: {answer['text']}"
    intervals = [one for one in answer["intervals"] if "b" in one]
    for one in intervals[:_SHOWN]:
        yield f"  {one['a']} minus {one['b']}: {one['low']:.4g} to {one['high']:.4g}"
    if len(intervals) > _SHOWN:
        yield f"  {len(intervals) - _SHOWN} more are in answer.json."
    shared = answer.get("items_of_all_systems")  # answers of versions before 0.2.0 lack it
    if shared is not None and shared < answer["items"]:
        yield (
            f"All systems were judged on the first {shared:,} of these {answer['items']:,} items alone: then the first "
            "one went out. Means over other items are not comparable."
        )
    yield (
        "These intervals hold after an early stop. The ordinary ones below do not: means of systems that went out are "
        "too low, that of the best is too high. `scorer run` without [stop] asks the other rows."
    )


def _of_several(folders: Mapping[str, str]) -> RunCoverage:
    runs = load_runs(folders)
    shards = {run.paths[shard.path]: shard.rows for run in runs for shard in run.manifest.shards}
    finished = (pl.col(f"{run.name}.finished_at").count().alias(run.name) for run in runs)
    counted = scan_scores(folders).select(pl.len().alias("\0rows"), *finished).collect().row(0, named=True)
    rows: int = counted["\0rows"]
    missing = {run.name: rows - counted[run.name] for run in runs}
    return RunCoverage(
        rows, sum(shards.values()), rehearsal=any(run.manifest.rehearsal for run in runs), missing=missing
    )


def _several_judges(scores: pl.LazyFrame) -> Iterable[str]:
    counts = scores.group_by("judge").agg(pl.len().alias("rows")).sort("rows", descending=True).collect()
    if len(counts) > 1:
        others = ", ".join(f"{rows:,} of judge {judge}" for judge, rows in counts.rows())
        yield f"A retry changed keys of the model, so the rows are of {len(counts)} judges: {others}."


def _notes(names: dict[str, str], columns: set[str]) -> Iterable[str]:
    for name in sorted(columns):
        if names.get(name, name) != name:
            yield (
                f"Column {name} is the run's result. The input's column of that name is {names[name]}: ask for it by "
                "that name."
            )


def _systems(out: str, manifest: Manifest, system: str) -> tuple[int | None, int | None]:
    """How many systems have a result, and how many there are in the input; (None, None) where that cannot be known."""
    given = manifest.spec.get("input", {})
    column = next((name for name, shown in beside(out, manifest).items() if shown == system), None)
    if column is None and system in given.get("keep", ()):
        column = system
    if column is None and system == "id":
        column = given.get("id")
    if column is None:
        return None, None
    try:
        scans = [scan_input(look_for(AnyFiles(), shard, manifest, out).shard) for shard in manifest.shards]
        total = pl.concat([scan.select(pl.col(column).cast(pl.String)) for scan in scans]).unique().collect()
        finished = scan_scores(out, join_input=True).select(pl.col(system).cast(pl.String)).unique().collect()
    except (pl.exceptions.PolarsError, OSError):  # the input is gone or changed, and the answer does not need it
        return None, None
    return len(finished.drop_nulls()), len(total.drop_nulls())
