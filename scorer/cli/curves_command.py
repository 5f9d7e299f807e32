"""`scorer curves`: what training teaches, by step and mix: gains, where they end, examples saved, and skills lost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from scorer.cli.answers import answer
from scorer.cli.options import Json
from scorer.cli.table_options import SCORE, Item, Resamples, Scores, Table, Task, opened

if TYPE_CHECKING:
    from scorer.analysis.learning_curves_result import LearningCurves


def curves(
    *tables: Table,
    score: Scores = SCORE,
    step: Annotated[str, Parameter(help="The column of training steps or examples trained on: numbers.")],
    mix: Annotated[str | None, Parameter(help="The column that names the training mix: a curve for each.")] = None,
    item: Item = None,
    task: Task = None,
    well_formed: Annotated[
        str | None, Parameter(help="The column that says whether an answer has the right format.")
    ] = None,
    seed: Annotated[str | None, Parameter(help="The column of the training's seed.")] = None,
    margin: Annotated[
        float | None, Parameter(help="A gain that is too small to train for; by default 5 % of the scale.")
    ] = None,
    level: Annotated[
        tuple[float, ...], Parameter(help="A score at which curves are compared; may be repeated.", negative="")
    ] = (),
    bootstrap: Resamples = 1000,
    json: Json = False,
) -> int:
    """Show what training teaches: each step against the first, where it flattens, examples saved, skills lost.

    Example: scorer curves out --score score --step step --mix mix --item item --task task
    """
    from scorer.analysis.bootstrap import Bootstrap
    from scorer.analysis.learning_curves import CurveColumns, learning_curves

    table = opened(tables, score)
    by = CurveColumns(step, mix, item, task, well_formed, seed)
    found = {
        name: learning_curves(
            table.frame,
            name,
            by,
            margin=margin,
            levels=level,
            scale=table.scale_of(name),
            bootstrap=Bootstrap(bootstrap),
        )
        for name in table.scores
    }
    value = {"scores": {name: one.json() for name, one in found.items()}}
    return answer(
        json,
        value,
        lambda: "\n\n".join(_text(name, one) for name, one in found.items()),
        table.coverage(None, step, mix, item, task, well_formed, seed),
    )


def _text(name: str, found: LearningCurves) -> str:
    from scorer.cli.text_table import aligned, noted, paragraphs

    measures = found.levels["measure"].unique(maintain_order=True).to_list()
    by_task = found.changes["task"].null_count() < found.changes.height
    return paragraphs(
        *(f"{_title(measure, name)}\n{aligned(list(_rows(found, measure)))}" for measure in measures),
        noted(list(_sentences(found))),
        f"{name}, last step less first by task\n{aligned(list(_changes(found)))}" if by_task else "",
        noted([sentence for sentence in _lost(found) if by_task]),
        noted(found.notes),
    )


def _title(measure: str, name: str) -> str:
    titles = {"well_formed": "Share in the right format", "score_well_formed": f"{name} of those in the right format"}
    return titles.get(measure, name)


def _rows(found: LearningCurves, measure: str) -> Iterator[dict[str, Any]]:
    """The curves over all tasks, each step with its gain over the first."""
    gains = {
        (row["mix"], row["step"]): row
        for row in found.gains.to_dicts()
        if row["measure"] == measure and row["task"] is None
    }
    many = found.levels["mix"].n_unique() > 1
    for row in found.levels.to_dicts():
        if row["measure"] != measure or row["task"] is not None:
            continue
        gain = gains.get((row["mix"], row["step"]))
        yield {
            **({"mix": row["mix"]} if many else {}),
            "step": f"{row['step']:,g}",
            "mean": (row["value"], _interval(row)),
            "less the first": None if gain is None else (gain["value"], _interval(gain)),
            "better": None if gain is None or gain["better"] is None else "yes" if gain["better"] else "no",
            "rows": row["rows"],
            "no verdict": row["unread"],
        }


def _interval(row: dict[str, Any]) -> tuple[float, float] | None:
    return None if row["low"] is None else (row["low"], row["high"])


def _sentences(found: LearningCurves) -> Iterator[str]:
    many = len(found.flat) > 1
    for mix, step in found.flat.items():
        whose = f"{mix}: " if many else ""
        if step is None:
            yield f"{whose}no step is known to be flat: a later one may gain {found.margin:.3g} or more."
        else:
            yield f"{whose}flat from step {step:,g} on: no later step gains {found.margin:.3g} (95 %)."
    for one in found.saved:
        if one.at_least:
            yield (
                f"At {one.level:.3f}, {one.mix} saves at least {one.examples:,.0f} steps: {one.than} does not reach it."
            )
            continue
        first, second = (one.mix, one.than) if one.examples >= 0 else (one.than, one.mix)
        low, high = (
            (one.low, one.high)
            if one.examples >= 0
            else (None if one.high is None else -one.high, None if one.low is None else -one.low)
        )
        ends = f"[{'less' if low is None else f'{low:,.0f}'}, {'more' if high is None else f'{high:,.0f}'}]"
        yield f"At {one.level:.3f}, {first} needs {abs(one.examples):,.0f} {ends} steps fewer than {second}."


def _changes(found: LearningCurves) -> Iterator[dict[str, Any]]:
    for row in found.changes.to_dicts():
        formed = "in the right format" if row["measure"] == "score_well_formed" else "all answers"
        yield {
            "task": row["task"],
            **({"of": formed} if found.changes["measure"].n_unique() > 1 else {}),
            **({"mix": row["mix"]} if found.changes["mix"].n_unique() > 1 else {}),
            "at step": f"{row['step']:,g}",
            "change": (row["value"], _interval(row)),
            "lost": "yes" if row["lost"] else None,
        }


def _lost(found: LearningCurves) -> Iterator[str]:
    lost = dict.fromkeys(f"{row['task']} ({row['mix']})" for row in found.changes.to_dicts() if row["lost"])
    yield f"Surely lost by training: {', '.join(lost)}." if lost else "No task surely lost by training."
