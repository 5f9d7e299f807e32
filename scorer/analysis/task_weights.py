"""Weights of tasks: read from a file of a few lines, checked against the tasks of a table, and made to add up to 1."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from scorer.analysis.columns import listed, require
from scorer.analysis.correlation import Floats
from scorer.analysis.join_labels import open_labels
from scorer.analysis.reading import collected, first_line
from scorer.errors import SpecError
from scorer.files.files import read
from scorer.files.router import AnyFiles

Weights = Mapping[str, float]
"""The weight of each task, by its name."""


def read_weights(path: str | Path) -> dict[str, Any]:
    """The weights in a file: TOML or JSON of names and numbers, or a CSV or Parquet table with columns task and weight.

    Nothing is checked but the file's form: `weights_of` checks names and numbers. Raises SpecError where the file is
    not there or cannot be read.
    """
    name = str(path)
    if not name.lower().endswith((".toml", ".json")):
        table = open_labels(name, pl.LazyFrame(), ())
        require(table.collect_schema(), ["task", "weight"], f"the table of weights {name}")
        rows = collected(table.select(pl.col("task").cast(pl.String), pl.col("weight").cast(pl.Float64, strict=False)))
        if problems := [
            f"{name} has {times} weights for the task {task}; give it one."
            for task, times in rows.group_by("task").len().filter(pl.col("len") > 1).sort("task").iter_rows()
        ]:
            raise SpecError(problems)
        return dict(rows.iter_rows())
    try:
        text = read(AnyFiles(), name).decode()
        found = tomllib.loads(text) if name.lower().endswith(".toml") else json.loads(text)
    except FileNotFoundError:
        raise SpecError([f"{name} is not there; give a file of weights: TOML, JSON, CSV or Parquet."]) from None
    except ValueError as error:  # not UTF-8, not TOML, not JSON
        raise SpecError([f"{name} cannot be read: {first_line(error)}. {_FORM}"]) from error
    if not isinstance(found, dict):
        raise SpecError([f"{name} holds no weights by task. {_FORM}"])
    return found


_FORM = 'Write one line for each task, such as "coding" = 0.6 in TOML.'


def weights_of(tasks: Sequence[str], given: Mapping[str, Any] | None) -> Floats:
    """The weights of these tasks, which add up to 1; equal where none are given.

    Raises SpecError with a sentence for each task without a weight, each weight without a task, and each that is no
    number of 0 or more, and where all are 0.
    """
    if given is None:
        return np.full(len(tasks), 1 / max(len(tasks), 1))
    if not tasks:
        raise SpecError(["Weights are of tasks: name the column of tasks with --task."])
    problems = [
        f"The weight of the task {task} is {given[task]!r}; it must be a number of 0 or more."
        for task in tasks
        if task in given and not _is_weight(given[task])
    ]
    if missing := [task for task in tasks if task not in given]:
        problems.append(f"No weight is given for the tasks {listed(missing)}; give 0 to leave a task out.")
    if unknown := [str(task) for task in given if task not in tasks]:
        problems.append(f"Weights are given for {listed(unknown)}; the table has the tasks {listed(tasks, 10)}.")
    if not problems and not any(given[task] for task in tasks):
        problems.append("All weights are 0; at least one task must count.")
    if problems:
        raise SpecError(problems)
    found = np.array([float(given[task]) for task in tasks])
    return np.asarray(found / found.sum(), dtype=np.float64)


def _is_weight(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0
