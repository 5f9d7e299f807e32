"""The command `scorer report`: one page of a run that opens offline."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from cyclopts import Parameter

from scorer.cli.answers import answer
from scorer.cli.options import Json
from scorer.cli.table_options import Item, Systems, Task


def report(
    *outs: Annotated[
        str,
        Parameter(
            help="The output folder of a run, or its run file; of several judges over the same input, each of theirs. "
            "NAME=OUT names one."
        ),
    ],
    output: Annotated[
        str | None,
        Parameter(("--output", "-o"), help="The file to write; without it report-NAME.html in the current folder."),
    ] = None,
    human: Annotated[
        tuple[str, ...],
        Parameter(help="A column of human values; of several people, each of theirs.", negative=""),
    ] = (),
    item: Item = None,
    system: Systems = None,
    task: Task = None,
    score: Annotated[
        str, Parameter(help="The column of scores, such as score_coherence.", show_default=True)
    ] = "score",
    own: Annotated[
        tuple[str, ...], Parameter(help="A system of the judge's own kind, for self-preference.", negative="")
    ] = (),
    acceptable: Annotated[float | None, Parameter(help="Count the scores at or above this bar as acceptable.")] = None,
    step: Annotated[str | None, Parameter(help="A column of training steps: draws curves along it.")] = None,
    mix: Annotated[str | None, Parameter(help="The column that tells the curves apart.")] = None,
    margin: Annotated[float | None, Parameter(help="The difference between steps that counts as none.")] = None,
    rows: Annotated[
        int, Parameter(help="At most so many rows with their texts; 0 for a page without any text.", show_default=True)
    ] = 400,
    json: Json = False,
) -> int:
    """Write one HTML page of a run: the answer, systems, judge, rows to read, errors. It opens offline.

    Columns that are not named are found by their usual names.

    With texts of rows, that is without --rows 0, the page is readable by its owner alone.

    Example: scorer report out --human human

    Example: scorer report gpt=out-gpt haiku=out-haiku -o judges.html --rows 0
    """
    from scorer.cli.run_text import report_text
    from scorer.config.out_folder import STDIN
    from scorer.errors import SpecError
    from scorer.report.page.options import ReportOptions
    from scorer.report.write import write_report_file

    if output == STDIN:
        raise SpecError(["-o -: the page is written to a file. Give its name, such as report.html."])
    if not outs:
        raise SpecError(["OUT is missing: give the output folder of a run, or its run file."])
    options = ReportOptions(score, human, item, system, task, None, own, step, mix, margin, acceptable, rows)
    written = write_report_file(outs, output, options)
    return answer(json, asdict(written), lambda: report_text(written))
