"""Which columns of a run are its score, human value, item, system, task and id, and the texts that the judge was shown.

A column is what an option says it is; else what the run file says; else the one that has a usual name.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from scorer.analysis.columns import missing_columns
from scorer.analysis.reading import TEXTS
from scorer.errors import SpecError
from scorer.report.numbers_for_columns import may_be_name, number_for_column

USUAL: Mapping[str, tuple[str, ...]] = {
    "human": ("human", "human_score"),
    "item": ("item", "item_id"),
    "system": ("system", "model", "model_name"),
    "task": ("task", "category"),
    "reference": ("reference", "gold", "target", "expected", "ground_truth", "reference_answer"),
    "response": ("response", "output", "answer", "completion", "generation"),
}
"""The names by which a column is taken where no option names it, the likeliest first."""

_NAMES = ("item", "system", "task")
"""Roles of columns by whose values rows are grouped."""


@dataclass(frozen=True, slots=True)
class GivenColumns:
    """The columns that a command's options name, by their names in `scorer.scan_scores(OUT, join_input=True)`.

    None: the column is found by its name, where there is one. Of several folders `score` is that column of each.
    `human_option` is how the command calls the option for `human`, and `rows_option` the one for a number of rows, ""
    where it has none: messages name them.
    """

    score: str = "score"
    human: str | None = None
    item: str | None = None
    system: str | None = None
    task: str | None = None
    response: str | None = None
    reference: str | None = None
    human_option: str = "--human"
    rows_option: str = ""


@dataclass(frozen=True, slots=True)
class RunColumns:
    """The columns of a table by what they are; None where the table has none.

    `scores` has one column for each run. `shown` are the columns of the input, or paths into them, that the prompt
    shows, in its order; `pair` are the two responses of a comparison, where both are such. `found` says which columns
    were taken by their names alone, as "human" or "system = model".
    """

    scores: tuple[str, ...]
    human: str | None
    item: str | None
    system: str | None
    task: str | None
    id: str | None
    response: str | None
    reference: str | None
    shown: tuple[str, ...] = ()
    pair: tuple[str, ...] = ()
    found: tuple[str, ...] = ()

    @property
    def named(self) -> tuple[str, ...]:
        """All columns of the table that have a role, the texts that the prompt shows aside."""
        others = (self.human, *self.labels, self.response, self.reference)
        return tuple(dict.fromkeys((*self.scores, *(name for name in others if name is not None))))

    @property
    def labels(self) -> tuple[str, ...]:
        """The columns that say which row it is: id, item, system and task."""
        return tuple(dict.fromkeys(name for name in (self.id, self.item, self.system, self.task) if name is not None))


def find_columns(
    given: GivenColumns, schema: pl.Schema, scores: Sequence[str], judge: Mapping[str, Any], shown: Sequence[str]
) -> RunColumns:
    """The columns of a table with this `schema`, `scores` being the score columns of its runs.

    `judge` is the [judge] of the run file, `shown` are the columns that its prompt shows. Raises SpecError for every
    column that is not there or does not hold what it should.
    """
    options = {role: getattr(given, role) for role in USUAL}
    named = [("score", name) for name in scores] + [(role, name) for role, name in options.items() if name is not None]
    problems = []
    for role, name in named:
        option = given.human_option if role == "human" else f"--{role}"
        meant = number_for_column(schema, role, name, option, given.rows_option)
        problems += [meant] if meant else missing_columns(schema, [name])
    problems = list(dict.fromkeys(problems))
    problems += [
        f"Column {name} holds {schema[name]}, not numbers: give {option} a column of numbers."
        for option, name in [*(("--score", name) for name in scores), (given.human_option, given.human)]
        if name is not None and name in schema and not may_be_number(schema[name])
    ]
    problems += [
        f"Column {name} holds {schema[name]}; --{role} takes a column of plain values: texts, numbers, dates."
        for role, name in options.items()
        if name is not None and role in _NAMES and name in schema and not may_be_name(schema[name])
    ]
    if given.system is not None and given.system == given.task:
        problems.append(f"--system {given.system} and --task {given.task}: give each a column of its own, or only one.")
    if problems:
        raise SpecError(problems)
    pair = tuple(str(name) for name in (judge.get("a"), _column_b(judge)) if name in shown)
    of_judge = {"response": judge.get("response"), "reference": judge.get("reference")}
    own = {name for name in options.values() if name is not None}
    roles: dict[str, str | None] = {}
    found = []
    for role, name in options.items():
        taken = name or next(_candidates(role, of_judge.get(role), schema, shown, own), None)
        if role == "response" and name is None and len(pair) == 2:
            taken = None  # there are two
        roles[role] = taken
        if name is None and taken is not None and taken != of_judge.get(role):
            found.append(role if taken == role else f"{role} = {taken}")
    return RunColumns(
        tuple(scores),
        id="id" if "id" in schema else None,
        shown=tuple(shown),
        pair=pair if len(pair) == 2 else (),
        found=tuple(found),
        **{role: roles[role] for role in options},
    )


def perhaps_human(schema: pl.Schema) -> list[str]:
    """Columns of numbers that may hold values of people, by their names: an option must say so, their scale differs."""
    return [name for name, kind in schema.items() if "human" in name.lower() and kind.is_numeric()]


def number(name: str, kind: pl.DataType | None) -> pl.Expr:
    """A column as float64; null where it is null, infinite, not a number, or a text that is none."""
    column = pl.col(name)
    if kind in TEXTS:
        column = column.cast(pl.String).str.strip_chars()
    value = column.cast(pl.Float64, strict=False)
    return pl.when(value.is_finite()).then(value)


def _candidates(role: str, named: Any, schema: pl.Schema, shown: Sequence[str], own: Collection[str]) -> Iterator[str]:
    """The columns that may have a role, the likeliest first. `own` are those that options give a role."""
    if isinstance(named, str) and (named in schema or named in shown):
        yield named
    for name in USUAL[role]:
        if name not in schema:
            continue
        if role == "human" and not (schema[name].is_numeric() or schema[name] == pl.Boolean):
            continue
        if name in own or (role in _NAMES and not may_be_name(schema[name])):
            continue
        if role == "response" and shown and name not in shown:
            continue  # a response that the judge never saw is not the one that it judged
        yield name


def _column_b(judge: Mapping[str, Any]) -> str | None:
    baseline = judge.get("baseline")
    return judge.get("b") or (baseline.get("column") if isinstance(baseline, Mapping) else None)


def may_be_number(kind: pl.DataType) -> bool:
    """Whether a column of this type may hold numbers; texts may."""
    return kind.is_numeric() or kind in (pl.Boolean, pl.Null, *TEXTS)
