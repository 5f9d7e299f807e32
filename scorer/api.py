"""The Python API: the commands as functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from scorer.build.plan import RunPlan, check
from scorer.config.loader import read_toml
from scorer.config.spec import Spec
from scorer.errors import SpecError
from scorer.files.router import AnyFiles
from scorer.files.runtime import on_loop as on_loop
from scorer.files.runtime import run_blocking
from scorer.job.estimate import Estimate, estimate
from scorer.job.forget import Choice
from scorer.job.job import Callbacks, Job
from scorer.judges.function_source import SESSION
from scorer.output.progress import Snapshot
from scorer.output.status import Status

T = TypeVar("T")


def run(
    spec: Spec | str | Path | Mapping[str, Any],
    *,
    watch: Callable[[Snapshot], None] | None = None,
    workers: int = 1,
    sample: int | str | None = None,
) -> Status:
    """Scores the remaining rows and returns the status of the run. Calling it again resumes.

    `spec` is the path of a run file, a `Spec`, or a dict with a run file's names. `watch` gets a snapshot every second.
    With `workers` > 1 rows are scored by as many processes. `sample` limits the run to a random sample: a number of
    rows, or a share such as "1%"; a later run without it keeps these results.
    Raises a ScorerError (its `exit_code` is the command's), and KeyboardInterrupt after storing finished rows.
    Inside a running event loop, such as a notebook's, it blocks that loop, and `watch` is called on another thread;
    `run_async` does not block.
    """
    return run_blocking(run_async(spec, watch=watch, workers=workers, sample=sample))


async def run_async(
    spec: Spec | str | Path | Mapping[str, Any],
    *,
    watch: Callable[[Snapshot], None] | None = None,
    workers: int = 1,
    sample: int | str | None = None,
) -> Status:
    """`run` for a running event loop. Cancelling it stores finished rows; the next start sends rows in flight again."""
    planned = plan_of(spec)
    if workers > 1:
        _importable(planned.spec)
    job = Job(planned, AnyFiles(), callbacks=Callbacks(watch), workers=workers)
    return await job.run(choice=Choice(sample=None if sample is None else str(sample)))


def _importable(spec: Spec) -> None:
    """Raises SpecError where the judge is a function that a worker cannot import."""
    names = [name for name in spec.judge.options.values() if isinstance(name, str) and name.startswith(SESSION)]
    if spec.judge.kind == "function" and names:
        shown = ", ".join(name.removeprefix(SESSION).partition("#")[0] for name in names)
        raise SpecError(
            [
                f"workers = 2 or more need a judge that can be imported, and {shown} is defined in this session alone. "
                "Put it into a module, a file.py beside this one, and import it from there; or leave workers out."
            ]
        )


def plan(
    spec: Spec | str | Path | Mapping[str, Any], *, exact: bool = False, sample: int | str | None = None
) -> Estimate:
    """Estimates rows, tokens, cost and time. Reads the input, sends nothing. `sample` is that of `run`."""
    return estimate(plan_of(spec), AnyFiles(), exact=exact, sample=None if sample is None else str(sample))


def plan_of(spec: Spec | str | Path | Mapping[str, Any]) -> RunPlan:
    """The checked plan of a run file, a Spec, or a dict. Raises SpecError with every mistake."""
    if isinstance(spec, Spec):
        return check(spec.model_dump(exclude_unset=True))
    return check(spec if isinstance(spec, Mapping) else read_toml(str(spec)))
