"""`scorer cascade`: which rows a cheap judge may keep, so that they agree with people, and what labels that takes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from scorer.cli.answers import answer
from scorer.cli.options import Json
from scorer.cli.table_options import SCORE, Columns, Item, Labels, On, Table, listed, opened
from scorer.errors import SpecError

if TYPE_CHECKING:
    from scorer.analysis.cascade_result import Cascade, Promise


def cascade(
    *tables: Table,
    score: Annotated[
        Columns,
        Parameter(
            "--score", help="The score of a cheap judge; of several, each is tested.", negative="", show_default=listed
        ),
    ] = SCORE,
    human: Annotated[
        Columns, Parameter(help="A column of human values; several are several people.", negative="")
    ] = (),
    confidence: Annotated[
        Columns,
        Parameter(
            help="The column that says how sure the judge is, one for each --score; by default a preference's distance "
            "from .5, else how close a row's samples are.",
            negative="",
        ),
    ] = (),
    strong: Annotated[str | None, Parameter(help="The score of the judge that other rows are passed to.")] = None,
    agreement: Annotated[
        float, Parameter(help="The agreement with people that kept rows are to have.", show_default=True)
    ] = 0.9,
    delta: Annotated[
        float, Parameter(help="How often, over the labels, the promise may fail.", show_default=True)
    ] = 0.05,
    within: Annotated[
        float,
        Parameter(
            help="Ratings agree where they differ by this much at most; preferences on one side.", show_default=True
        ),
    ] = 0.5,
    population: Annotated[
        Literal["future", "these"],
        Parameter(
            help="The rows that the promise is about: rows like the labelled ones, or these, the table's without a "
            "label.",
            show_default=True,
        ),
    ] = "future",
    item: Item = None,
    labels: Labels = None,
    on: On = (),
    json: Json = False,
) -> int:
    """Learn from human labels which verdicts of a cheap judge may be kept, with a guarantee, or refuse.

    Without TABLE: how many labels an agreement takes.

    Example: scorer cascade --agreement 0.9

    Example: scorer cascade cheap=out-cheap strong=out-strong --score cheap.score --strong strong.score --human human
    """
    from scorer.analysis.cascade_result import Promise
    from scorer.analysis.cascade_table import cascade as run_analysis
    from scorer.report.confidence import confidences

    promise = Promise(agreement, delta, within, population)
    if not tables:
        if problems := promise.problems():
            raise SpecError(problems)
        return answer(json, _support(promise), lambda: _support_text(promise))
    if not human:
        raise SpecError(["--human is missing: a threshold is learned on labels. Without TABLE: how many it takes."])
    table = opened(tables, score, labels=labels, on=on, human=human, design=True)
    found = run_analysis(
        table.frame,
        table.scores,
        human,
        confidence=confidences(table.frame, tables, table.scores, confidence),
        strong=strong,
        costs=_costs(table.frame.collect_schema().names(), [*table.scores, *([strong] if strong else [])]),
        item=item,
        promise=promise,
    )
    return answer(json, found.json(), lambda: _text(found), table.coverage(None, human, item, confidence, strong))


def _costs(known: list[str], scores: list[str]) -> dict[str, str]:
    """The cost column beside each score, where there is one."""
    named = {score: f"{score.rpartition('.')[0]}.cost_microusd".lstrip(".") for score in scores}
    return {score: column for score, column in named.items() if column in known}


def _support(promise: Promise) -> dict[str, Any]:
    from scorer.analysis.cascade_tests import errors_allowed, labels_needed

    at = sorted({0.8, 0.9, 0.95, promise.agreement})
    return {
        "delta": promise.delta,
        "needed": {f"{a:g}": {str(e): labels_needed(1 - a, promise.delta, e) for e in (0, 1, 2, 5, 10)} for a in at},
        "allowed": {
            f"{a:g}": {str(n): errors_allowed(n, 1 - a, promise.delta) for n in (30, 60, 120, 250, 500)} for a in at
        },
    }


def _support_text(promise: Promise) -> str:
    from scorer.cli.text_table import aligned, noted, paragraphs, wrapped

    support = _support(promise)
    needed = [{"agreement": a, **{f"{e} wrong": n for e, n in row.items()}} for a, row in support["needed"].items()]
    allowed = [{"agreement": a, **{f"{n} labels": e for n, e in row.items()}} for a, row in support["allowed"].items()]
    title = (
        f"Labels among the kept rows that an agreement takes, by how many of them are wrong (delta {promise.delta:g})"
    )
    return paragraphs(
        f"{wrapped(title, indent=0)}\n{aligned(needed)}",
        f"How many of so many kept labels may be wrong\n{aligned(allowed)}",
        noted(["Only rows that the cheap judge keeps count: to keep half of all rows takes twice as many labels."]),
    )


def _text(found: Cascade) -> str:
    from scorer.cli.text_table import aligned, noted, paragraphs

    return paragraphs(
        f"{found.labels:,} labels, {found.rows:,} rows",
        aligned(list(_rows(found))),
        noted(list(_sentences(found))),
        noted(found.notes),
    )


def _rows(found: Cascade) -> Iterator[dict[str, Any]]:
    for name, judge in found.judges.items():
        taken = judge.calibrated.taken
        yield {
            "judge": name,
            "threshold": judge.calibrated.threshold,
            "keeps": f"{judge.calibrated.share:.1%}",
            "labels kept": taken.kept if taken else None,
            "wrong": taken.errors if taken else None,
            "p": taken.p if taken else None,
            "agreement on all": judge.on_all,
        }


def _sentences(found: Cascade) -> Iterator[str]:
    for name, judge in found.judges.items():
        if judge.why_refused is not None:
            yield f"{name} is refused: {judge.why_refused}"
    if found.chosen is None:
        yield "No judge may keep rows: ask the strong judge for all of them, or label more."
    else:
        yield f"Keep {found.chosen} where its confidence is {found.threshold:.4g} or more, and pass on the other rows."
    if found.ceiling is not None:
        yield f"People agree with each other in {found.ceiling:.1%}."
    if (strong := found.strong) is not None:
        sentence = f"{strong.name} agrees with people in {strong.on_all:.1%} of the labelled rows"
        if strong.on_rest is not None:
            share, (low, high) = strong.on_rest
            sentence += f", and in {share:.1%} [{low:.1%}, {high:.1%}] of those passed on"
        if strong.whole is not None:
            sentence += f"; the cascade in {strong.whole:.1%}"
        yield (
            sentence
            + "."
            + ("" if strong.cost is None else f" It costs {strong.cost:.0%} of {strong.name} for all rows.")
        )
