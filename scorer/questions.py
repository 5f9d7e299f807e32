"""The questions that the command line asks of finished tables.

Light to import, as the command line is: each command loads what it needs. The answers are those of `scorer.analysis`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from scorer.arguments import (
    Bootstrap,
    Columns,
    Human,
    Item,
    Json,
    Labels,
    On,
    Scores,
    Systems,
    Table,
    Task,
    answer,
)
from scorer.errors import SpecError

if TYPE_CHECKING:
    import polars as pl

app = App()


@app.command
def agree(
    table: Table,
    /,
    *,
    score: Scores,
    human: Annotated[Columns, Parameter(help="A column of human values; of several, their mean.", negative="")],
    item: Item = None,
    system: Systems = None,
    task: Task = None,
    labels: Labels = None,
    on: On = (),
    bootstrap: Bootstrap = 1000,
    permutations: Annotated[int, Parameter(help="Permutations to test which of two scores agrees better.")] = 0,
    json: Json = False,
) -> int:
    """Say how far scores agree with people: over all rows, within items, over systems, by task.

    Example: scorer agree out --score score --human human --item item
    """
    from scorer.analysis.agree import agree as ask
    from scorer.answers import agreement_text

    found = ask(
        _open(table, labels, on, human),
        score,
        human,
        item=item,
        system=system,
        task=task,
        replicates=bootstrap,
        permutations=permutations,
    )
    return answer(json, found.json(), lambda: agreement_text(found))


@app.command
def scale(
    table: Table,
    /,
    *,
    score: Scores,
    human: Human,
    task: Annotated[str, Parameter(help="The column that names the task.")],
    system: Systems = None,
    calibrate: Annotated[
        Literal["shift", "linear", "isotonic"] | None,
        Parameter(help="Also learn a map to the human scale for each task, and say what it gains on unseen items."),
    ] = None,
    item: Item = None,
    output: Annotated[
        str | None, Parameter(("--output", "-o"), help="Where to write TABLE with the calibrated columns.")
    ] = None,
    labels: Labels = None,
    on: On = (),
    json: Json = False,
) -> int:
    """Say whether a judge keeps one scale across tasks, and put it right where it does not.

    Example: scorer scale out --score score --human human --task task --calibrate linear -o calibrated.parquet
    """
    from scorer.analysis.scale import calibrate as learn
    from scorer.analysis.scale import scale as ask
    from scorer.answers import scale_text
    from scorer.files import LocalFiles

    if output is not None and calibrate is None:
        raise SpecError(["-o is where the calibrated table goes: say how with --calibrate shift, linear or isotonic."])
    frame = _open(table, labels, on, [human])
    found = {name: ask(frame, name, human, task, system=system) for name in score}
    gains = {}
    if calibrate is not None:
        for name in found:
            calibrated, gains[name] = learn(frame, name, human, task, method=calibrate, item=item)
            frame = calibrated.lazy()
    if output is not None:
        with LocalFiles().create(output) as file:
            frame.collect().write_parquet(file)
    told = {
        name: {**one.json(), "calibration": asdict(gains[name]) if name in gains else None}
        for name, one in found.items()
    }
    return answer(
        json,
        {"scores": told},
        lambda: "\n\n".join(scale_text(name, one, gains.get(name)) for name, one in found.items()),
    )


@app.command
def bias(
    table: Table,
    /,
    *,
    score: Scores,
    text: Annotated[
        str | None, Parameter(help="The column of the text that was judged: the liking for length.")
    ] = None,
    baseline: Annotated[str | None, Parameter(help="The column of the text that it was compared with.")] = None,
    swapped: Annotated[str | None, Parameter(help="The column that says a pair stood in the other order.")] = None,
    pair: Annotated[Columns, Parameter(help="The columns that name a pair; with --swapped.", negative="")] = (),
    own: Annotated[Columns, Parameter(help="A system of the judge's own kind; may be repeated.", negative="")] = (),
    system: Systems = None,
    human: Annotated[str | None, Parameter(help="The column of human values.")] = None,
    item: Item = None,
    labels: Labels = None,
    on: On = (),
    bootstrap: Bootstrap = 1000,
    json: Json = False,
) -> int:
    """Say what a judge likes beside quality: length (--text), the first place (--swapped), its own kind (--own).

    Of preferences in [0, 1], --text and --baseline also give the win rate with length controlled.

    Example: scorer bias out --score score --text response --human human
    """
    from scorer.analysis import bias as ask
    from scorer.answers import bias_text

    problems = []
    if baseline is not None and text is None:
        problems.append("--baseline needs --text: the column of the text that was compared with it.")
    if (swapped is None) == bool(pair):
        problems.append("--swapped and --pair belong together: which rows show which pair in the other order.")
    if own and (system is None or human is None):
        problems.append("--own needs --system and --human: who answered, and what people thought of it.")
    if text is None and swapped is None and not own and not problems:
        problems.append("Nothing is asked: give --text, or --swapped and --pair, or --own with --system and --human.")
    if problems:
        raise SpecError(problems)
    frame = _open(table, labels, on, [human] if human else [])
    found: dict[str, dict[str, Any]] = {name: {} for name in score}
    for name, told in found.items():
        if text is not None:
            told["length"] = ask.length(frame, name, text, human=human, item=item, replicates=bootstrap)
        if text is not None and baseline is not None:
            told["win_rate"] = ask.win_rate(frame, name, text, baseline, item=item, replicates=bootstrap)
        if swapped is not None:
            told["position"] = ask.position(frame, name, swapped, pair, replicates=bootstrap)
        if own and system is not None and human is not None:
            told["self_preference"] = ask.self_preference(
                frame, name, human, system, own, item=item, replicates=bootstrap
            )
    value = {name: {kind: one.json() for kind, one in told.items()} for name, told in found.items()}
    return answer(json, {"scores": value}, lambda: "\n".join(bias_text(name, told) for name, told in found.items()))


@app.command
def estimate(
    table: Table,
    /,
    *,
    score: Scores,
    human: Human,
    system: Systems = None,
    item: Item = None,
    labels: Labels = None,
    on: On = (),
    json: Json = False,
) -> int:
    """Say what people would think of all rows, from all scores and a few human values drawn at random.

    Example: scorer estimate out --score score --human human --system model --labels labels.parquet --on id
    """
    from scorer.analysis.estimate import estimate as ask
    from scorer.answers import estimate_text

    frame = _open(table, labels, on, [human])
    found = {name: ask(frame, name, human, system=system, item=item) for name in score}
    return _by_score(json, found, estimate_text)


@app.command
def leaderboard(
    table: Table,
    /,
    *,
    score: Scores,
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
    bootstrap: Bootstrap = 1000,
    json: Json = False,
) -> int:
    """Rank systems; those that cannot be told apart share a rank. With --against, by the Bradley-Terry model.

    Example: scorer leaderboard out --score score --system model --task task --average cost_microusd
    """
    from scorer.analysis.leaderboard import Leaderboard, bradley_terry
    from scorer.analysis.leaderboard import leaderboard as ask
    from scorer.answers import leaderboard_text

    frame = _open(table, None, (), ())
    if against is None:
        found = {
            name: ask(frame, name, system, task=task, item=item, averages=average, facts=fact, replicates=bootstrap)
            for name in score
        }
    elif task is not None or average or fact:
        raise SpecError(["--against ranks by pairs alone: leave out --task, --average and --fact."])
    else:
        found = {
            name: Leaderboard(bradley_terry(frame, system, against, name, item=item, replicates=bootstrap), None)
            for name in score
        }
    return _by_score(json, found, leaderboard_text)


@app.command
def compare(
    table: Table,
    /,
    *,
    score: Scores,
    variant: Annotated[str, Parameter(help="The column that names the variants; of numbers, a learning curve.")],
    item: Item = None,
    task: Task = None,
    well_formed: Annotated[
        str | None, Parameter(help="The column that says whether an answer has the right format.")
    ] = None,
    bootstrap: Bootstrap = 1000,
    json: Json = False,
) -> int:
    """Compare training mixes, or the steps of a learning curve, paired over items; format apart from substance.

    Example: scorer compare out --score score --variant mix --item item --task task
    """
    from scorer.analysis.compare import compare as ask
    from scorer.answers import compared_text

    frame = _open(table, None, (), ())
    found = {
        name: ask(frame, name, variant, item=item, task=task, well_formed=well_formed, replicates=bootstrap)
        for name in score
    }
    return _by_score(json, found, compared_text)


def _open(table: str, labels: str | None, on: Columns, human: Sequence[str]) -> pl.LazyFrame:
    """The table, with the human columns that it lacks joined on from the labels file."""
    from scorer.analysis.tables import join_labels, open_table

    if (labels is None) == bool(on):
        raise SpecError(["--labels and --on belong together: the table of labels, and the columns that find a row's."])
    frame = open_table(table)
    if labels is None:
        return frame
    known = frame.collect_schema().names()
    return join_labels(frame, open_table(labels), on, [name for name in human if name not in known] or human)


def _by_score(json: bool, found: Mapping[str, Any], text: Callable[[str, Any], str]) -> int:
    told = {"scores": {name: one.json() for name, one in found.items()}}
    return answer(json, told, lambda: "\n\n".join(text(name, one) for name, one in found.items()))
