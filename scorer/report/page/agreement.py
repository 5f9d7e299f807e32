"""The agreement of the judges with people and with each other, as figures of panel 4."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from scorer.analysis.agree import agree
from scorer.analysis.agree_result import Agreement, ScoreAgreement
from scorer.analysis.bootstrap import Bootstrap
from scorer.analysis.inter_judge import InterJudge, inter_judge
from scorer.errors import SpecError
from scorer.report.page.data import Interval, Statistic
from scorer.report.page.means import interval
from scorer.report.page.population import Population
from scorer.report.page.retest import same_judge


@dataclass(frozen=True, slots=True)
class Checked:
    """What is known of the judge: its agreement with people, None without human values, and with other judges.

    `within` is the mean over tasks of Pearson's correlation with people, by score column: over all rows differences
    between tasks count too. Empty where the rows are of one task. `notes` say what could not be computed.
    """

    people: Agreement | None
    judges: InterJudge | None
    within: Mapping[str, float]
    notes: Sequence[str] = ()


def checked(of: Population) -> Checked:
    """The agreement of the judges with people and with each other, over the page's rows."""
    notes = []
    with_people = between = None
    within: dict[str, float] = {}
    if of.people:
        labelled = of.lazy.filter(pl.col(of.human).is_not_null())
        try:
            with_people = agree(
                labelled,
                of.columns.scores,
                of.people,
                item=of.columns.item,
                system=of.columns.system,
                bootstrap=of.bootstrap,
            )
            within = _within_tasks(of, labelled)
        except SpecError as error:
            notes.append(f"The agreement with people is not known: {error}")
    if len(of.columns.scores) > 1:
        try:
            between = inter_judge(
                of.lazy, of.columns.scores, item=of.columns.item, system=of.columns.system, bootstrap=of.bootstrap
            )
        except SpecError as error:
            notes.append(f"The agreement of the judges is not known: {error}")
    return Checked(with_people, between, within, notes)


def _within_tasks(of: Population, labelled: pl.LazyFrame) -> dict[str, float]:
    if of.columns.task is None:
        return {}
    found = agree(labelled, of.columns.scores, of.people, task=of.columns.task, bootstrap=Bootstrap(0))
    means = {name: (one.within or {}).get("pearson") for name, one in found.scores.items() if len(one.tasks) > 1}
    return {name: mean for name, mean in means.items() if mean is not None}


_LEVELS = {
    "dataset": ("over all rows", "orders all rows as {others} do"),
    "item": ("within items", "orders the answers to one item as {others} do"),
    "system": ("over systems", "orders the systems by their means as {others} do"),
}
_SAID = {"pearson": "Pearson", "spearman": "Spearman", "kendall": "Kendall's tau-b"}
_SHOWN = (("dataset", "pearson"), ("dataset", "spearman"), ("item", "kendall"), ("system", "pearson"))


def agreement_of(of: Population, known: Checked) -> Iterator[Statistic]:
    """The figures: of each judge with people, then of each two judges."""
    if known.people is not None:
        several = len(known.people.scores) > 1
        for name, one in known.people.scores.items():
            run = of.run_of(name)
            whose = run if several else "the judge"
            prefix = f"{run} with people: " if several else ""
            yield from _statistics(one, prefix, whose, "people")
            if name in known.within:
                yield Statistic(
                    f"{prefix}Pearson within tasks",
                    Interval(known.within[name], None, None, one.whole.n),
                    "1 is perfect: the mean over the tasks. Over all rows the differences between tasks count too.",
                )
    if known.judges is not None:
        for pair in known.judges.pairs:
            first, second = of.run_of(pair.first), of.run_of(pair.second)
            prefix = "Retest, " if same_judge(of, pair.first, pair.second) else ""
            yield from _statistics(pair.agreement, f"{prefix}{first} with {second}: ", first, f"the scores of {second}")


def _statistics(one: ScoreAgreement, prefix: str, whose: str, others: str) -> Iterator[Statistic]:
    levels = dict(one.whole.levels())
    for level, statistic in _SHOWN:
        found = levels.get(level)
        value = None if found is None else found.statistics.get(statistic)
        if found is None or value is None or found.counts.get("systems", 3) < 3:
            continue  # of two systems every correlation is 1 or -1
        where, does = _LEVELS[level]
        unit = level if level in ("item", "system") else "row"
        n = int(found.counts.get(f"{unit}s", one.whole.n))
        meaning = f"{whose} {does.replace('{others}', others)}"
        yield Statistic(
            f"{prefix}{_SAID[statistic]} {where}",
            interval(value, found.intervals.get(statistic), n),
            f"1 is perfect: whether {meaning}{', and spaces them alike' if statistic == 'pearson' else ''}.",
            of=unit,
        )
    if one.labels and one.labels.get("kappa_quadratic") is not None:
        yield Statistic(
            f"{prefix}quadratic kappa" if prefix else "Quadratic kappa",
            Interval(one.labels["kappa_quadratic"], None, None, one.whole.n),
            "1 is perfect, 0 is chance: agreement on the values themselves, with larger errors weighing more.",
        )


def ceiling_of(people: Agreement | None) -> Statistic | None:
    """The agreement of people with each other; None of a single one."""
    if people is None or people.ceiling is None:
        return None
    value = people.ceiling.statistics.get("dataset", {}).get("pearson")
    if value is None:
        return None
    named = ", ".join(people.ceiling.people)
    meaning = f"Pearson over all rows of each person with the mean of the others ({named}): the ceiling of a judge."
    return Statistic("People with each other", Interval(value, None, None, people.rows - people.unlabelled), meaning)
