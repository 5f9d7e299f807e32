"""The commands that rate systems: estimate, leaderboard, compare.

Light to import, as the command line is: each command loads what it needs. The answers are those of `scorer.analysis`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from scorer.cli.answers import answer
from scorer.cli.options import Json
from scorer.cli.table_options import (
    SCORE,
    Answers,
    Columns,
    Human,
    Item,
    Labels,
    On,
    Resamples,
    Scores,
    Systems,
    Table,
    Task,
    TaskWeights,
    opened,
)
from scorer.errors import SpecError

if TYPE_CHECKING:
    from scorer.analysis.run_coverage import RunCoverage


def estimate(
    *tables: Table,
    score: Scores = SCORE,
    human: Human,
    system: Systems = None,
    item: Item = None,
    labels: Labels = None,
    on: On = (),
    again: Annotated[
        str | None, Parameter(help="Labels of some rows given a second time, joined as --labels: how noisy labels are.")
    ] = None,
    json: Json = False,
) -> int:
    """Estimate the mean human value of all rows, from all scores and a random sample of human labels.

    Example: scorer estimate out --score score --human human --system model --labels labels.parquet --on id
    """
    from scorer.analysis.prediction_powered import estimate as run_analysis
    from scorer.analysis.retest import retest_of
    from scorer.cli.analysis_text import estimate_text
    from scorer.cli.text_table import noted

    table = opened(tables, score, labels=labels, on=on, human=[human], design=True)
    found = {name: run_analysis(table.frame, name, human, system=system, item=item) for name in table.scores}
    if again is None:
        return _by_score(json, found, estimate_text, table.coverage(system, human, item))
    noise = retest_of(table.frame, human, again, on)
    value = {"scores": {name: one.json() for name, one in found.items()}, "retest": noise.json()}
    texts = [*(estimate_text(name, one) for name, one in found.items()), noted(noise.notes())]
    return answer(json, value, lambda: "\n\n".join(texts), table.coverage(system, human, item))


def leaderboard(
    *tables: Table,
    score: Scores = SCORE,
    system: Annotated[str, Parameter(help="The column that names who answered.")],
    against: Annotated[
        str | None,
        Parameter(help="The column that names the other system, where the scores are preferences in [0, 1]."),
    ] = None,
    task: Task = None,
    item: Item = None,
    average: Annotated[
        Columns, Parameter(help="A column of numbers to average: cost, tokens, seconds.", negative="")
    ] = (),
    fact: Annotated[
        Columns, Parameter(help="A column that says one thing of a system: its licence, its host.", negative="")
    ] = (),
    labels: Annotated[
        str | None, Parameter(help="A table with the --fact columns, where they are not in TABLE; see --on.")
    ] = None,
    on: Annotated[Columns, Parameter(help="The columns that find a row's facts: the system's.", negative="")] = (),
    weights: TaskWeights = None,
    acceptable: Annotated[
        float | None, Parameter(help="The lowest acceptable score: also the share of rows that reach it.")
    ] = None,
    text: Answers = None,
    bootstrap: Resamples = 1000,
    json: Json = False,
) -> int:
    """Rank systems with rank intervals. With --against, by the Bradley-Terry model.

    Example: scorer leaderboard out --score score --system model --task task --average cost_microusd

    Example: scorer leaderboard out --score score --system model --fact licence --labels models.parquet --on model
    """
    from scorer.analysis.bootstrap import Bootstrap
    from scorer.analysis.bradley_terry import bradley_terry
    from scorer.analysis.leaderboard import Leaderboard, SystemColumns
    from scorer.analysis.leaderboard import leaderboard as run_analysis
    from scorer.analysis.task_weights import read_weights
    from scorer.cli.analysis_text import leaderboard_text

    if labels is not None and not fact:
        raise SpecError(["--labels is a table of facts here: say with --fact which of its columns to show."])
    table = opened(tables, score, labels=labels, on=on, human=fact)
    if against is None:
        found = {
            name: run_analysis(
                table.frame,
                name,
                system,
                task=task,
                item=item,
                beside=SystemColumns(average, fact),
                scale=table.scale_of(name),
                weights=None if weights is None else read_weights(weights),
                acceptable=acceptable,
                text=text,
                bootstrap=Bootstrap(bootstrap),
            )
            for name in table.scores
        }
    elif task is not None or average or fact or weights is not None or acceptable is not None or text is not None:
        raise SpecError(
            ["--against ranks by pairs alone: leave out --task, --average, --fact, --weights, --acceptable and --text."]
        )
    else:
        found = {
            name: Leaderboard(
                bradley_terry(table.frame, system, against, name, item=item, bootstrap=Bootstrap(bootstrap)), None
            )
            for name in table.scores
        }
    return _by_score(json, found, leaderboard_text, table.coverage(system, against, task, item, average, fact, text))


def compare(
    *tables: Table,
    score: Scores = SCORE,
    variant: Annotated[str, Parameter(help="The column that names the variants; of numbers, a learning curve.")],
    item: Item = None,
    task: Task = None,
    well_formed: Annotated[
        str | None, Parameter(help="The column that says whether an answer has the right format.")
    ] = None,
    bootstrap: Resamples = 1000,
    json: Json = False,
) -> int:
    """Compare variants, or the steps of a learning curve, paired over items; format apart from quality.

    Example: scorer compare out --score score --variant mix --item item --task task
    """
    from scorer.analysis.bootstrap import Bootstrap
    from scorer.analysis.compare import compare as run_analysis
    from scorer.cli.analysis_text import compared_text

    table = opened(tables, score)
    found = {
        name: run_analysis(
            table.frame,
            name,
            variant,
            item=item,
            task=task,
            well_formed=well_formed,
            scale=table.scale_of(name),
            bootstrap=Bootstrap(bootstrap),
        )
        for name in table.scores
    }
    return _by_score(json, found, compared_text, table.coverage(variant, item, task, well_formed))


def _by_score(
    json: bool, found: Mapping[str, Any], text: Callable[[str, Any], str], coverage: RunCoverage | None = None
) -> int:
    value = {"scores": {name: one.json() for name, one in found.items()}}
    return answer(json, value, lambda: "\n\n".join(text(name, one) for name, one in found.items()), coverage)
