"""`scorer run FILE`, with or without --quiet and --json: read without the parser of arguments.

Its import is a tenth of the time until the first request. All other arguments, and all mistakes, are the parser's.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

_FLAGS = frozenset({"--quiet", "--json"})


class PlainRun:
    """What `scorer run` is called with: a run file, and two flags."""

    def __init__(self, run_file: str, *, quiet: bool, json: bool) -> None:
        self.run_file = run_file
        self.quiet = quiet
        self.json = json

    def __call__(self) -> int:
        """Does what the command `run` does, and returns the exit code; raises what it raises."""
        from scorer.cli.progress_views import view
        from scorer.cli.scoring import answer_status, planned_run, scored

        planned = planned_run(self.run_file)
        return answer_status(self.json, planned, scored(planned, partial(view, quiet=self.quiet)))


def plain_run(tokens: Sequence[str]) -> PlainRun | None:
    """The run that these arguments ask for; None where they are anything but `run`, one file and flags of these."""
    if not tokens or tokens[0] != "run":
        return None
    flags = [token for token in tokens[1:] if token in _FLAGS]
    files = [token for token in tokens[1:] if token not in _FLAGS]
    if len(files) != 1 or len(set(flags)) != len(flags) or not files[0] or files[0].startswith("-"):
        return None
    return PlainRun(files[0], quiet="--quiet" in flags, json="--json" in flags)
