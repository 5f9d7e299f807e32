"""The results of scale, bias, estimate, leaderboard, compare and metrics as text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import polars as pl

from scorer.analysis.bias import Length, Position, SelfPreference
from scorer.analysis.calibration import Gain
from scorer.analysis.compare import Compared
from scorer.analysis.format_bias import FormatBias
from scorer.analysis.leaderboard import Leaderboard
from scorer.analysis.prediction_powered_result import Estimates, Mean
from scorer.analysis.scale_across_tasks import Scale, TaskScale
from scorer.analysis.win_rate import WinRate, WinRates
from scorer.cli.text_table import Rows, aligned, cell, noted, paragraphs, with_intervals, wrapped
from scorer.escapes import printable_line
from scorer.job.metrics_only import Summary


def named_values(what: str, values: Mapping[str, float | None]) -> str:
    return wrapped(f"{what}: " + ", ".join(f"{name.replace('_', ' ')} {cell(value)}" for name, value in values.items()))


def pooled_and_within(pooled: Mapping[str, float | None], within: Mapping[str, float | None]) -> str:
    rows = {"pooled": pooled, "mean within tasks": {name: within.get(name) for name in pooled}}
    return aligned([{"": name, **_spaced(row)} for name, row in rows.items()])


def task_scale_table(task_scales: Mapping[str, TaskScale]) -> str:
    """A row for each task: mean score and human value, shift and spread."""
    return aligned([{"task": task, **_spaced(asdict(scale))} for task, scale in task_scales.items()])


def _spaced(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with spaces in its names, as table headers have them."""
    return {name.replace("_", " "): value for name, value in row.items()}


def scale_text(name: str, found: Scale, gain: Gain | None) -> str:
    """What `scorer scale` shows of one score."""
    return paragraphs(
        f"{name}: {found.n:,} rows with both numbers, {found.unread:,} with no verdict",
        task_scale_table(found.tasks),
        pooled_and_within(found.pooled, found.within),
        "" if found.systems is None else aligned([_spaced(row) for row in found.systems.to_dicts()]),
        ""
        if found.systems is None
        else named_values("Kendall's W of the systems' ranks across tasks", found.concordance),
        "" if gain is None else _gain_text(name, gain),
    )


def _gain_text(name: str, gain: Gain) -> str:
    values = {key: value for key, value in asdict(gain).items() if key not in ("labels", "skipped")}
    skipped = "; too few labels, left null: " + ", ".join(gain.skipped) if gain.skipped else ""
    return named_values(f"{name}_calibrated, on held-out items of {gain.labels:,} labels", values) + skipped


def bias_text(
    name: str, found: Mapping[str, Length | Position | SelfPreference | WinRate | WinRates | FormatBias]
) -> str:
    """What `scorer bias` shows of one score."""
    lines = []
    for kind, one in found.items():
        if isinstance(one, FormatBias):
            lines.append(f"{name}, by the form of {one.answers:,} answers\n{aligned(list(_format_rows(one)))}")
        elif isinstance(one, WinRates):
            rows = [{"system": system, **_figures(rate)} for system, rate in one.systems.items()]
            lines.append(f"{name}, win rate by system\n{aligned(rows)}")
        else:
            lines.append(f"{name}, {_BIASES[kind]}\n{aligned([_figures(one)])}")
    return "\n\n".join(lines)


_BIASES = {
    "length": "length bias",
    "win_rate": "win rate over the baseline",
    "position": "position bias",
    "self_preference": "self-preference",
}
_FIGURES = {
    "unread": "no verdict",
    "judge": "score and length",
    "people": "human value and length",
    "partial": "score and length, human value fixed",
    "first": "preference for the first",
    "same": "same verdict in both orders",
    "own": "own rows",
    "others": "other rows",
    "excess": "excess (standard deviations)",
    "raw": "win rate",
    "equal_length": "at equal length",
    "length_effect": "length effect (log-odds)",
    "difficulty_effect": "difficulty effect (log-odds)",
}
"""Headers of the figures of `scorer bias`; correlations are Spearman's."""


def _figures(measure: Length | Position | SelfPreference | WinRate) -> dict[str, Any]:
    return {_FIGURES.get(name, name): value for name, value in _merged(asdict(measure)).items()}


def _format_rows(found: FormatBias) -> Iterator[dict[str, Any]]:
    for form, one in (*found.formats.items(), *([("asked again", found.again)] if found.again else [])):
        yield {"form": form, **_spaced(_merged(asdict(one)))}


