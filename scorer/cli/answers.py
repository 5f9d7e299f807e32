"""The output of a command: text, or one JSON object."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from scorer.cli.stdio import to_stdout

if TYPE_CHECKING:
    from scorer.analysis.run_coverage import RunCoverage


def answer(json: bool, value: Any, text: Callable[[], str], coverage: RunCoverage | None = None) -> int:
    """Prints the value as JSON or else the text, and returns the exit code of success. NaN would be null in JSON.

    `coverage` says how much of a run the answer covers; it stands above the text.
    """
    if coverage is not None:
        value = {**coverage.json(), **value}
    if json:
        from scorer.cli.json_text import json_text

        to_stdout(json_text(value, indent=True))
    else:
        above = coverage.text() if coverage is not None else ""
        to_stdout((f"{above}\n\n" if above else "") + text())
    return 0
