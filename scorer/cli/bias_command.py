"""The command `scorer bias`: length, position, self-preference, format.

Light to import, as the command line is. What it finds is computed by `scorer.analysis.bias` and, by format, with
further questions to the judge, by `scorer.job.format_probe` and `scorer.analysis.format_bias`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from scorer.cli.options import (
    Bootstrap,
    Columns,
    Item,
    Json,
    Labels,
    On,
    Scores,
    Sets,
    Systems,
    Table,
    answer,
    coverage_of,
    open_labelled,
)
from scorer.errors import SpecError

if TYPE_CHECKING:
    import polars as pl

    from scorer.analysis.bias import Position
    from scorer.analysis.format_bias import FormatBias

_METRIC = "metric_"
_GIVEN, _SWAPPED, _BOTH = "preference_given", "preference_swapped", ("score", "preference")
"""A pairwise run's preferences in either order, and the columns that hold what comes of both."""

_TOGETHER = (
    "--swapped and --pair belong together: which rows show which pair in the other order. Without --pair, --swapped is "
    "a column of preferences, such as a pairwise run's preference_swapped."
)


def bias(
    table: Table,
    /,
    *,
    score: Scores,
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
    share: Annotated[float, Parameter(help="What --format may cost: the share of the run's rows asked again.")] = 0.01,
    sets: Sets = (),
    bootstrap: Bootstrap = 1000,
    json: Json = False,
) -> int:
    """Measure bias: length (--text), position (--swapped), self-preference (--own), format (--format).

    Of preferences in [0, 1], --text and --baseline also give the win rate at equal length, with --system that of each
    system. It is not AlpacaEval's length-controlled win rate.

    --format measures format bias: a random sample of the run's answers is scored again as it is and as JSON,
    markdown, bullets and capitals, by the run's own judge into <TABLE>-format, and each score and metric compared. It
    sends requests, within the run's limits; what the run has spent counts against its caps. The same command resumes.

    Example: scorer bias out --score score --text response --human human

    Example: scorer bias out --score score --swapped preference_swapped

    Example: scorer bias out --score score --text response --format --share 0.01
    """
    from scorer.cli.analysis_text import bias_text

    asked = _Asked(text, baseline, difficulty, swapped, pair, own, system, human, item, bootstrap)
    problems = _mistakes(asked, format=format, sets=sets)
    if problems:
        raise SpecError(problems)
    frame = open_labelled(table, labels, on, [human] if human else [])
    found = {
        name: {**_by_length(frame, name, asked), **_by_position(frame, name, asked), **_by_family(frame, name, asked)}
        for name in score
    }
    if format and text is not None:
        for name, formats in _by_format(table, text, score, share, sets, item, bootstrap).items():
            found.setdefault(name, {})["format"] = formats
    value = {name: {kind: one.json() for kind, one in told.items()} for name, told in found.items()}
    coverage = coverage_of(table, system, score, text, baseline, difficulty, swapped, pair, human, item)
    return answer(
        json, {"scores": value}, lambda: "\n".join(bias_text(name, told) for name, told in found.items()), coverage
    )


@dataclass(frozen=True, slots=True)
class _Asked:
    """The options of one call that say which bias to measure, and on which columns."""

    text: str | None
    baseline: str | None
    difficulty: str | None
    swapped: str | None
    pair: Columns
    own: Columns
    system: str | None
    human: str | None
    item: str | None
    replicates: int


def _mistakes(asked: _Asked, *, format: bool, sets: tuple[str, ...]) -> list[str]:
    """A sentence for each option that lacks another one."""
    problems = []
    if asked.baseline is not None and asked.text is None:
        problems.append("--baseline needs --text: the column of the text that was compared with it.")
    if asked.difficulty is not None and asked.baseline is None:
        problems.append("--difficulty needs --text and --baseline: it belongs to the win rate at equal length.")
    if asked.pair and asked.swapped is None:
        problems.append(_TOGETHER)
    if asked.own and (asked.system is None or asked.human is None):
        problems.append("--own needs --system and --human: who answered, and what people thought of it.")
    if format and asked.text is None:
        problems.append("--format needs --text: the column of the answer, whose form changes.")
    if sets and not format:
        problems.append("--set changes the run that --format starts: give --format, or leave it out.")
    if asked.text is None and asked.swapped is None and not asked.own and not problems:
        problems.append("No bias is named: give --text, or --swapped and --pair, or --own with --system and --human.")
    return problems


