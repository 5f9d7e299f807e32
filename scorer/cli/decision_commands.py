"""The commands that decide: gate. Light to import: each command loads what it needs."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from scorer.cli.options import Json, answer
from scorer.cli.table_options import Item, Resamples, Table, Task, TaskWeights, opened
from scorer.errors import SpecError

app = App()
Margin = Annotated[
    float, Parameter("--margin", help="How much worse is still as good, in points of the score.", show_default=True)
]
System = Annotated[str, Parameter(help="The column that names who answered.")]


@app.command
def gate(
    *tables: Table,
    score: Annotated[str, Parameter(help="The column of scores.")],
    system: System,
    new: Annotated[str, Parameter(help="The system that is to replace the old one.")],
    old: Annotated[str, Parameter(help="The system that it is compared with.")],
    margin: Margin = 0.0,
    item: Item = None,
    task: Task = None,
    weights: TaskWeights = None,
    bootstrap: Resamples = 1000,
    markdown: Annotated[bool, Parameter(help="One line of Markdown, for a pull request.", negative="")] = False,
    json: Json = False,
) -> int:
    """Decide in CI whether a new system is not worse than an old one by more than a margin.

    Exits 0 where it is not worse, 10 where it is, 11 where these rows do not decide it.

    Example: scorer gate out --score score --system model --new m2 --old m1 --item item --margin 0.1
    """
    from scorer.analysis.bootstrap import Bootstrap
    from scorer.analysis.gate import gate as decide
    from scorer.analysis.task_weights import read_weights
    from scorer.cli.gate_text import gate_markdown, gate_text

    if markdown and json:
        raise SpecError(["--markdown and --json both ask for stdout: give one of them."])
    table = opened(tables, (score,))
    if len(table.scores) > 1:
        raise SpecError(
            [f"A gate is about one judge: {score} is a column of each of {', '.join(table.scores)}. Give one of them."]
        )
    (name,) = table.scores
    coverage = table.coverage(system, item, task)
    found = decide(
        table.frame,
        name,
        system,
        new,
        old,
        margin=margin,
        task=task,
        item=item,
        weights=None if weights is None else read_weights(weights),
        scale=table.scale_of(name),
        bootstrap=Bootstrap(bootstrap),
    ).over(coverage)
    if markdown:
        answer(False, {}, lambda: gate_markdown(name, found))
    else:
        answer(json, found.json(), lambda: gate_text(name, found), coverage)
    return found.exit_code
