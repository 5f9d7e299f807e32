"""Panel 1: which system is best in a sentence, what would change that, and how far the judge can be trusted."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import numpy as np
import polars as pl

from scorer.analysis.compare import compare
from scorer.counted import counted
from scorer.errors import SpecError
from scorer.report.columns import number as number_of
from scorer.report.columns import perhaps_human
from scorer.report.page.agreement import Checked
from scorer.report.page.data import Answer, Interval
from scorer.report.page.means import grouped_means, interval
from scorer.report.page.population import Population
from scorer.report.page.sentences import listed, number, within
from scorer.report.page.strip import Progress
from scorer.report.page.systems import Ranking, not_told_apart

_LEAD = "\0lead"
_SIMULATED = "The judge is simulated, too: how far it agrees with people says nothing of the real one."
_LABELS = ("--human", "human_label", "--labels", "labels.csv")
TINY = 1e-12
"""Differences of means below it are of rounding."""


def answer(of: Population, board: Ranking | None, known: Checked, far: Progress) -> Answer:
    """The panel."""
    folders = [f"{name}={run.out}" if name else run.out for name, run in of.table.runs.items()]
    judge, command = (_SIMULATED, None) if far.simulated else _judge(of, known, folders)
    said = _systems(of, board, far)
    tipping = _tipping(of, board) if board is not None and not far.withheld else None
    if board is None and of.has_scores:
        tipping = "To compare systems, name the column that tells them apart with --system COL."
    return Answer(said, tipping, judge, list(_assumes(of, board)), command)


def _systems(of: Population, board: Ranking | None, far: Progress) -> str:
    if not of.rows and of.finished:
        return f"None of the {of.finished:,} finished rows can be counted: {' '.join(of.left_out)}"
    if not of.rows:
        return "No row is finished yet." if far.rows else "The run has no rows."
    if not of.has_scores and sum(of.errors.values()) < of.finished:
        return f"No row has a value in {of.score}."
    if not of.has_scores:
        errors = ", ".join(f"{name} {count:,}" for name, count in of.errors.items())
        return f"No row has a score: all {of.finished:,} finished rows failed ({errors})."
    if far.simulated:
        return "This is a rehearsal: the scores are simulated, and say of no system how good it is."
    if far.done < far.rows:
        done = f"{far.done:,} of {far.rows:,} rows are finished"
        return f"{done}: which system is best is not said before the run has ended."
    if far.withheld:
        return (
            "The run ended early, at the answer that stands above. Ranks of the rows judged until then would mislead."
        )
    if board is None or board.systems.height < 2:
        return _mean(of, board)
    return _best(board)


def _mean(of: Population, board: Ranking | None) -> str:
    """The mean of all rows, where there are no systems to compare."""
    (mean,) = grouped_means(of, lambda part: part.scores, lambda part: np.zeros(len(part.places), dtype=np.int64), 1)
    name = None if board is None else board.systems["system"][0]
    scale = f" on the scale {of.scale[0]:g} to {of.scale[1]:g}" if of.scale else ""
    what = f"The mean {_measured(of)}"
    whose = what if name is None else f"{what} of {name}"
    return f"{whose} is {number(mean.value)}{within(mean)}{scale}, over {counted(mean.n, 'row')}."


def _measured(of: Population) -> str:
    """What a score is: of pairs the preference for the first response."""
    pair = next(iter(of.table.judges.values())).options
    return f"preference for {pair['a']}" if pair.get("kind") == "pairwise" and pair.get("a") else "score"


def _best(board: Ranking) -> str:
    """Who may be first, by how much the first leads, and who cannot be distinguished from the next."""
    table = board.systems.filter(pl.col("rank").is_not_null())
    if table.height < 2:
        return "The systems share no task and no item by which they could be compared."
    missing = board.systems.filter(pl.col("rank").is_null())["system"].to_list()
    left_out = f" {listed(missing)} {'has' if len(missing) == 1 else 'have'} no rank." if missing else ""
    return f"{_ahead(board, table)}{left_out}"


def _ahead(board: Ranking, table: pl.DataFrame) -> str:
    first, second = table["system"][0], table["system"][1]
    lead = _lead(board, first, second)
    may_be = table.filter(pl.col("rank") == 1)["system"].to_list()
    if len(may_be) == 1:
        near = not_told_apart(board).get(second, set())
        others = [name for name in table["system"] if name in near]
        rest = f"; {listed(others)} cannot be told apart from {second}" if others else ""
        return f"{first} is best: its mean is {number(lead.value)} above that of {second}{within(lead)}{rest}."
    if len(may_be) == table.height > 2:
        return f"No two of the {table.height} systems can be told apart: {_led(first, second, lead)}."
    below = table.filter(pl.col("rank") > 1)["system"].to_list()
    behind = f"{listed(below)} {'is' if len(below) == 1 else 'are'} behind." if below else ""
    return f"{listed(may_be)} cannot be told apart: {_led(first, second, lead)}. {behind}".strip()


def _led(first: str, second: str, lead: Interval) -> str:
    if lead.value is None:
        return f"by how much {first} leads {second} is not known"
    if lead.value < TINY:
        return f"{first} and {second} have equal means{within(lead)}"
    return f"{first} leads {second} by {number(lead.value)}{within(lead)}"


def _lead(board: Ranking, first: str, second: str) -> Interval:
    """The lead of one system over another; nothing where they cannot be compared."""
    assert board.leads is not None
    found = board.leads.filter((pl.col("system") == first) & (pl.col("against") == second))
    if not found.height:
        return Interval(None, None, None, 0)
    return Interval(found["value"][0], found["low"][0], found["high"][0], 0)


def _tipping(of: Population, board: Ranking) -> str | None:
    """By how much the judge would have to favour the first system over the second to change their order."""
    table = board.systems.filter(pl.col("rank").is_not_null())
    if table.height < 2:
        return None
    first, second = table["system"][0], table["system"][1]
    lead = _lead(board, first, second)
    if lead.value is None:
        return None
    if lead.value < TINY:
        return None
    said = f"{first} stays ahead of {second} unless the judge favours it by more than {number(lead.value)}"
    if lead.low is not None and lead.low > 0:
        said += f", and surely ahead unless by more than {number(lead.low)}"
    favour = _favour(of, first, second)
    return f"{said}. {favour}" if favour else f"{said}."


def _favour(of: Population, first: str, second: str) -> str | None:
    """How much the judge favours one system over another, by people's labels of both; None where they do not say."""
    system = of.columns.system
    if system is None or not of.people or of.scale is None:
        return None
    known = of.summary(of.human)
    if not known.rows or known.low < of.scale[0] or known.high > of.scale[1]:
        return None  # on another scale a difference says nothing
    lead = number_of(of.score, of.frame.schema[of.score]) - number_of(of.human, of.frame.schema[of.human])
    item = [of.columns.item] if of.columns.item is not None else []
    frame = (
        of.lazy.filter(pl.col(system).is_in([first, second]))
        .select(lead.alias(_LEAD), pl.col(system).cast(pl.String), *item)
        .drop_nulls(_LEAD)
        .collect()
    )
    try:
        found = compare(frame.lazy(), _LEAD, system, bootstrap=of.bootstrap).differences.row(0, named=True)
    except SpecError:
        return None
    if found["value"] is None:
        return None
    # The difference is of the second variant less the first: turned so that the favour is above 0.
    up = found["value"] >= 0
    low, high = (found["low"], found["high"]) if up else (found["high"], found["low"])
    ends = None if low is None or high is None else (low, high) if up else (-low, -high)
    favour = interval(abs(found["value"]), ends, found["rows"])
    whom = found["variant"] if up else found["against"]
    said = f"{counted(favour.n, 'labelled row')} {'says' if favour.n == 1 else 'say'}"
    return f"{said} that it favours {whom} by {number(favour.value)}{within(favour)}."


