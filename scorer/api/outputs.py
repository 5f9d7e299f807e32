"""The commands on the output of a run as functions: status, verify, publish."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scorer.api.run_result import RunResult, run_result
from scorer.config.out_folder import folder_of
from scorer.counted import counted
from scorer.files.router import AnyFiles
from scorer.html_tables import facts_html, rows_html
from scorer.output.status import status as status_of
from scorer.output.verify.folder import Verdict
from scorer.output.verify.folder import verify as verify_folder

if TYPE_CHECKING:
    import polars as pl

    from scorer.publish.publish import Published


def status(out: str | Path) -> RunResult:
    """Progress, cost, errors and the limiting factor of a run, running or not; `out` may be its run file.

    Raises SpecError where there is no run, OutputError where run.json is damaged.
    """
    folder = folder_of(str(out))
    return run_result(status_of(AnyFiles(), folder), folder)


@dataclass(frozen=True, slots=True)
class Verification(Verdict):
    """What `verify` found; `complete` says whether each row is there exactly once and intact."""

    @property
    def frame(self) -> pl.DataFrame:
        """A row for each finding and for what could not be checked: `kind` ("finding" or "unchecked") and `text`."""
        import polars as pl

        rows = [("finding", text) for text in self.findings] + [("unchecked", text) for text in self.unchecked]
        return pl.DataFrame(rows, schema={"kind": pl.String, "text": pl.String}, orient="row")

    def _repr_html_(self) -> str:
        over = f"{counted(self.rows, 'row')} in {counted(self.shards, 'shard')}"
        title = f"{'Complete' if self.complete else 'Not complete'}: {over}"
        return rows_html(title, self.frame.to_dicts()) if self.frame.height else facts_html(title, [])


def verify(out: str | Path) -> Verification:
    """Checks that every input row has exactly one result, intact, and that the ledger agrees.

    `out` may be the run file. Reads every byte of the scores. The result has `complete`, the counts `rows` and
    `shards`, `findings` and `unchecked` (a sentence each), and `damaged` files. Raises SpecError where there is no run,
    OutputError where run.json is damaged.
    """
    found = verify_folder(AnyFiles(), folder_of(str(out)))
    return Verification(found.rows, found.shards, found.findings, found.damaged, found.unchecked)


def publish_scores(out: str | Path, to: str | None = None, *, partition_by: Sequence[str] = ()) -> Published:
    """Publishes sealed shards to a Delta or Iceberg table, each row once, and returns what was published.

    `out` is the output folder or the run file. `to` is `delta://PATH` or `iceberg://CATALOG/NAMESPACE.TABLE`, by
    default the run's output.publish; `partition_by` are columns by which a new table is divided. Repeating it changes
    nothing. Raises SpecError where the address is wrong or the table cannot take the rows, StorageError where it
    cannot be reached.
    """
    from scorer.publish.publish import publish

    return publish(AnyFiles(), folder_of(str(out)), to, partition_by)
