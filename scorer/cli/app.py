"""The command line: arguments, exit codes. Each command calls a function of another module.

Heavy modules are imported by the command that needs them: `scorer --help` answers at once. Over 300 lines, for a
command's help is its docstring, and users read them side by side.
"""

from __future__ import annotations

import os
import sys
import traceback
from contextlib import suppress
from dataclasses import asdict
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, CycloptsError, Parameter

from scorer import __version__
from scorer.cli.analysis_commands import app as questions
from scorer.cli.options import ONE_PROCESS, Forget, Json, Out, Remember, RunFile, Sets, WorkerOptions, answer
from scorer.cli.streams import end_streams, hold_streams, to_stderr, to_stdout
from scorer.cli.views import DEFAULT_VIEW, ViewOptions, view
from scorer.config.out_folder import STDIN, folder_of
from scorer.errors import InputError, Interrupted, ScorerError, SpecError, StorageError
from scorer.files.runtime import keep_memory_flat, stream_from_here, tune_gc

if TYPE_CHECKING:
    from scorer.build.plan import RunPlan
    from scorer.job.forget import Choice
    from scorer.job.job import Retry
    from scorer.output.status import Status

app = App(name="scorer", version=__version__, help="Scores model generations in Parquet with a language-model judge.")

app.command(questions, name="*")


@app.command
def init(file: Annotated[str, Parameter(help="Where to write it.")] = "run.toml") -> int:
    """Write a commented run file that works without a change: the embedded judge over the bundled sample.

    Example: scorer init run.toml && scorer run run.toml
    """
    from scorer.cli.init import write_starter

    write_starter(file)
    to_stdout(f"Wrote {file}. Next: scorer plan {file}, then scorer run {file}")
    return 0


@app.command
def plan(run_file: RunFile, /, *, exact: bool = False, sets: Sets = (), json: Json = False) -> int:
    """Estimate a run: rows, tokens, cost, time. Sends nothing.

    Example: scorer plan run.toml --exact

    Parameters
    ----------
    exact
        Count every row; else beyond 100,000 rows a sample is counted.
    """
    from scorer.build.plan import check
    from scorer.cli.terminal import plan_text
    from scorer.files.router import AnyFiles
    from scorer.job.estimate import estimate

    found = estimate(check(_tree(run_file, sets)), AnyFiles(), exact=exact)
    answer(json, asdict(found), lambda: plan_text(found))
    if found.rows and sum(found.rows_bad.values()) >= found.rows:
        raise InputError(
            "No row of the input can be judged; see rows_bad. Correct the input, or the columns of the judge."
        )
    return 0


@app.command
def run(
    run_file: RunFile,
    /,
    *,
    sets: Sets = (),
    forget: Forget = (),
    remember: Remember = (),
    hands: WorkerOptions = ONE_PROCESS,
    json: Json = False,
    showing: ViewOptions = DEFAULT_VIEW,
) -> int:
    """Score every row. The same command resumes after a stop, a kill or a crash.

    Example: scorer run run.toml --set limits.max_usd=20

    Example: scorer run run.toml --forget data/damaged.parquet
    """
    from scorer.build.plan import check
    from scorer.cli.terminal import summary_text
    from scorer.job.forget import Choice

    planned = check(_tree(run_file, sets))
    status = _score(planned, showing, hands, choice=Choice(forget, remember))
    return answer(json, asdict(status), lambda: summary_text(planned.spec.output.path, status))


@app.command
def rehearse(
    run_file: RunFile,
    /,
    *,
    sets: Sets = (),
    hands: WorkerOptions = ONE_PROCESS,
    json: Json = False,
    showing: ViewOptions = DEFAULT_VIEW,
) -> int:
    """Run the job against a local simulated judge, into <output.path>-rehearsal; faults can be injected. Free.

    Its rate limits are those of [limits]; [rehearsal] sets latency, capacity and faults.

    Example: scorer rehearse run.toml --set rehearsal.fault_500=0.02
    """
    from scorer.cli.terminal import rehearsal_text, summary_text
    from scorer.job.rehearse import rehearsal

    hands = hands.here("the rehearsal judge answers on this machine only")
    with rehearsal(_tree(run_file, sets)) as (planned, judge):
        status = _score(planned, showing, hands)
        books = judge.stats()
    told = {**asdict(status), "judge": books}
    return answer(json, told, lambda: f"{summary_text(planned.spec.output.path, status)}\n{rehearsal_text(books)}")