def _judge(of: Population, known: Checked, folders: list[str]) -> tuple[str, str | None]:
    """The sentence on the judge, and the command to type where there are no labels."""
    others = "" if known.judges is None else _judges(of, known)
    if known.people is None:
        if of.people:
            return " ".join([*known.notes, others]).strip(), None
        said = "Nobody has checked this judge: no column of human values is known."
        if perhaps := perhaps_human(of.table.schema):
            hold = "may hold some: name it" if len(perhaps) == 1 else "may hold some: name one"
            return f"{others} {said} {listed(perhaps)} {hold} with --human COL.".strip(), None
        if not of.has_scores or not of.options.rows:
            return f"{others} {said} Name one with --human COL.".strip(), None
        command = shlex.join(["scorer", "estimate", *folders, "--score", of.score, *_LABELS])
        asked = "Label the random rows below, save labels.csv, and estimate what people would give to all rows:"
        return f"{others} {said} {asked}".strip(), command
    sentences = []
    for name, one in known.people.scores.items():
        level = one.whole.dataset
        value = level.statistics.get("pearson")
        whose = "The judge" if len(known.people.scores) == 1 else of.run_of(name)
        if value is None:
            sentences.append(f"{whose} cannot be compared with people: {level.note}")
            continue
        found = interval(value, level.intervals.get("pearson"), one.whole.n)
        tasks = f", {number(known.within[name])} within a task on average" if name in known.within else ""
        sentences.append(
            f"{whose} agrees with people {number(value)}{within(found)} (Pearson, {counted(one.whole.n, 'row')}){tasks}"
        )
    ceiling = known.people.ceiling
    top = None if ceiling is None else ceiling.statistics.get("dataset", {}).get("pearson")
    people = "" if top is None else f"; people with each other {number(top)}"
    return " ".join(part for part in (f"{'; '.join(sentences)}{people}.".replace("..", "."), others) if part), None


def _judges(of: Population, known: Checked) -> str:
    assert known.judges is not None
    said = []
    for pair in known.judges.pairs:
        level = pair.agreement.whole.dataset
        value = level.statistics.get("pearson")
        names = f"{of.run_of(pair.first)} and {of.run_of(pair.second)}"
        if value is None:
            said.append(f"{names} cannot be compared: {level.note}")
            continue
        found = interval(value, level.intervals.get("pearson"), pair.agreement.whole.n)
        said.append(
            f"{names} agree with each other {number(value)}{within(found)} (Pearson, {counted(found.n, 'row')})."
        )
    return " ".join(said)


def _assumes(of: Population, board: Ranking | None) -> Iterator[str]:
    items = of.columns.item
    if items is not None:
        yield f"The items (column {items}) are a sample; intervals say what another sample might give."
    else:
        yield "Each row counts as an item of its own, since no column of items is known. Name one with --item COL."
    if board is not None and board.systems.height > 1:
        yield "Ranks and differences hold together in 95 % of samples; the interval of a mean holds by itself."
        yield "Rows without a score may have any score of the scale: a lead counts only where it holds at either end."
    yield "The answer is in terms of this judge's scores. Whether people would say the same is the second sentence."
    if of.people:
        yield "The labelled rows stand for all rows of the page: a choice of hard or of easy ones would not."
