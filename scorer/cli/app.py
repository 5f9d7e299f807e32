"""The command line: collects the commands, calls one, and turns its outcome into an exit code.

Heavy modules are imported by the command that needs them: `scorer --help` answers at once. The parser of arguments is
imported once the cycle collector is tuned, and not for a plain `scorer run FILE`.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from scorer import __version__
from scorer.cli import EARLY
from scorer.cli.commands import COMMANDS
from scorer.cli.plain_run import plain_run
from scorer.cli.stdio import end_streams, hold_streams, not_written, to_stderr
from scorer.config.out_folder import STDIN
from scorer.errors import Interrupted, ScorerError, SpecError, StorageError
from scorer.processes.file_limit import LEAST, raise_file_limit
from scorer.processes.memory import end_uncollected, keep_memory_flat, let_idle_threads_sleep, tune_gc
from scorer.processes.search_path import current_folder

if TYPE_CHECKING:
    from cyclopts import App, CycloptsError


def command_line(tokens: Sequence[str] = ()) -> App:
    """The command line for these arguments: it imports the module of the command that they name, and no other.

    The listing of all commands takes their summaries from COMMANDS; the help of one command is its own docstring.
    """
    from cyclopts import App, Parameter

    app = App(
        name="scorer",
        version=__version__,
        help="Scores model generations with a language-model judge.",
        help_format="plaintext",
        default_parameter=Parameter(show_default=False),  # of most options it is that they are not given
        suppress_keyboard_interrupt=False,
    )
    named = next((token for token in tokens if token in COMMANDS), None)
    for name, (function, summary, help_format) in COMMANDS.items():
        own_help = {} if name == named else {"help": summary}
        app.command(function, name=name, help_format=help_format, **own_help)
    return app


_FEW_FILES = (
    "This process may have {allowed} files open (`ulimit -n`), and scorer needs "
    f"{LEAST} and one for each request in flight. Type `ulimit -n 1024`, then the command again. Where that is "
    "refused, the system or the container sets the limit (`ulimit -Hn`): raise it there."
)
_NO_FOLDER = "The current folder is gone: go to another one with `cd`, then give the command again."


def main(arguments: list[str] | None = None) -> None:
    """The console script: never returns, exits with the contract's code."""
    hold_streams()
    given = sys.argv[1:] if arguments is None else arguments
    try:
        code = _exit_code(given)
    except KeyboardInterrupt:  # while modules were loaded
        code = _report(Interrupted(EARLY), 130, given)
    end_streams()
    end_uncollected()
    sys.exit(code)


def _exit_code(arguments: list[str]) -> int:
    keep_memory_flat()
    let_idle_threads_sleep()
    tune_gc()
    # cyclopts takes a lone "-" for an option that it does not know.
    tokens = [STDIN if argument == "-" else argument for argument in arguments]
    if (allowed := raise_file_limit()) < LEAST:
        return _report(SpecError([_FEW_FILES.format(allowed=allowed)]), 2, tokens)
    if current_folder() is None:
        return _report(SpecError([_NO_FOLDER]), 2, tokens)
    for token in tokens:
        if any("\udc80" <= character <= "\udcff" for character in token):  # bytes, as Python hands them over
            shown = os.fsencode(token).decode("utf-8", "backslashreplace")
            return _report(
                SpecError([f"The argument {shown} is not UTF-8. Rename what it names, and give that."]), 2, []
            )
    try:
        plain = plain_run(tokens)
        return _called(tokens) if plain is None else plain()
    except KeyboardInterrupt:
        return _report(Interrupted(EARLY), 130, tokens)
    except ScorerError as error:
        return _report(error, error.exit_code, tokens)
    except Exception as error:  # noqa: BLE001 - the outermost frame: a bug is shown whole, with its own exit code
        from scorer.job.thread_refusals import refused_thread

        if (refused := refused_thread(error)) is not None:
            return _report(refused, refused.exit_code, tokens)
        return _report(error, 1, tokens)


def _called(tokens: list[str]) -> int:
    """Parses the arguments, calls their command, and returns its exit code. Raises SpecError where they are wrong."""
    from cyclopts import CycloptsError

    try:
        code: Any = command_line(tokens)(tokens, exit_on_error=False, print_error=False, result_action="return_value")
        return code if isinstance(code, int) else 0
    except CycloptsError as error:
        asked = " ".join(["scorer", *(token for token in tokens[:1] if token in COMMANDS)])
        raise SpecError([f"{_wrong_use(error, asked)} See: {asked} --help"]) from None
    except (OSError, SystemExit) as error:
        if tokens and {"--help", "-h", "--version"}.isdisjoint(tokens):
            raise
        if isinstance(error, SystemExit):  # cyclopts prints help and version through rich, whose reader has gone
            return 0
        raise not_written(error) from None


def _wrong_use(error: CycloptsError, command: str) -> str:
    """What is wrong with the arguments of a command; for one that is missing, what it is."""
    import shlex

    from cyclopts import MissingArgumentError, UnusedCliTokensError

    if isinstance(error, UnusedCliTokensError):
        return f"{command} takes fewer arguments: leave out {shlex.join(error.unused_tokens or ())}."
    if not isinstance(error, MissingArgumentError) or error.argument is None:
        return str(error)
    name = error.keyword or error.argument.name
    lacks = f"{command} needs {name}" if error.keyword is None else f"{command}: {name} needs a value"
    return f"{lacks}. {error.argument.parameter.help or ''}".strip()


def _report(error: Exception, exit_code: int, tokens: list[str]) -> int:
    """Says on stderr what ended the command, in the form that its arguments ask for; returns the exit code.

    With --json, stdout gets one object all the same: its `error` is the text on stderr.
    """
    if "--json" in tokens:
        value = {"error": _said(error) or type(error).__name__, "exit_code": exit_code}
        from scorer.cli.answers import answer

        with suppress(StorageError):  # stderr tells the error all the same
            answer(True, value, str)
    if "--log-format=json" in tokens or ("--log-format", "json") in pairwise(tokens):
        from scorer.cli.jsonlog import log_error

        log_error(error, exit_code)
    elif isinstance(error, ScorerError):
        to_stderr(_said(error))
    else:
        to_stderr("".join(traceback.format_exception(error)))
        to_stderr("This is a bug of scorer. What was finished is stored.")
    return exit_code


def _said(error: Exception) -> str:
    """The error's sentence, and below it the command to type next where there is one."""
    return "\n".join([str(error), *getattr(error, "__notes__", ())])