@app.command
def status(out: Out, /, *, json: Json = False) -> int:
    """Show progress, pace, cost, errors and the limiting factor of a run, running or not.

    Example: scorer status out --json
    """
    from scorer.analysis.uneven_unread import unread_unevenly
    from scorer.cli.terminal import summary_text
    from scorer.files.router import AnyFiles
    from scorer.output.status import status as status_of

    out = folder_of(out)
    found = status_of(AnyFiles(), out)
    unread = unread_unevenly(out, found)
    differs = {"unread_differs": [one.json() for one in unread.found]} if unread.found else {}
    value = {**asdict(found), **differs}
    return answer(json, value, lambda: "\n".join([summary_text(out, found), *unread.notes]))


@app.command
def verify(out: Out, /, *, json: Json = False) -> int:
    """Check that every input row is there exactly once, intact, scored or failed, and that the ledger agrees.

    Exit 0 where it is so; exit 1 and a list of findings where not.

    Example: scorer verify out
    """
    from scorer.cli.terminal import findings_text
    from scorer.files.router import AnyFiles
    from scorer.output.verify.folder import verify as look_through

    out = folder_of(out)
    verdict = look_through(AnyFiles(), out)
    whole = f"{out} is complete: {verdict.rows} rows of {verdict.shards} shards, each exactly once."
    told = {**asdict(verdict), "complete": verdict.complete}
    answer(
        json, told, lambda: "\n".join(filter(None, [whole if verdict.complete else "", findings_text(out, verdict)]))
    )
    return 0 if verdict.complete else 1


@app.command
def retry(
    out: Out,
    /,
    *,
    error: Annotated[tuple[str, ...], Parameter(negative="", allow_repeating=True)] = (),
    sets: Sets = (),
    hands: WorkerOptions = ONE_PROCESS,
    json: Json = False,
    showing: ViewOptions = DEFAULT_VIEW,
) -> int:
    """Score again only the rows that ended in an error.

    Example: scorer retry out --error Unavailable --error Truncated

    Parameters
    ----------
    error
        Only rows with this error; may be repeated. Without it every failed row.
    """
    from scorer.build.plan import check
    from scorer.cli.terminal import summary_text
    from scorer.config.loader import set_values
    from scorer.errors import ROW_ERRORS
    from scorer.files.router import AnyFiles
    from scorer.job.job import Retry
    from scorer.output.layout import Layout
    from scorer.output.located import rebased
    from scorer.output.manifest import load, no_run

    unknown = [name for name in error if name not in ROW_ERRORS]
    if unknown:
        raise SpecError([f"--error {name} is no error of a row. Allowed: {', '.join(ROW_ERRORS)}." for name in unknown])
    out = folder_of(out)
    manifest = load(AnyFiles(), Layout(out))
    if manifest is None:
        raise no_run(AnyFiles(), Layout(out))
    given = manifest.spec.get("input", {})
    tree = {
        **manifest.spec,
        "input": {**given, "shards": rebased(given.get("shards", ()), manifest.began)},
        "output": {**manifest.spec.get("output", {}), "path": out},
    }
    planned = check(set_values(tree, sets))
    found = _score(planned, showing, hands, Retry(error or None))
    return answer(json, asdict(found), lambda: summary_text(out, found))


@app.command
def reread(out: Out, /, *, sets: Sets = (), json: Json = False) -> int:
    """Parse the stored replies again with another reading rule. Sends nothing.

    Takes keys of [judge] that say how a reply is read; output.keep_raw must have kept the replies, "full" for expected.

    Example: scorer reread out --set judge.read=json
    """
    from scorer.cli.terminal import summary_text
    from scorer.files.router import AnyFiles
    from scorer.job.reread import reread as read_again

    out = folder_of(out)
    found = read_again(AnyFiles(), out, sets, say=to_stderr)
    return answer(json, asdict(found), lambda: summary_text(out, found))


@app.command
def publish(
    out: Out,
    /,
    *,
    to: Annotated[str | None, Parameter(help="The table; without it the run's own output.publish.")] = None,
    partition_by: Annotated[
        tuple[str, ...], Parameter(help="A column to partition a new table by; may be repeated.", negative="")
    ] = (),
    json: Json = False,
) -> int:
    """Publish sealed shards to a Delta or Iceberg table. Idempotent: each row once.

    Example: scorer publish out --to delta://lake/scores --partition-by scorer_run

    Example: scorer publish out --to iceberg://catalog/namespace.table
    """
    from scorer.cli.terminal import published_text
    from scorer.files.router import AnyFiles
    from scorer.publish.folder import publish as publish_folder

    found = publish_folder(AnyFiles(), folder_of(out), to, partition_by)
    return answer(json, asdict(found), lambda: published_text(found))