def _merged(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values with their intervals beside them; a lone `interval` belongs to the value before it."""
    merged: dict[str, Any] = {}
    for key, value in values.items():
        owner = list(merged)[-1] if key == "interval" else key.removesuffix("_interval")
        merged[owner] = (merged[owner], value) if key.endswith("interval") else value
    return merged


def estimate_text(name: str, found: Estimates) -> str:
    """What `scorer estimate` shows of one score."""
    everyone = [("(all rows)", found.overall), *found.systems.items()]
    shared = {d.items for d in found.differences}
    over = [f"Differences are over the {n:,} items that both systems have." for n in shared if n and len(shared) == 1]
    return paragraphs(
        aligned(
            [
                {
                    name: system,
                    "rows": one.rows,
                    "labels": one.labels,
                    "no verdict": one.unread,
                    **({"labels, no verdict": one.labels_unread} if found.overall.unread else {}),
                    "mean": _mean(one.mean),
                    "labels only": _mean(one.labels_only),
                    "judge only": _mean(one.judge_only),
                    "weight": one.weight,
                    **({"weight, no verdict": one.unread_weight} if found.overall.unread else {}),
                    "equivalent labels": one.labels_worth,
                }
                for system, one in everyone
            ]
        ),
        aligned(
            [
                {
                    "system": d.a,
                    "minus": d.b,
                    "difference": (d.difference, d.interval),
                    "labels more": d.labels_more,
                    **({"items": d.items} if len(shared) > 1 else {}),
                }
                for d in found.differences
            ]
        )
        if found.differences
        else "",
        noted([*over, *found.notes]),
    )


def _mean(mean: Mean) -> tuple[float | None, Any]:
    return mean.value, mean.interval


def leaderboard_text(name: str, found: Leaderboard) -> str:
    """What `scorer leaderboard` shows of one score."""
    tables = [_board_rows(table) for table in (found.systems, found.tasks) if table is not None]
    repeated = noted([printable_line(one.note()) for one in found.repeated])
    return paragraphs(repeated, name, *map(aligned, tables), noted(found.notes))


def _board_rows(table: pl.DataFrame) -> Rows:
    """The rows of a leaderboard: ranks as intervals, without columns that repeat another one."""
    if "raw" in table.columns:
        same = ["raw"] if table["raw"].equals(table["mean"]) else []
        table = table.drop(same + ([] if table["unread"].sum() else ["at_lowest", "at_highest", "unread"]))
    rows = []
    for row in with_intervals(table):
        first, last = row["rank"], row["rank_last"]
        places = None if first is None else f"{first}" if first == last else f"{first}-{last}"
        rest = {_ENDS.get(key, key): value for key, value in row.items() if key not in ("rank", "rank_last")}
        rows.append({"rank": places, **rest})
    return rows


_ENDS = {
    "at_lowest": "no verdict = lowest",
    "at_highest": "no verdict = highest",
    "unread": "no verdict",
}


def compared_text(name: str, found: Compared) -> str:
    """What `scorer compare` shows of one score."""
    differences = found.differences
    if not differences["unread"].sum():
        differences = differences.drop("at_lowest", "at_highest", "unread")
    if differences["items"].null_count() == len(differences):
        differences = differences.drop("items")
    levels = found.levels
    if levels["measure"].n_unique() == 1:
        levels, differences = levels.drop("measure"), differences.drop("measure")
    rows: list[dict[str, Any]] = []
    for given in with_intervals(_without_empty(differences)):
        row = dict(given)
        better, against = row.pop("better"), row.pop("against")
        shown: dict[str, Any] = {key: row.pop(key) for key in ("task", "variant", "measure") if key in row}
        shown |= {"minus": against, "value": row.pop("value")}
        shown["better"] = None if better is None else "yes" if better == shown["variant"] else "no"
        rows.append({**shown, **{_ENDS.get(key, key): value for key, value in row.items()}})
    shown_levels = [
        {_ENDS.get(key, key): value for key, value in row.items()} for row in with_intervals(_without_empty(levels))
    ]
    return paragraphs(name, aligned(shown_levels), aligned(rows), noted(found.notes))


def _without_empty(table: pl.DataFrame) -> pl.DataFrame:
    return table.drop("task") if table["task"].null_count() == len(table) else table.with_columns(
        pl.col("task").fill_null("(all)")
    )  # fmt: skip


def measured_text(file: str, found: Summary) -> str:
    """What `scorer metrics` shows."""
    rows = [{"metric": name, "rows scored": found.scored[name], "mean": found.mean[name]} for name in found.scored]
    return paragraphs(f"{file}: {found.rows:,} rows", aligned(rows))
