"""The commands that plan or change a run: init, plan, run, rehearse, retry, reread.

Light to import: each command loads what it needs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from scorer import __version__
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
    answer,
    waiting,
)
from scorer.cli.plan_choices import NO_CHOICES, ChoiceOptions
from scorer.cli.stdio import to_stderr, to_stdout
from scorer.config.out_folder import STDIN, folder_of
from scorer.errors import BudgetSpent, InputError, ScorerError, TooManyFailed
from scorer.processes.memory import stream_from_here

if TYPE_CHECKING:
    from scorer.build.plan import RunPlan
    from scorer.job.forget import Choice
    from scorer.job.retry import Retry
    from scorer.output.progress import Snapshot
    from scorer.output.status import Status


def init(
    file: Annotated[str, Parameter(help="Where to write it.", show_default=True)] = "run.toml",
    *,
    from_: Annotated[
        tuple[str, ...],
        Parameter(name="--from", help="Files, folders or globs to look at, as input.shards takes them.", negative=""),
    ] = (),
    provider: Annotated[
        str,
        Parameter(
            help="With --from, who judges: openai, anthropic, vllm (a server of your own) or embedded.",
            show_default=True,
        ),
    ] = "openai",
) -> int:
    """Write a commented run file that works without a change: the embedded judge over the bundled sample.

    With --from the run file is for your own data: the columns are guessed, and nothing is sent.

    Example: scorer init run.toml --from logs.jsonl --provider openai
    """
    if from_:
        from scorer.cli.init_from import write_from

        to_stdout(write_from(file, from_, provider))
        missing = ""
    else:
        from scorer.cli.init import missing_parts, write_starter

        write_starter(file)
        missing = missing_parts(file)
    to_stdout(f"Wrote {file}. Next: scorer plan {file}, then scorer run {file}")
    if missing:
        to_stdout(missing)
    return 0


def plan(
    run_file: RunFile,
    /,
    *,
    exact: Annotated[bool, Parameter(negative="")] = False,
    sample: SampleOption = None,
    sets: Sets = (),
    json: Json = False,
    choice_options: ChoiceOptions = NO_CHOICES,
) -> int:
    """Estimate a run: rows, tokens, cost, time. Sends nothing.

    With --choices, --by, --max-usd or -o it compares models, samples and ways to ask criteria, and picks one that fits.

    Example: scorer plan run.toml --exact

    Example: scorer plan run.toml --model gpt-4o --model gpt-4o-mini --by 07:00 --max-usd 400 -o new.toml

    Parameters
    ----------
    exact
        Count every row; else beyond 100,000 rows a sample is counted.
    """
    tree = tree_of(run_file, sets)  # before the other modules: it defines the run file's models

    from scorer.build.plan import check
    from scorer.cli.run_text import plan_text
    from scorer.files.router import AnyFiles
    from scorer.job.estimate import estimate

    found = estimate(check(tree), AnyFiles(), exact=exact, sample=sample)
    if choice_options.wanted:
        from scorer.cli.plan_choices import answered, choices_text

        choices = answered(run_file, tree, choice_options, sample)
        answer(json, {**asdict(found), **choices.json()}, lambda: f"{plan_text(found)}\n\n{choices_text(choices)}")
    else:
        answer(json, asdict(found), lambda: plan_text(found))
    if found.rows and sum(found.rows_bad.values()) >= found.rows:
        raise InputError(
            "No row of the input can be judged; see rows_bad. Correct the input, or the columns of the judge."
        )
    return 0


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
    tree = tree_of(run_file, sets)  # before the other modules: it defines the run file's models

    from scorer.build.plan import check
    from scorer.cli.run_text import summary_text
    from scorer.job.forget import Choice

    planned = check(tree)
    choice = Choice(forget, remember, sample, waiting(no_wait=no_wait, collect=collect), accept_drift)
    status = _score(planned, view_options, worker_options, choice=choice)
    return answer(json, asdict(status), lambda: summary_text(planned.spec.output.path, status))


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
        status = _score(planned, view_options, worker_options, choice=Choice(sample=sample), also=steady.see)
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
    from scorer.job.retry import retry_of

    out = folder_of(out)
    planned, again = retry_of(AnyFiles(), out, error, sets, suspect=suspect)
    found = _score(planned, view_options, worker_options, again)
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


def tree_of(run_file: str, sets: tuple[str, ...]) -> dict[str, Any]:
    """A run file with --set, not checked yet. Raises SpecError."""
    from scorer.config.pydantic_plugins import no_plugins

    with no_plugins():
        from scorer.config.loader import read_stdin, read_toml, set_values

    tree = read_stdin() if run_file == STDIN else read_toml(run_file)
    return set_values(tree, sets)


def _score(
    planned: RunPlan,
    view_options: ViewOptions,
    worker_options: WorkerOptions,
    retry: Retry | None = None,
    choice: Choice | None = None,
    also: Callable[[Snapshot], None] | None = None,
) -> Status:
    """Runs a job and shows it; `also` gets each snapshot. Raises what the job raises, after a last look at the run."""
    from scorer.cli.progress_views import view
    from scorer.cli.signals import run_interruptibly
    from scorer.job.forget import ALL
    from scorer.processes.event_loop import on_loop

    stream_from_here()
    out = planned.spec.output.path
    with (
        view(view_options, out=out, fingerprint=planned.fingerprint, also=also) as seen,
        worker_options.launcher(out, seen.say) as launcher,
    ):
        seen.tell("started", {"fingerprint": planned.fingerprint, "version": __version__, "pid": os.getpid()})
        try:
            found = on_loop(
                run_interruptibly(planned, seen, retry, worker_options.workers, seen.answered, launcher, choice or ALL)
            )
        except (BudgetSpent, TooManyFailed) as error:
            _add_next_command(error, planned)
            seen.ended(error)
            raise
        except Exception as error:
            seen.ended(error)
            raise
        seen.tell("finished", asdict(found))
        return found


def _add_next_command(error: ScorerError, planned: RunPlan) -> None:
    """Notes the command to type next; nothing where the folder cannot be read, which says so by itself."""
    from scorer.cli.next_command import next_command
    from scorer.files.router import AnyFiles
    from scorer.output.status import status as status_of

    with suppress(ScorerError, OSError):
        found = status_of(AnyFiles(), planned.spec.output.path)
        if (sentence := next_command(error, sys.argv[1:], planned.spec, found)) is not None:
            error.add_note(sentence)
