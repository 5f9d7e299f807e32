"""The commands that decide: choose and gate. Light to import: each command loads what it needs."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from scorer.cli.answers import answer
from scorer.cli.options import Json
from scorer.cli.table_options import Answers, Columns, Item, Labels, On, Resamples, Table, Task, TaskWeights, opened
from scorer.errors import SpecError

Margin = Annotated[
    float, Parameter("--margin", help="How much worse is still as good, in points of the score.", show_default=True)
]
System = Annotated[str, Parameter(help="The column that names who answered.")]


def choose(
    *tables: Table,
    score: Annotated[str | None, Parameter(help="The column of scores.")] = None,
    system: Annotated[str | None, Parameter(help="The column that names who answered.")] = None,
    task: Task = None,
    item: Item = None,
    weights: TaskWeights = None,
    cost: Annotated[
        Columns,
        Parameter(
            help="A column of numbers of which less is preferred (price, latency, size), or of booleans, of which true "
            "is. May be repeated: the first counts first.",
            negative="",
        ),
    ] = (),
    facts: Annotated[
        str | None, Parameter(help="A table of systems with the --cost columns that TABLE lacks: CSV or Parquet.")
    ] = None,
    margin: Margin = 0.0,
    acceptable: Annotated[
        float | None, Parameter(help="The lowest acceptable value: also the share that reach it.")
    ] = None,
    human: Annotated[
        Columns,
        Parameter(help="A column of human values, null where a row has none; of several, their mean.", negative=""),
    ] = (),
    labels: Labels = None,
    on: On = (),
    text: Answers = None,
    judges: Annotated[
        Columns,
        Parameter(
            help="Score columns of judges, with commas between or repeated: chooses a judge by --human, not a system.",
            negative="",
        ),
    ] = (),
    epsilon: Annotated[
        float | None,
        Parameter(help="With --judges: how much worse than a person a judge may be in the alternative annotator test."),
    ] = None,
    bootstrap: Resamples = 1000,
    json: Json = False,
) -> int:
    """Choose a system: the cheapest that is surely not worse than the best by more than a margin.

    Says what would tip the choice: margins, weights of tasks, a judge that favours one side, labels to add.

    With --judges it chooses a judge by its agreement with people.

    Example: scorer choose out --score score --system model --item item --task task --cost price --margin 0.1

    Example: scorer choose gpt=out-gpt haiku=out-haiku --judges score --human human --item item --margin 0.05
    """
    from scorer.analysis.alternative_annotator import EPSILON
    from scorer.analysis.bootstrap import Bootstrap
    from scorer.analysis.choose import Wanted
    from scorer.analysis.choose import choose as decide
    from scorer.analysis.choose_judge import choose_judge
    from scorer.analysis.join_labels import join_labels, open_labels
    from scorer.analysis.task_weights import read_weights
    from scorer.cli.choose_judge_text import choose_judge_text
    from scorer.cli.choose_text import choose_text

    if judges:
        given = {
            "--score": score, "--system": system, "--weights": weights, "--facts": facts, "--acceptable": acceptable,
            "--text": text,
        }  # fmt: skip
        if wrong := [name for name, value in given.items() if value is not None]:
            raise SpecError([f"--judges chooses a judge: leave out {', '.join(wrong)}."])
        if len(cost) > 1:
            raise SpecError(["With --judges give one --cost: the column of each judge's run that says what it costs."])
        named = tuple(name.strip() for one in judges for name in one.split(",") if name.strip())
        of_judges = opened(tables, named, labels=labels, on=on, human=human, design=True)
        judge = choose_judge(
            of_judges.frame,
            of_judges.scores,
            human,
            item=item,
            task=task,
            cost=next(iter(cost), None),
            margin=margin,
            epsilon=EPSILON if epsilon is None else epsilon,
            bootstrap=Bootstrap(bootstrap),
        )
        coverage = of_judges.coverage(None, item, task, human)
        return answer(json, judge.json(), lambda: choose_judge_text(judge), coverage)
    if epsilon is not None:
        raise SpecError(["--epsilon is for --judges alone: leave it out."])

    missing = [name for name, given in (("--score", score), ("--system", system)) if given is None]
    if score is None or system is None:
        raise SpecError([f"{name} is missing: it names a column of the table." for name in missing])
    table = opened(tables, (score,), labels=labels, on=on, human=human, design=True)
    frame = table.frame
    if facts is not None:
        known = frame.collect_schema().names()
        wanted = [name for name in cost if name not in known]
        if not wanted:
            raise SpecError([f"--facts {facts} is a table of systems: name a column of it with --cost."])
        frame = join_labels(frame, open_labels(facts, frame, (system,)), (system,), wanted)
    if len(table.scores) > 1:
        raise SpecError(
            [f"A choice is by one judge: {score} is a column of each of {', '.join(table.scores)}. Give one of them."]
        )
    (name,) = table.scores
    coverage = table.coverage(system, item, task, cost, human, text)
    found = decide(
        frame,
        name,
        system,
        Wanted(margin, cost, acceptable, human, text),
        task=task,
        item=item,
        weights=None if weights is None else read_weights(weights),
        scale=table.scale_of(name),
        bootstrap=Bootstrap(bootstrap),
    ).over(coverage)
    return answer(json, found.json(), lambda: choose_text(found), coverage)


def gate(
    *tables: Table,
    score: Annotated[str, Parameter(help="The column of scores.", show_default=True)] = "score",
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
