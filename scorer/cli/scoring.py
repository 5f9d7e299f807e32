"""A job as a command shows it: what `run`, `rehearse` and `retry` share.

Imports no parser of arguments: a plain `scorer run FILE` does without (see plain_run).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import asdict
from typing import TYPE_CHECKING

from scorer import __version__
from scorer.cli.answers import answer
from scorer.cli.progress_views import View, view
from scorer.cli.run_file import tree_of
from scorer.errors import BudgetSpent, ScorerError, TooManyFailed
from scorer.processes.memory import stream_from_here

if TYPE_CHECKING:
    from scorer.build.plan import RunPlan
    from scorer.job.forget import Choice
    from scorer.job.retry import Retry
    from scorer.output.progress import Snapshot
    from scorer.output.status import Status
    from scorer.workers.coordinator import Coordinator
    from scorer.workers.supervisor import Launcher

    OpenLauncher = Callable[
        [str, Callable[[str], None]], AbstractContextManager[Callable[[Coordinator], Launcher] | None]
    ]


def planned_run(run_file: str, sets: tuple[str, ...] = ()) -> RunPlan:
    """The run of a run file with --set, checked. Raises SpecError."""
    tree = tree_of(run_file, sets)  # before the other modules: it defines the run file's models

    from scorer.build.plan import check

    return check(tree)


def answer_status(json: bool, planned: RunPlan, status: Status) -> int:
    """Prints how a run stands, and returns the exit code of success."""
    from scorer.cli.run_text import summary_text

    return answer(json, asdict(status), lambda: summary_text(planned.spec.output.path, status))


def scored(
    planned: RunPlan,
    open_view: Callable[..., AbstractContextManager[View]] = view,
    open_launcher: OpenLauncher | None = None,
    workers: int = 1,
    *,
    retry: Retry | None = None,
    choice: Choice | None = None,
    also: Callable[[Snapshot], None] | None = None,
) -> Status:
    """Runs a job, shows it, and returns its status; `also` gets each snapshot.

    `open_view` opens the view of the run. `open_launcher` opens what starts the workers; it gets the output folder and
    a function for sentences to people. Without it they are processes of this machine.
    Raises what the job raises, after a last look at the run.
    """
    from scorer.cli.signals import run_interruptibly
    from scorer.job.forget import ALL
    from scorer.processes.event_loop import on_loop

    stream_from_here()
    out = planned.spec.output.path
    with (
        open_view(out=out, fingerprint=planned.fingerprint, also=also) as seen,
        nullcontext() if open_launcher is None else open_launcher(out, seen.say) as launcher,
    ):
        seen.tell("started", {"fingerprint": planned.fingerprint, "version": __version__, "pid": os.getpid()})
        try:
            found = on_loop(run_interruptibly(planned, seen, retry, workers, seen.answered, launcher, choice or ALL))
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
