"""The command `scorer show`: rows to read. Light to import, as the command line is."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from scorer.cli.options import Json
from scorer.errors import SpecError

if TYPE_CHECKING:
    from scorer.report.show import Asked, Shown

_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
_FOLDED, _FOLDED_PROMPT = 2000, 700
"""Characters of a text, and of a prompt, that are shown without --full."""

Outs = Annotated[
    str,
    Parameter(
        help="The output folder of a run, or its run file. Several folders over the same input show each judge's "
        "verdict; NAME=OUT names one."
    ),
]


def _whole_numbers(_: Any, tokens: Sequence[Any]) -> tuple[int | str, ...]:
    """What follows an option with a number: the number, and any OUT behind it."""
    return tuple(int(token.value) if _INTEGER.fullmatch(token.value) else token.value for token in tokens)


Number = Annotated[
    tuple[int | str, ...] | None,
    Parameter(
        consume_multiple=True,
        negative="",
        allow_repeating=False,
        converter=_whole_numbers,
        n_tokens=-1,
        metavar="[N]",
    ),
]
Flag = Annotated[bool, Parameter(negative="")]


def show(
    *outs: Outs,
    worst: Annotated[Number, Parameter(help="The rows with the lowest scores: N, or as -n says.")] = None,
    best: Annotated[Number, Parameter(help="The rows with the highest scores: N, or as -n says.")] = None,
    random: Annotated[Number, Parameter(help="Random rows: N, or as -n says; the same for the same --seed.")] = None,
    row: Annotated[
        tuple[str, ...],
        Parameter(help="A row by its id, or by SHARD:ROW as rows are shown; may be repeated.", negative=""),
    ] = (),
    failed: Annotated[Flag, Parameter(help="Rows that failed, of each error in turn.")] = False,
    unread: Annotated[Flag, Parameter(help="Rows whose reply held no verdict.")] = False,
    disagree: Annotated[
        str | None,
        Parameter(
            help="Rows where the score is farthest above, and farthest below, this column of human values: on the "
            "judge's scale where people used it from end to end, else in ranks."
        ),
    ] = None,
    flips: Annotated[Flag, Parameter(help="Pairs whose verdict changes with the order of the two.")] = False,
    spread: Annotated[Flag, Parameter(help="Rows whose samples, or whose panel, differ most.")] = False,
    judges: Annotated[Flag, Parameter(help="Rows on which the judges of several folders differ most.")] = False,
    where: Annotated[
        str | None,
        Parameter(help="Only rows for which this SQL condition over columns of results and input is true."),
    ] = None,
    n: Annotated[
        int, Parameter(("-n", "--n"), help="How many rows of each kind that has no number.", show_default=True)
    ] = 5,
    seed: Annotated[int, Parameter(help="Another number draws other random rows.", show_default=True)] = 0,
    score: Annotated[str, Parameter(help="The column of scores.", show_default=True)] = "score",
    human: Annotated[str | None, Parameter(help="The column of human values to show.")] = None,
    item: Annotated[str | None, Parameter(help="The column that names the item.")] = None,
    system: Annotated[str | None, Parameter(help="The column that names the system.")] = None,
    task: Annotated[str | None, Parameter(help="The column that names the task.")] = None,
    response: Annotated[str | None, Parameter(help="The column of the text that was judged.")] = None,
    reference: Annotated[str | None, Parameter(help="The column of the reference answer.")] = None,
    full: Annotated[Flag, Parameter(help="Whole texts and all prompts; long ones are folded without it.")] = False,
    json: Json = False,
) -> int:
    """Show rows to read: prompt, generation, verdict, reason, human value, tokens and cost.

    Without options the row with the worst score, the one with the best, and three random ones. Options combine. On a
    terminal less pages the text: n and N go to the next and the previous row, q ends it.

    Example: scorer show out --worst 3 --where "task = 'summary'"

    Example: scorer show out --disagree human -n 10

    Example: scorer show gpt=out-gpt haiku=out-haiku --judges
    """
    from scorer.report.columns import GivenColumns
    from scorer.report.show import Asked

    tables: list[str] = []
    problems: list[str] = []
    numbers = {"worst": worst, "best": best, "random": random}
    picks = {kind: _number(kind, given, n, tables, problems) for kind, given in numbers.items() if given is not None}
    flags = {"failed": failed, "unread": unread, "flips": flips, "spread": spread, "judges": judges}
    picks |= {kind: n for kind, asked in flags.items() if asked}
    if disagree is not None:
        picks |= {"too_high": n, "too_low": n}
    if human not in (None, disagree) and disagree is not None:
        problems.append(
            f"--human {human} and --disagree {disagree} name two columns of human values: give one of them."
        )
    problems += _numbers_for_folders(outs, [f"--{kind}" for kind, asked in {**flags, "full": full}.items() if asked])
    called = "--human" if disagree is None else "--disagree"
    columns = GivenColumns(score, disagree or human, item, system, task, response, reference, called, "-n")
    asked_for = Asked(picks, row, where, n, seed, columns)
    tables = [*outs, *tables]
    if not tables:
        problems.append("OUT is missing: give the output folder of a run, or its run file.")
    if problems:
        raise SpecError(problems)
    return _answer_json(tables, asked_for) if json else _answer_text(tables, asked_for, full=full)


def _number(kind: str, given: Sequence[int | str], n: int, tables: list[str], problems: list[str]) -> int:
    """The number behind an option, `n` where there is none. What follows it is an OUT, and goes to `tables`.

    Adds a sentence to `problems` for a word that is neither.
    """
    number, outs = (given[0], given[1:]) if given and isinstance(given[0], int) else (n, given)
    for word in map(str, outs):
        if _may_be_table(word):
            tables.append(word)
        else:
            problems.append(
                f"--{kind} {word}: {word} is no number of rows, and no output folder. --{kind} takes a number of rows, "
                "or none; --score takes the column of scores, and --disagree the column of human values."
            )
    return int(number)


def _numbers_for_folders(outs: Sequence[str], flags: Sequence[str]) -> list[str]:
    """A sentence for each number that stands behind a flag, which takes none."""
    return [
        f"{out} is no output folder. {' and '.join(flags)} {'takes' if len(flags) == 1 else 'take'} no number: "
        f"-n {out} is the number of rows."
        for out in outs
        if flags and _INTEGER.fullmatch(out) and not _may_be_table(out)
    ]


def _may_be_table(word: str) -> bool:
    """Whether a word can be an OUT: a path that is there, an address, a pattern or NAME=OUT."""
    return any(mark in word for mark in ("://", "=", "*", "/")) or os.path.exists(os.path.expanduser(word))


def _answer_text(tables: Sequence[str], asked: Asked, *, full: bool) -> int:
    from scorer.analysis.run_coverage import run_coverage
    from scorer.cli.pager import page
    from scorer.cli.show_text import MARKS, show_text
    from scorer.cli.styles import styles_of_stdout
    from scorer.cli.text_table import width
    from scorer.report.folding import fold_characters, whole
    from scorer.report.show import show as show_rows

    folds = (whole, whole) if full else (fold_characters(_FOLDED), fold_characters(_FOLDED_PROMPT))
    shown = show_rows(tables, asked, fold=folds[0], fold_prompt=folds[1])
    coverage = run_coverage(tables, None, _to_tell(shown, asked))
    above = coverage.text() if coverage is not None else ""
    page(show_text(shown, above, width(), styles_of_stdout(), full=full) + "\n", marks=MARKS)
    return 0


def _answer_json(tables: Sequence[str], asked: Asked) -> int:
    from scorer.analysis.run_coverage import run_coverage
    from scorer.cli.answers import answer
    from scorer.report.show import show as show_rows
    from scorer.report.show_values import show_json

    shown = show_rows(tables, asked, verbatim=True)
    return answer(True, show_json(shown), str, run_coverage(tables, None, _to_tell(shown, asked)))


def _to_tell(shown: Shown, asked: Asked) -> list[str]:
    """The columns whose namesakes in the input are warned of: not the score where no option names it."""
    columns = shown.table.columns
    return [name for name in columns.named if name not in columns.scores or asked.columns.score != "score"]
