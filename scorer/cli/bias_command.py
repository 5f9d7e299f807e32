"""The command `scorer bias`: length, position, self-preference, format.

Light to import, as the command line is. What it finds is computed by `scorer.analysis.bias` and, by format, with
further questions to the judge, by `scorer.job.format_probe` and `scorer.analysis.format_bias`.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import starmap
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from scorer.cli.answers import answer
from scorer.cli.options import Json, Sets
from scorer.cli.table_options import SCORE, Columns, Item, Labels, On, Resamples, Scores, Systems, Table, opened
from scorer.errors import SpecError

if TYPE_CHECKING:
    from scorer.analysis.bootstrap import Bootstrap
    from scorer.analysis.format_bias import FormatBias

_METRIC = "metric_"


def bias(
    *tables: Table,
    score: Scores = SCORE,
    text: Annotated[str | None, Parameter(help="The column of the text that was judged: measures length bias.")] = None,
    baseline: Annotated[str | None, Parameter(help="The column of the text that it was compared with.")] = None,
    difficulty: Annotated[
        str | None, Parameter(help="A column of how hard each instruction is; with --baseline.")
    ] = None,
    swapped: Annotated[
        str | None,
        Parameter(help="The column that says a pair stood in the other order; or that of its preferences there."),
    ] = None,
    pair: Annotated[
        Columns, Parameter(help="The columns that name a pair, where each order is a row; with --swapped.", negative="")
    ] = (),
    own: Annotated[
        Columns, Parameter(help="A system of the judge's own model family; may be repeated.", negative="")
    ] = (),
    system: Systems = None,
    human: Annotated[str | None, Parameter(help="The column of human values.")] = None,
    item: Item = None,
    labels: Labels = None,
    on: On = (),
    format: Annotated[
        bool, Parameter(help="Ask the judge of the run in TABLE again, for answers in other forms.", negative="")
    ] = False,
    share: Annotated[
        float, Parameter(help="What --format may cost: the share of the run's rows asked again.", show_default=True)
    ] = 0.01,
    sets: Sets = (),
    bootstrap: Resamples = 1000,
    json: Json = False,
) -> int:
    """Measure bias: length (--text), position (--swapped), self-preference (--own), format (--format).

    Of preferences in [0, 1], --text and --baseline also give the win rate at equal length, with --system that of each
    system. It is not AlpacaEval's length-controlled win rate.

    --format measures format bias: a random sample of the run's answers is scored again as it is and as JSON,
    markdown, bullets and capitals, by the run's own judge into TABLE-format, and each score and metric compared. It
    sends requests, within the run's limits; what the run has spent counts against its caps. The same command resumes.

    Example: scorer bias out --score score --text response --human human

    Example: scorer bias out --score score --swapped preference_swapped

    Example: scorer bias out --score score --text response --format --share 0.01
    """
    from scorer.analysis.bias_measures import NO_BIAS, BiasColumns, measure_bias
    from scorer.analysis.bootstrap import Bootstrap
    from scorer.cli.analysis_text import bias_text

    columns = BiasColumns(text, baseline, difficulty, swapped, pair, own, system, human, item)
    problems = columns.problems()
    if format and text is None:
        problems = [problem for problem in problems if problem != NO_BIAS]
        problems.append("--format needs --text: the column of the answer, whose form changes.")
    if sets and not format:
        problems.append("--set changes the run that --format starts: give --format, or leave it out.")
    if problems:
        raise SpecError(problems)
    settings = Bootstrap(bootstrap)
    if format and len(tables) > 1:
        raise SpecError(["--format asks the judge of one run: give one output folder."])
    table = opened(tables, score, labels=labels, on=on, human=[human] if human else [])
    found: dict[str, dict[str, Any]] = {
        name: dict(measure_bias(table.frame, name, columns, bootstrap=settings)) for name in table.scores
    }
    if format and text is not None:
        by_format = _by_format(tables[0], text, score, share=share, sets=sets, item=item, bootstrap=settings)
        for name, formats in by_format.items():
            found.setdefault(name, {})["format"] = formats
    value = {name: {kind: one.json() for kind, one in measures.items()} for name, measures in found.items()}
    coverage = table.coverage(system, text, baseline, difficulty, swapped, pair, human, item)
    return answer(json, {"scores": value}, lambda: "\n".join(starmap(bias_text, found.items())), coverage)


def _by_format(
    table: str,
    text: str,
    score: Columns,
    *,
    share: float,
    sets: tuple[str, ...],
    item: str | None,
    bootstrap: Bootstrap,
) -> Mapping[str, FormatBias]:
    """The drift of each score, and of each metric that the run computes, over a sample that is scored first."""
    from scorer.analysis.format_bias import drift
    from scorer.analysis.open_table import out_folder
    from scorer.cli.signals import run_interruptibly
    from scorer.cli.terminal import TerminalView
    from scorer.files.router import AnyFiles
    from scorer.job.format_probe import prepare, stored_scores
    from scorer.output.scan import scan_scores
    from scorer.processes.event_loop import on_loop

    files, out = AnyFiles(), out_folder(table) or table
    asked = prepare(files, out, text, share=share, sets=sets)
    with TerminalView() as screen:
        on_loop(run_interruptibly(asked.plan, screen, None))
    scored = scan_scores(asked.plan.spec.output.path, join_input=True, files=files)
    metrics = [name for name in scored.collect_schema().names() if name.startswith(_METRIC)]
    return {
        name: drift(
            scored,
            name,
            stored=stored_scores(files, out, asked.places, name),
            item=item,
            bootstrap=bootstrap,
        )
        for name in dict.fromkeys([*score, *metrics])
    }
