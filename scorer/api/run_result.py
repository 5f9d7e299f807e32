"""The result of a run from Python: its status, its output folder, and its scores."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from scorer.html_tables import facts_html
from scorer.output.status import Status
from scorer.output.status_facts import status_facts, status_title

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True, slots=True)
class RunResult(Status):
    """The `Status` of a run, and where its results are: `path` is the output folder."""

    path: str = ""

    @property
    def scores(self) -> pl.LazyFrame:
        """`scorer.scan_scores(path)`: everything scored so far, each row once."""
        from scorer.output.scan import scan_scores

        return scan_scores(self.path)

    @property
    def frame(self) -> pl.DataFrame:
        """The status as one row; counts by name (`errors` and the like) as text, such as "Refused 2, TooLong 1"."""
        import polars as pl

        values = {
            name: ", ".join(f"{key} {count}" for key, count in value.items()) if isinstance(value, dict) else value
            for name, value in ((one.name, getattr(self, one.name)) for one in fields(RunResult))
        }
        frame = pl.DataFrame([values], schema_overrides={"unreadable": pl.List(pl.String)})
        return frame.with_columns(pl.selectors.by_dtype(pl.Null).cast(pl.String))

    def _repr_html_(self) -> str:
        return facts_html(status_title(self.path, self), status_facts(self))


def run_result(status: Status, path: str) -> RunResult:
    """The result of a run into `path`."""
    return RunResult(**{field.name: getattr(status, field.name) for field in fields(Status)}, path=path)
