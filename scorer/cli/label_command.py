"""`scorer label`: which rows a person labels next, as a CSV file, and how many labels a precision takes."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from scorer.cli.answers import answer
from scorer.cli.options import Json
from scorer.cli.table_options import Columns, Labels, Systems, Table, Task, opened
from scorer.errors import SpecError

if TYPE_CHECKING:
    from scorer.analysis.label_plan import LabelPlan


def label(
    *tables: Table,
    output: Annotated[
        str | None,
        Parameter(("--output", "-o"), help="The CSV file to write; without it only the plan is shown."),
    ] = None,
    n: Annotated[int | None, Parameter(help="How many rows to label; 60 by default.")] = None,
    within: Annotated[
        float | None, Parameter(help="As many rows as give the mean of all rows +- this much (95 %), instead of --n.")
    ] = None,
    score: Annotated[str, Parameter(help="The column of scores.", show_default=True)] = "score",
    system: Systems = None,
    task: Task = None,
    show: Annotated[
        Columns,
        Parameter(help="A column that the person sees; by default those that the judge's prompt shows.", negative=""),
    ] = (),
    on: Annotated[Columns, Parameter(help="The columns that name a row; by default shard and row.", negative="")] = (),
    labels: Labels = None,
    human: Annotated[
        str, Parameter(help="The column of labels in --labels and --again.", show_default=True)
    ] = "human_label",
    again: Annotated[
        str | None, Parameter(help="A file of labels: draw rows of it to be labelled a second time.")
    ] = None,
    simple: Annotated[bool, Parameter(help="Draw from all rows alike, not within strata.", negative="")] = False,
    seed: Annotated[int, Parameter(help="Another seed draws other rows.", show_default=True)] = 0,
    json: Json = False,
) -> int:
    """Draw rows for a person to label: at random within systems, tasks and scores, without the judge's score.

    Example: scorer label out -o labels.csv --n 60 --system model --task task

    Example: scorer label out -o more.csv --within 0.1 --labels labels.csv --system model --task task

    Example: scorer label out -o again.csv --again labels.csv --n 30
    """
    from scorer.files.router import AnyFiles
    from scorer.report.label_file import HUMAN, draw_labels, label_columns, rows_again, write_label_file

    if again is not None and (labels is not None or within is not None or simple or output is None):
        raise SpecError(["--again repeats labels: give it with -o and --n, without --labels, --within and --simple."])
    keys = on or ("shard", "row")
    table = opened(tables, (score,), labels=labels, on=keys if labels is not None else (), human=[human])
    if len(table.scores) != 1:
        raise SpecError(
            [f"--score names {', '.join(table.scores)}: rows are drawn by one score. Give --score NAME.score."]
        )
    by = [option for name in on for option in ("--on", name)]
    of = [option for name, value in (("--system", system),) if value for option in (name, value)]
    asked = ["scorer", "estimate", *tables, "--score", table.scores[0], "--human", HUMAN, *of, *by]
    asked += ["--labels", again, "--again", output or ""] if again is not None else ["--labels", output or ""]
    then = shlex.join(asked)
    if again is not None and output is not None:
        columns = label_columns(table.frame, tables, on, show)
        rows, design = rows_again(table.frame, again, columns, human, 30 if n is None else n, seed)
        write_label_file(AnyFiles(), output, table.frame, columns, rows, design)
        written = {"labels": len(rows), "file": output}
        return answer(json, written, lambda: _again_text(output, len(rows), again, then))
    found = draw_labels(
        table.frame,
        tables,
        table.scores[0],
        output,
        show=show,
        on=on,
        human=None if labels is None else human,
        system=system,
        task=task,
        n=n,
        within=within,
        simple=simple,
        seed=seed,
    )
    value = {**found.json(), "file": output}
    return answer(json, value, lambda: _text(found, output, then), table.coverage(system, task))


def _scores(low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return "no verdict"
    return f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}"


def _text(found: LabelPlan, output: str | None, then: str) -> str:
    from scorer.cli.text_table import aligned, noted, paragraphs, wrapped
    from scorer.report.label_file import HUMAN

    rows = [
        {
            **({"systems": _names(one.systems)} if any(s.systems for s in found.strata) else {}),
            **({"tasks": _names(one.tasks)} if any(s.tasks for s in found.strata) else {}),
            "scores": _scores(one.low, one.high),
            "rows": len(one.rows),
            "to label": drawn,
        }
        for one, drawn in zip(found.strata, found.drawn, strict=True)
    ]
    precision: list[dict[str, Any]] = [
        {"labels": one.labels, "with the judge": f"+-{one.with_judge:.3f}", "labels only": f"+-{one.labels_only:.3f}"}
        for one in found.precision
    ]
    rests = (
        f"by {found.measured:,} labels so far"
        if found.measured
        else f"supposing that labels spread as the scores do ({found.spread:.3g}) and correlate with them by .7; "
        "10 labels or more say better (--labels)"
    )
    asked = ""
    if found.needed is not None:
        asked = f"{found.needed:,} labels give the mean of all rows +-{found.within:g}, {rests}."
    written = ""
    if output is not None:
        more = f" ({found.known:,} have their label already)" if found.known else ""
        written = (
            f"Wrote {output}: {len(found.rows):,} rows of {found.population:,} in a random order{more}. Fill in "
            f"{HUMAN} from the top, and leave the other columns as they are. Then: {then}"
        )
    return paragraphs(
        aligned(rows),
        wrapped(f"Half of the 95 % interval of the mean of all rows, {rests}:", indent=0) + f"\n{aligned(precision)}",
        wrapped(asked) if asked else "",
        noted(found.notes),
        wrapped(written) if written else "",
    )


def _names(names: Any) -> str:
    return ", ".join(names) if len(names) <= 3 else f"{', '.join(names[:2])} and {len(names) - 2} more"


def _again_text(output: str, rows: int, labels: str, then: str) -> str:
    from scorer.cli.text_table import wrapped
    from scorer.report.label_file import HUMAN

    return wrapped(
        f"Wrote {output}: {rows:,} rows of {labels} to label a second time. Fill in {HUMAN} without looking at the "
        f"first labels. Then: {then}"
    )
