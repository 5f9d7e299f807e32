"""The commands that plan or change a run as functions: run, plan, rehearse, retry, reread."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scorer.api.notebook import NotebookProgress, notebook_output
from scorer.api.run_result import RunResult, run_result
from scorer.build.plan import RunPlan, check
from scorer.config.loader import Sets, read_toml, set_values
from scorer.config.out_folder import folder_of
from scorer.config.run_file_types import RunFileDict
from scorer.config.spec import Spec
from scorer.errors import SpecError
from scorer.files.router import AnyFiles
from scorer.job.callbacks import Callbacks
from scorer.job.control_socket import served
from scorer.job.estimate import Estimate, estimate
from scorer.job.forget import ALL, Choice
from scorer.job.job import Job
from scorer.job.thread_refusals import thread_refusals
from scorer.judges.function_source import SESSION
from scorer.output.progress import Snapshot
from scorer.processes.event_loop import run_blocking

if TYPE_CHECKING:
    from scorer.job.retry import Retry

RunFile = RunFileDict | Spec | str | Path | Mapping[str, Any]
"""A run: the path of a run file, a dict with a run file's names, or a `Spec`."""
Watch = Callable[[Snapshot], None]


def run(
    spec: RunFile,
    *,
    set: Sets = (),
    watch: Watch | None = None,
    progress: bool | None = None,
    workers: int = 1,
    sample: int | str | None = None,
    accept_drift: bool = False,
    wait: bool = True,
) -> RunResult:
    """Scores the remaining rows and returns the status of the run. Calling it again resumes.

    `spec` is the path of a run file, a dict with a run file's names, or a `Spec`; `set` changes keys of it, such as
    {"limits.max_usd": 20}. `watch` gets a snapshot every second. A notebook shows the progress in the cell, without
    `watch` or with `progress=True`, never with `progress=False`.
    With `workers` > 1 rows are scored by as many processes. `sample` limits the run to a random sample: a number of
    rows, or a share such as "1%"; a later run without it keeps these results. `accept_drift` goes on with a
    judge that has drifted, as `--accept-drift` does.
    With `model.mode = "batch"` and without `wait` it submits and collects once, and raises BatchesOut while batches are
    out.
    Raises a ScorerError (its `exit_code` is the command's), and KeyboardInterrupt after storing finished rows.
    Inside a running event loop, such as a notebook's, it blocks that loop, and `watch` is called on another thread;
    `run_async` does not block.
    """
    planned = _checked(plan_of(spec, set), workers)
    choice = _choice(sample, accept_drift=accept_drift, wait=wait)
    return _blocking(
        lambda seen: _scored(planned, seen, workers=workers, choice=choice),
        watch,
        progress,
    )


async def run_async(
    spec: RunFile,
    *,
    set: Sets = (),
    watch: Watch | None = None,
    progress: bool | None = None,
    workers: int = 1,
    sample: int | str | None = None,
    accept_drift: bool = False,
    wait: bool = True,
) -> RunResult:
    """`run` for a running event loop, with the same arguments.

    Cancelling it stores finished rows; the next start sends rows in flight again.
    """
    planned = _checked(plan_of(spec, set), workers)
    shown = _shown(watch, progress)
    seen = _both(watch, None if shown is None else shown.watch_and_show)
    return await _scored(planned, seen, workers=workers, choice=_choice(sample, accept_drift=accept_drift, wait=wait))


def plan(spec: RunFile, *, set: Sets = (), exact: bool = False, sample: int | str | None = None) -> Estimate:
    """Rows, tokens, cost and time of a run, estimated. Reads the input, sends nothing.

    `spec`, `set` and `sample` are those of `run`. Beyond 100,000 rows a random sample is counted and the total has an
    interval; `exact` counts every row. Raises SpecError for the run file, InputError for the input.
    """
    return estimate(plan_of(spec, set), AnyFiles(), exact=exact, sample=None if sample is None else str(sample))


def rehearse(
    spec: RunFile,
    *,
    set: Sets = (),
    watch: Watch | None = None,
    progress: bool | None = None,
    sample: int | str | None = None,
) -> RunResult:
    """Runs the job against a local simulated judge, into `<output.path>-rehearsal`, and returns its status. Free.

    Its scores are simulated and mean nothing. `spec`, `set`, `watch`, `progress` and `sample` are those of `run`.
    """
    from scorer.job.rehearse import rehearsal

    with thread_refusals(), rehearsal(_tree(spec, set)) as (planned, _):
        return _blocking(lambda seen: _scored(planned, seen, choice=_choice(sample)), watch, progress)