def _by_length(frame: pl.LazyFrame, score: str, asked: _Asked) -> dict[str, Any]:
    """Length bias, and with a baseline the win rates at equal length; empty without --text."""
    from scorer.analysis.bias import length
    from scorer.analysis.win_rate import win_rate, win_rates

    text, baseline, item, replicates = asked.text, asked.baseline, asked.item, asked.replicates
    if text is None:
        return {}
    told: dict[str, Any] = {"length": length(frame, score, text, human=asked.human, item=item, replicates=replicates)}
    if baseline is None:
        return told
    hard = asked.difficulty
    told["win_rate"] = win_rate(frame, score, text, baseline, difficulty=hard, item=item, replicates=replicates)
    if asked.system is not None:
        told["win_rates"] = win_rates(
            frame, score, text, baseline, asked.system, difficulty=hard, item=item, replicates=replicates
        )
    return told


def _by_position(frame: pl.LazyFrame, score: str, asked: _Asked) -> dict[str, Any]:
    """Position bias; empty without --swapped."""
    if asked.swapped is None:
        return {}
    return {"position": _position(frame, score, asked.swapped, asked.pair, asked.item, asked.replicates)}


def _by_family(frame: pl.LazyFrame, score: str, asked: _Asked) -> dict[str, Any]:
    """Self-preference; empty without --own."""
    from scorer.analysis.bias import self_preference

    if not asked.own or asked.system is None or asked.human is None:
        return {}
    found = self_preference(
        frame, score, asked.human, asked.system, asked.own, item=asked.item, replicates=asked.replicates
    )
    return {"self_preference": found}


def _position(
    frame: pl.LazyFrame, score: str, swapped: str, pair: Columns, item: str | None, bootstrap: int
) -> Position:
    """Position bias: each order a row, or both in one, as a pairwise run has them."""
    from scorer.analysis.bias import position, position_of_orders

    if pair:
        return position(frame, score, swapped, pair, replicates=bootstrap)
    schema = frame.collect_schema()
    if swapped in schema and not schema[swapped].is_float():
        raise SpecError([_TOGETHER])
    given = _GIVEN if swapped == _SWAPPED and score in _BOTH and _GIVEN in schema else score
    return position_of_orders(frame, given, swapped, item=item, replicates=bootstrap)


def _by_format(
    table: str, text: str, score: Columns, share: float, sets: tuple[str, ...], item: str | None, bootstrap: int
) -> Mapping[str, FormatBias]:
    """The drift of each score, and of each metric that the run computes, over a sample that is scored first."""
    from scorer.analysis.format_bias import drift
    from scorer.analysis.open_table import out_folder
    from scorer.api import on_loop
    from scorer.cli.signals import run_interruptibly
    from scorer.cli.terminal import TerminalView
    from scorer.files.router import AnyFiles
    from scorer.job.format_probe import prepare, stored_scores
    from scorer.output.scan import scan_scores

    files, out = AnyFiles(), out_folder(table) or table
    asked = prepare(files, out, text, share=share, sets=sets)
    with TerminalView() as screen:
        on_loop(run_interruptibly(asked.plan, screen, None))
    scored = scan_scores(asked.plan.spec.output.path, join_input=True, files=files)
    metrics = [name for name in scored.collect_schema().names() if name.startswith(_METRIC)]
    return {
        name: drift(scored, name, stored=stored_scores(files, out, asked.places, name), item=item, replicates=bootstrap)
        for name in dict.fromkeys([*score, *metrics])
    }
