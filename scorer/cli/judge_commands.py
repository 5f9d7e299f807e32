"""The commands that check a judge: agree, scale.

Light to import, as the command line is: each command loads what it needs. The answers are those of `scorer.analysis`.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from scorer.cli.answers import answer
from scorer.cli.options import Json
from scorer.cli.table_options import (
    SCORE,
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
    opened,
)
from scorer.errors import SpecError


def agree(
    *tables: Table,
    score: Scores = SCORE,
    human: Annotated[
        Columns,
        Parameter(
            help="A column of human values; of several, their mean. Without it, judges are compared with each other.",
            negative="",
        ),
    ] = (),
    item: Item = None,
    system: Systems = None,
    task: Task = None,
    labels: Labels = None,
    on: On = (),
    bootstrap: Resamples = 1000,
    permutations: Annotated[int, Parameter(help="Permutations to test which of two scores agrees better.")] = 0,
    json: Json = False,
) -> int:
    """Measure the agreement of scores with human values, or of judges with each other.

    Over all rows, within items, over systems, and by task.

    Example: scorer agree out --score score --human human --item item

    Example: scorer agree gpt=out-gpt haiku=out-haiku --score score
    """
    from scorer.analysis.agree import agree as agree_with
    from scorer.analysis.bootstrap import Bootstrap
    from scorer.analysis.inter_judge import inter_judge
    from scorer.cli.agreement_text import agreement_text, inter_judge_text

    table = opened(tables, score, labels=labels, on=on, human=human)
    settings = Bootstrap(bootstrap)
    coverage = table.coverage(system, human, item, task)
    if not human:
        if permutations:
            raise SpecError(["--permutations tests which score agrees better with --human: give its column."])
        if len(table.scores) < 2:
            raise SpecError(["--human is missing. Without it, give two --score columns or more, or several folders."])
        between = inter_judge(table.frame, table.scores, item=item, system=system, task=task, bootstrap=settings)
        return answer(json, between.json(), lambda: inter_judge_text(between), coverage)
    found = agree_with(
        table.frame,
        table.scores,
        human,
        item=item,
        system=system,
        task=task,
        bootstrap=settings,
        permutations=permutations,
    )
    return answer(json, found.json(), lambda: agreement_text(found), coverage)


def scale(
    *tables: Table,
    score: Scores = SCORE,
    human: Human,
    task: Annotated[str, Parameter(help="The column that names the task.")],
    system: Systems = None,
    calibrate: Annotated[
        Literal["shift", "linear", "isotonic"] | None,
        Parameter(help="Also learn a map to the human scale for each task, and say what it gains on unseen items."),
    ] = None,
    item: Item = None,
    output: Annotated[
        str | None,
        Parameter(("--output", "-o"), help="Write TABLE with the calibrated columns: .parquet, .csv or .jsonl."),
    ] = None,
    labels: Labels = None,
    on: On = (),
    json: Json = False,
) -> int:
    """Measure whether a judge uses one scale across tasks; calibrate it with --calibrate.

    Example: scorer scale out --score score --human human --task task --calibrate linear -o calibrated.parquet
    """
    from scorer.analysis.calibration import calibrate as learn
    from scorer.analysis.scale_across_tasks import scale as run_analysis
    from scorer.cli.analysis_text import scale_text
    from scorer.files.router import AnyFiles
    from scorer.files.table_file import check_table_file, table_writer

    if output is not None:
        if calibrate is None:
            raise SpecError(["-o names the calibrated table: say how with --calibrate shift, linear or isotonic."])
        check_table_file(output)
        if Path(output).resolve() in {Path(stat.path).resolve() for stat in AnyFiles().find(list(tables))}:
            raise SpecError([f"-o {output} is the table itself, which is never written to: name another file."])
    table = opened(tables, score, labels=labels, on=on, human=[human])
    frame = table.frame
    found = {name: run_analysis(frame, name, human, task, system=system) for name in table.scores}
    gains = {}
    if calibrate is not None:
        for name in found:
            calibrated, gains[name] = learn(frame, name, human, task, method=calibrate, item=item)
            frame = calibrated.lazy()
    if output is not None:
        calibrated_table = frame.collect().to_arrow()
        check_table_file(output, calibrated_table.schema)
        with AnyFiles().create(output) as file, table_writer(file, output, calibrated_table.schema) as write:
            write(calibrated_table)
    value = {
        name: {**one.json(), "calibration": asdict(gains[name]) if name in gains else None}
        for name, one in found.items()
    }
    return answer(
        json,
        {"scores": value},
        lambda: "\n\n".join(scale_text(name, one, gains.get(name)) for name, one in found.items()),
        table.coverage(system, human, task, item),
    )
