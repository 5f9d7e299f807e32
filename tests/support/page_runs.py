"""Report pages of made-up rows and results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from support.finished_runs import finished_run

from scorer.report.html import document
from scorer.report.page.build import page
from scorer.report.page.data import Page
from scorer.report.page.options import ReportOptions


def rows(count: int, systems: int = 3, **more: Any) -> pl.DataFrame:
    """Items answered by each of the systems."""
    system = [f"s{n % systems}" for n in range(count)]
    given = {"item": [f"q{n // systems}" for n in range(count)], "system": system, "response": ["said"] * count}
    return pl.DataFrame({**given, **more}, schema_overrides=dict.fromkeys(given, pl.String))


def scores(count: int, systems: int = 3, lead: float = 0.0, seed: int = 1) -> list[float]:
    """Scores from 1 to 5; each system is ahead of the one before by `lead`."""
    draw = np.random.default_rng(seed)
    quality = np.repeat(draw.normal(3, 0.6, count // systems + 1), systems)[:count]
    ahead = lead * (np.arange(count) % systems)
    return np.clip(quality + ahead + draw.normal(0, 0.3, count), 1, 5).round(3).tolist()


def of(root: Path, given: pl.DataFrame, results: dict[str, Any], **more: Any) -> Page:
    """The page of a run with these results, which can be written as a document."""
    options = ReportOptions(**{name: more.pop(name) for name in list(more) if name in ReportOptions.__slots__})
    made = page(finished_run(root, given, results, **more), options)
    document(made)
    return made
