"""`scorer.rehearse`: a rehearsal whose result has the picture of the real run, as `scorer rehearse` prints it."""

from __future__ import annotations

from dataclasses import dataclass, fields

from scorer.api import runs
from scorer.api.run_result import RunResult
from scorer.config.loader import Sets
from scorer.output.progress import Snapshot
from scorer.report.watch.rehearsed import Rehearsed, Steady, rehearsed


@dataclass(frozen=True, slots=True)
class RehearsalResult(RunResult):
    """The result of a rehearsal. `real_run` is the real run at its pace; None where no row was scored."""

    real_run: Rehearsed | None = None

    def __str__(self) -> str:
        return "No row was scored." if self.real_run is None else str(self.real_run)

    def _repr_html_(self) -> str:
        facts = RunResult._repr_html_(self)
        return facts if self.real_run is None else facts + self.real_run._repr_html_()


def rehearse(
    spec: runs.RunFile,
    *,
    set: Sets = (),
    watch: runs.Watch | None = None,
    progress: bool | None = None,
    sample: int | str | None = None,
) -> RehearsalResult:
    """Runs the job against a local simulated judge, into `<output.path>-rehearsal`, and returns its result. Free.

    Its scores are simulated and mean nothing. `real_run` of the result says how the real run would go at this pace:
    printed and in a notebook it is a picture of rows/s, each limit's use, what held requests back over time, money, and
    when it ends; None where no row was scored. `spec`, `set`, `watch`, `progress` and `sample` are those of `run`.
    Calling it again resumes. Raises what `run` raises.
    """
    steady = Steady()

    def seen(snapshot: Snapshot) -> None:
        steady.see(snapshot)
        if watch is not None:
            watch(snapshot)

    shown = watch is None if progress is None else progress
    found = runs.rehearse(spec, set=set, watch=seen, progress=shown, sample=sample)
    last = steady.snapshot
    whole = rehearsed(last, found) if last is not None and found.scored else None
    return RehearsalResult(**{one.name: getattr(found, one.name) for one in fields(RunResult)}, real_run=whole)