def retry(
    out: str | Path,
    *,
    error: str | Sequence[str] = (),
    suspect: bool = False,
    set: Sets = (),
    watch: Watch | None = None,
    progress: bool | None = None,
    workers: int = 1,
) -> RunResult:
    """Scores again the rows of a run that ended in an error, and returns the status of the run.

    `out` is the output folder or the run file; `error` is a name of `scorer.errors.ROW_ERRORS` or a list of them, by
    default all. `suspect`: instead the rows that were finished while the judge had drifted, scored or not. `set`,
    `watch`, `progress` and `workers` are those of `run`. Raises what `run` raises.
    """
    from scorer.job.retry import retry_of

    errors = (error,) if isinstance(error, str) else tuple(error)
    planned, again = retry_of(AnyFiles(), folder_of(str(out)), errors, set, suspect=suspect)
    _checked(planned, workers)
    return _blocking(lambda seen: _scored(planned, seen, workers=workers, retry=again), watch, progress)


def reread(out: str | Path, *, set: Sets = ()) -> RunResult:
    """Reads the stored replies of a run again by another rule, and returns the status of the run. Sends nothing.

    `out` is the output folder or the run file; `set` has keys of [judge] that say how a reply is read, such as
    {"judge.read": "json"}. After a crash the same call finishes what it began. Raises SpecError for other keys, and
    where the replies were not kept (`output.keep_raw`).
    """
    from scorer.job.reread import reread as read_again

    folder = folder_of(str(out))
    return run_result(read_again(AnyFiles(), folder, set), folder)


def plan_of(spec: RunFile, set: Sets = ()) -> RunPlan:
    """The checked plan of a run file, a Spec, or a dict. Raises SpecError with every mistake."""
    return check(_tree(spec, set))


def _tree(spec: RunFile, set: Sets) -> dict[str, Any]:
    """The run file as nested dicts, with the keys that are set."""
    if isinstance(spec, Spec):
        tree = spec.model_dump(exclude_unset=True)
    elif isinstance(spec, Mapping):
        tree = deepcopy(dict(spec)) if set else dict(spec)
    else:
        tree = read_toml(str(spec))
    return set_values(tree, set)


def _choice(sample: int | str | None, *, accept_drift: bool = False, wait: bool = True) -> Choice:
    text = None if sample is None else str(sample)
    return replace(ALL, sample=text, accept_drift=accept_drift, waiting="wait" if wait else "no-wait")


def _checked(planned: RunPlan, workers: int) -> RunPlan:
    """The plan. Raises SpecError where the judge is a function that a worker cannot import."""
    options = planned.spec.judge.options
    names = [name for name in options.values() if isinstance(name, str) and name.startswith(SESSION)]
    if workers > 1 and planned.spec.judge.kind == "function" and names:
        shown = ", ".join(name.removeprefix(SESSION).partition("#")[0] for name in names)
        raise SpecError(
            [
                f"workers = 2 or more need a judge that can be imported, and {shown} is defined in this session alone. "
                "Put it into a module, a file.py beside this one, and import it from there; or leave workers out."
            ]
        )
    return planned


async def _scored(
    planned: RunPlan, watch: Watch | None, *, workers: int = 1, retry: Retry | None = None, choice: Choice = ALL
) -> RunResult:
    job = Job(planned, AnyFiles(), callbacks=Callbacks(watch), workers=workers, serve_control=served)
    return run_result(await job.run(retry, choice), planned.spec.output.path)


def _blocking(
    start: Callable[[Watch | None], Coroutine[Any, Any, RunResult]], watch: Watch | None, progress: bool | None
) -> RunResult:
    """Runs a job while this thread waits, and shows its progress where this is a notebook."""
    shown = _shown(watch, progress)
    with thread_refusals():  # in a notebook the job has a thread of its own
        if shown is None:
            return run_blocking(start(watch))
        try:
            return run_blocking(start(_both(watch, shown.watch)), meanwhile=shown.show)
        finally:
            shown.show()


def _shown(watch: Watch | None, progress: bool | None) -> NotebookProgress | None:
    if progress is False or (progress is None and watch is not None):
        return None
    show = notebook_output()
    return None if show is None else NotebookProgress(show)


def _both(one: Watch | None, other: Watch | None) -> Watch | None:
    if one is None or other is None:
        return one or other

    def watch(snapshot: Snapshot) -> None:
        one(snapshot)
        other(snapshot)

    return watch
