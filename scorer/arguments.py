"""Arguments that several commands share, and how a command answers: a text for people, or one JSON object."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated, Any

from cyclopts import Parameter

Sets = Annotated[
    tuple[str, ...],
    Parameter(
        "--set", help="Another value for a key of the run file; may be repeated.", negative="", allow_repeating=True
    ),
]
Json = Annotated[bool, Parameter("--json", help="One JSON object on stdout, nothing else there.", negative="")]
RunFile = Annotated[str, Parameter(help="The run file; - reads it from stdin.")]
Out = Annotated[str, Parameter(help="The output folder of a run (its output.path).")]

# --- of the questions asked of a table --------------------------------------------------------------------------------

Columns = tuple[str, ...]
Table = Annotated[str, Parameter(help="A Parquet file, a glob of them, or the output folder of a run.")]
Scores = Annotated[Columns, Parameter("--score", help="A column of scores; may be repeated.", negative="")]
Item = Annotated[str | None, Parameter(help="The column that names what was answered: a question, a document.")]
Task = Annotated[str | None, Parameter(help="The column that names the task.")]
Systems = Annotated[str | None, Parameter("--system", help="The column that names who answered.")]
Labels = Annotated[str | None, Parameter(help="A table with the human columns, where they are not in TABLE; see --on.")]
On = Annotated[Columns, Parameter(help="The columns that find a row's label; may be repeated.", negative="")]
Bootstrap = Annotated[int, Parameter(help="Resamples for the 95 % intervals, always the same ones; 0 for none.")]
Human = Annotated[str, Parameter(help="The column of human values.")]


def answer(json: bool, value: Any, text: Callable[[], str]) -> int:
    """Prints the value as JSON or else the text, and returns the exit code of success. NaN would be null in JSON."""
    if json:
        import orjson

        sys.stdout.write(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode() + "\n")
    else:
        sys.stdout.write(text() + "\n")
    return 0