@app.command
def metrics(
    *inputs: Annotated[str, Parameter(help="Parquet files, folders of them, or globs.")],
    output: Annotated[str, Parameter(("--output", "-o"), help="The Parquet file to write.")],
    names: Annotated[str, Parameter(help="The metrics, with commas between: rouge1,exact_match.")],
    response: Annotated[str, Parameter(help="The column of the texts to score.")],
    reference: Annotated[str | None, Parameter(help="The column of the references, for metrics that need one.")] = None,
    json: Json = False,
) -> int:
    """Compute automatic metrics alone, without a judge: the same rows with a column metric_NAME for each.

    Example: scorer metrics in/*.parquet -o scored.parquet --names rouge1,token_f1 --response response --reference gold
    """
    from scorer.cli.tables import measured_text
    from scorer.job.metrics_only import score_files

    listed = [name.strip() for name in names.split(",") if name.strip()]
    found = score_files(inputs, output, listed, response, reference)
    return answer(json, asdict(found), lambda: measured_text(output, found))


def _tree(run_file: str, sets: tuple[str, ...]) -> dict[str, Any]:
    from scorer.config.loader import read_stdin, read_toml, set_values

    tree = read_stdin() if run_file == STDIN else read_toml(run_file)
    return set_values(tree, sets)


def _score(
    planned: RunPlan,
    showing: ViewOptions,
    hands: WorkerOptions,
    retry: Retry | None = None,
    choice: Choice | None = None,
) -> Status:
    from scorer.cli.signals import run_interruptibly
    from scorer.files.runtime import on_loop
    from scorer.job.forget import ALL

    stream_from_here()
    out = planned.spec.output.path
    with view(showing, out=out, fingerprint=planned.fingerprint) as seen, hands.hired(out, seen.say) as hire:
        seen.tell("started", {"fingerprint": planned.fingerprint, "version": __version__, "pid": os.getpid()})
        try:
            found = on_loop(run_interruptibly(planned, seen, retry, hands.workers, seen.answered, hire, choice or ALL))
        except Exception as error:
            seen.ended(error)
            raise
        seen.tell("finished", asdict(found))
        return found


def main(arguments: list[str] | None = None) -> None:
    """The console script: never returns, exits with the contract's code."""
    hold_streams()
    code = _exit_code(sys.argv[1:] if arguments is None else arguments)
    end_streams()
    sys.exit(code)


def _exit_code(arguments: list[str]) -> int:
    keep_memory_flat()
    tune_gc()
    # cyclopts takes a lone "-" for an option that it does not know.
    tokens = [STDIN if argument == "-" else argument for argument in arguments]
    for token in tokens:
        if any("\udc80" <= character <= "\udcff" for character in token):  # bytes, as Python hands them over
            shown = os.fsencode(token).decode("utf-8", "backslashreplace")
            return _tell(SpecError([f"The argument {shown} is not UTF-8. Rename what it names, and give that."]), 2, [])
    try:
        code: Any = app(tokens, exit_on_error=False, print_error=False, result_action="return_value")
        return code if isinstance(code, int) else 0
    except CycloptsError as error:
        return _tell(SpecError([f"{error} See: scorer --help"]), 2, tokens)
    except KeyboardInterrupt:
        stored = "Interrupted. What is finished is stored; the same command goes on from there."
        return _tell(Interrupted(stored), 130, tokens)
    except ScorerError as error:
        return _tell(error, error.exit_code, tokens)
    except Exception as error:  # noqa: BLE001 - the outermost frame: a bug is shown whole, with its own exit code
        return _tell(error, 1, tokens)


def _tell(error: Exception, exit_code: int, tokens: list[str]) -> int:
    """Says on stderr what ended the command, in the form that its arguments ask for; returns the exit code.

    With --json, one object stands on stdout all the same: its `error` is what stderr says.
    """
    if "--json" in tokens:
        value = {"error": str(error) or type(error).__name__, "exit_code": exit_code}
        with suppress(StorageError):  # stderr tells the error all the same
            answer(True, value, str)
    if "--log-format=json" in tokens or ("--log-format", "json") in pairwise(tokens):
        from scorer.cli.jsonlog import log_error

        log_error(error, exit_code)
    elif isinstance(error, ScorerError):
        to_stderr(str(error))
    else:
        to_stderr("".join(traceback.format_exception(error)))
        to_stderr("This is a bug of scorer. What was finished is stored.")
    return exit_code
