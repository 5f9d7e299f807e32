"""The commands that start or change a run: run, rehearse, retry, reread.

Light to import: each command loads what it needs.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from cyclopts import Parameter

from scorer.cli.answers import answer
from scorer.cli.options import (
    DEFAULT_VIEW,
    ONE_PROCESS,
    AcceptDrift,
    Collect,
    Forget,
    Json,
    NoWait,
    Out,
    Remember,
    RunFile,
    SampleOption,
    Sets,
    ViewOptions,
    WorkerOptions,
    waiting,
)
from scorer.cli.run_file import tree_of
from scorer.cli.scoring import answer_status, planned_run, scored
from scorer.cli.stdio import to_stderr
from scorer.config.out_folder import folder_of


def run(
    run_file: RunFile,
    /,
    *,
    sets: Sets = (),
    sample: SampleOption = None,
    forget: Forget = (),
    remember: Remember = (),
    no_wait: NoWait = False,
    collect: Collect = False,
    accept_drift: AcceptDrift = False,
    worker_options: WorkerOptions = ONE_PROCESS,
    json: Json = False,
    view_options: ViewOptions = DEFAULT_VIEW,
) -> int:
    """Score every row. The same command resumes after a stop, a kill or a crash.

    Example: scorer run run.toml --set limits.max_usd=20

    Example: scorer run run.toml --sample 10

    Example: scorer run run.toml --forget data/damaged.parquet

    Example: scorer run run.toml --no-wait
    """
    planned = planned_run(run_file, sets)

    from scorer.job.forget import Choice

    choice = Choice(forget, remember, sample, waiting(no_wait=no_wait, collect=collect), accept_drift)
    launcher, workers = worker_options.launcher, worker_options.workers
    return answer_status(json, planned, scored(planned, view_options.view, launcher, workers, choice=choice))


def rehearse(
    run_file: RunFile,
    /,
    *,
    sets: Sets = (),
    sample: SampleOption = None,
    worker_options: WorkerOptions = ONE_PROCESS,
    json: Json = False,
    view_options: ViewOptions = DEFAULT_VIEW,
) -> int:
    """Run the job against a local simulated judge, into <output.path>-rehearsal; faults can be injected. Free.

    Its rate limits are those of [limits]; [rehearsal] sets latency, capacity and faults.

    Example: scorer rehearse run.toml --set rehearsal.fault_500=0.02
    """
    from scorer.cli.run_text import rehearsal_text, summary_text
    from scorer.job.forget import Choice
    from scorer.job.rehearse import rehearsal
    from scorer.report.watch.rehearsed import Steady, rehearsed

    worker_options = worker_options.here("the simulated judge answers on this machine only")
    steady = Steady()
    with rehearsal(tree_of(run_file, sets)) as (planned, judge):
        status = scored(
            planned, view_options.view, worker_options.launcher, worker_options.workers,
            choice=Choice(sample=sample), also=steady.see,
        )  # fmt: skip
        counters = judge.stats()
    last = steady.snapshot if status.scored and not planned.spec.batched else None  # batches have no pace
    whole = rehearsed(last, status) if last is not None else None
    value = {**asdict(status), "judge": counters, "real_run": None if whole is None else whole.json()}
    return answer(
        json, value, lambda: f"{summary_text(planned.spec.output.path, status)}\n{rehearsal_text(counters, whole)}"
    )


def retry(
    out: Out,
    /,
    *,
    error: Annotated[tuple[str, ...], Parameter(negative="", allow_repeating=True)] = (),
    suspect: Annotated[bool, Parameter(negative="")] = False,
    sets: Sets = (),
    worker_options: WorkerOptions = ONE_PROCESS,
    json: Json = False,
    view_options: ViewOptions = DEFAULT_VIEW,
) -> int:
    """Score again only the rows that ended in an error.

    Keys such as model.max_output_tokens may be set for these rows alone.

    Example: scorer retry out --error Truncated --set model.max_output_tokens=2000

    Parameters
    ----------
    error
        Only rows with this error; may be repeated. Without it every failed row.
    suspect
        The rows that were finished while the judge had drifted (exit code 8), scored or not.
    """
    from scorer.cli.run_text import summary_text
    from scorer.files.router import AnyFiles
    from scorer.job.retry import nothing_to_retry, retry_of
    from scorer.output.status import status, within_share

    out = folder_of(out)
    planned, again = retry_of(AnyFiles(), out, error, sets, suspect=suspect)
    found = status(AnyFiles(), out)
    if nothing_to_retry(found, again):
        ended = "one of these errors" if error else "an error"
        with view_options.view(out=out, fingerprint=planned.fingerprint) as seen:
            seen.say(f"No row of {out} ended in {ended}: nothing is scored again.")
        within_share(found, planned.spec.limits.max_failed_share)
    else:
        found = scored(planned, view_options.view, worker_options.launcher, worker_options.workers, retry=again)
    return answer(json, asdict(found), lambda: summary_text(out, found))


def reread(out: Out, /, *, sets: Sets = (), json: Json = False) -> int:
    """Parse the stored replies again with another reading rule. Sends nothing.

    Takes keys of [judge] that say how a reply is read; output.keep_raw must have kept the replies, "full" for expected.

    Example: scorer reread out --set judge.read=json
    """
    from scorer.cli.run_text import summary_text
    from scorer.files.router import AnyFiles
    from scorer.job.reread import reread as read_again

    out = folder_of(out)
    found = read_again(AnyFiles(), out, sets, say=to_stderr)
    return answer(json, asdict(found), lambda: summary_text(out, found))
