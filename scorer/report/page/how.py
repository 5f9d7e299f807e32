"""Panel 8: what reproduces the page: the run file without keys, the prompt, versions, and what each number assumes."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
import tomlkit

from scorer import __version__
from scorer.report.page.data import How
from scorer.report.page.population import Population
from scorer.report.run_table import RunTable

BLANKED = "(left out)"
_SECRET = ("headers", "query", "api_key_command")
"""Keys of the run file whose values may be credentials."""


def how(of: Population) -> How:
    """The panel."""
    return How(_run_files(of.table), _prompt(of.table), _versions(of), list(_assumes(of)))


def _run_files(table: RunTable) -> str:
    files = [
        (f"# {run.out}\n" if len(table.runs) > 1 else "") + tomlkit.dumps(_blanked(run.manifest.spec))
        for run in table.runs.values()
    ]
    return "\n".join(files)


def _blanked(value: Any, key: str = "") -> Any:
    """The value without credentials and without nulls, which TOML lacks; texts of several lines stay such."""
    if key in _SECRET:
        return dict.fromkeys(value, BLANKED) if isinstance(value, Mapping) else BLANKED
    if isinstance(value, Mapping):
        return {str(name): _blanked(inner, name) for name, inner in value.items() if inner is not None}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_blanked(inner) for inner in value if inner is not None]
    if isinstance(value, str) and "\n" in value and "\r" not in value:
        return tomlkit.string(value, multiline=True)
    return value


def _prompt(table: RunTable) -> str:
    prompts = {name: str(judge.options.get("prompt") or "") for name, judge in table.judges.items()}
    if len(set(prompts.values())) == 1:
        return next(iter(prompts.values()))
    return "\n\n".join(f"# {name}\n{prompt}" for name, prompt in prompts.items())


def _versions(of: Population) -> dict[str, str]:
    found = {"scorer": __version__, "polars": pl.__version__, "Python": platform.python_version()}
    for name, run in of.table.runs.items():
        prefix = f"{name}: " if name else ""
        found |= {
            f"{prefix}judge (fingerprint)": run.manifest.fingerprint,
            f"{prefix}run": run.manifest.id,
            f"{prefix}begun": run.manifest.created,
        }
        found |= {
            f"{prefix}judge of generation {generation}": judge for judge, generation in run.manifest.judges.items()
        }
    return {**found, "seed": f"{of.bootstrap.seed}", "columns": "; ".join(of.columns.found) or "as given"}


def _assumes(of: Population) -> Sequence[tuple[str, str]]:
    items = of.columns.item
    unit = f"items (column {items})" if items is not None else "rows: no column of items is known"
    said = [
        (
            "Means",
            f"A sample of {unit}. Another sample of as many would give a mean within the interval in 95 % of samples. "
            "Of fewer than five there is no interval. "
            "With tasks, a system's mean is that of its task means; where systems lack scores for items that others "
            "have, it is adjusted for the items by two-way least squares.",
        ),
        (
            "Ranks and differences",
            "All of them are right together in 95 % of samples (studentised max-t bootstrap: Romano and Wolf 2005; "
            "ranks: Mogstad, Romano, Shaikh and Wilhelm 2024). A lead counts only where it holds with the rows without "
            "a score at either end of the scale.",
        ),
        ("Shares", "Wilson's interval with the number of rows that the clustering of items leaves effective."),
        ("Scores", "They are the judge's opinion; the panel Judge says how far people share it."),
    ]
    if of.people:
        said.append(("Agreement with people", "The labelled rows are a random sample of the rows that it is said of."))
    return said
