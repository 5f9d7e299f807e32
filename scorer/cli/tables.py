"""The results of the analysis commands as aligned text tables: three decimals, a dash for null."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import polars as pl

from scorer.analysis.agree_result import Agreement, Level, Levels, ScoreAgreement
from scorer.analysis.bias import Length, Position, SelfPreference
from scorer.analysis.compare import Compared
from scorer.analysis.correlation import STATISTICS
from scorer.analysis.estimate import Estimates, Mean
from scorer.analysis.formats import Formats
from scorer.analysis.leaderboard import Leaderboard
from scorer.analysis.scale import Gain, Scale
from scorer.analysis.unread import told
from scorer.analysis.win_rate import WinRate, WinRates
from scorer.cli.streams import plain_line
from scorer.job.metrics_only import Summary

Rows = Sequence[Mapping[str, Any]]

LEVELS = {"dataset": "all rows", "item": "within items", "system": "over systems"}
SHORT = {"pairwise_accuracy": "accuracy", "pairwise_accuracy_calibrated": "accuracy calibrated"}


def aligned(rows: Rows) -> str:
    """Mappings with equal keys as an aligned table: text columns to the left, others to the right.

    Where it is wider than the terminal, it is told in parts that all begin with its first columns of texts, and texts
    that would take more than half of the terminal are cut in their middle.
    """
    if not rows:
        return "(nothing)"
    names = list(rows[0])
    cells = [[_cell(row[name]) for name in names] for row in rows]
    left = [all(row[name] is None or isinstance(row[name], str) for row in rows) for name in names]
    keys = next((place for place, text in enumerate(left) if not text), len(names))
    widths = _widths(names, cells)
    if (most := width()) and sum(widths) + 2 * (len(widths) - 1) > most:
        texts = max(_FEWEST_LETTERS, most // 2 // max(keys, 1) - 2)
        cells = [[_cut(cell, texts) if text else cell for cell, text in zip(line, left, strict=True)] for line in cells]
        widths = _widths(names, cells)
    return "\n\n".join(
        "\n".join(
            "  ".join(
                line[i].ljust(widths[i]) if left[i] else line[i].rjust(widths[i]) for i in (*range(keys), *part)
            ).rstrip()
            for line in (names, *cells)
        )
        for part in _parts_of_width(widths, keys)
    )


_FEWEST_LETTERS = 12


def _widths(names: Sequence[str], cells: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(names, *cells, strict=True)]


def _cut(text: str, most: int) -> str:
    """The text in so many letters: its start and its end, which tell names of one family apart."""
    if len(text) <= most:
        return text
    end = (most - 3) // 2
    return f"{text[: most - 3 - end]}...{text[len(text) - end :]}"


def _parts_of_width(widths: Sequence[int], keys: int) -> list[list[int]]:
    """The columns after the first `keys` ones, in parts that fit beside these into the terminal."""
    most = width()
    before = sum(widths[:keys]) + 2 * keys
    parts: list[list[int]] = [[]]
    for i in range(keys, len(widths)):
        taken = before + sum(widths[j] + 2 for j in parts[-1]) + widths[i]
        if most and parts[-1] and taken > most:
            parts.append([])
        parts[-1].append(i)
    return parts


def width() -> int:
    """The columns of the terminal that reads stdout, or of COLUMNS; 0 where neither says how many there are."""
    told = os.environ.get("COLUMNS", "")
    if told.isdecimal() and int(told):
        return int(told)
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns
    except (AttributeError, OSError, ValueError):  # stdout is closed, or no terminal
        return 0


def wrapped(text: str) -> str:
    """A sentence in lines that the terminal holds, those after the first indented."""
    most = width()
    if not most:
        return text
    return textwrap.fill(text, max(most, 40), subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, tuple):
        shown, interval = value
        return _cell(shown) + (f" [{interval[0]:.3f}, {interval[1]:.3f}]" if interval else "")
    if isinstance(value, float):
        return f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else plain_line(str(value))


def _with_intervals(frame: pl.DataFrame) -> Rows:
    """The rows of a table with `low` and `high` drawn into the column before them."""
    rows = []
    for row in frame.to_dicts():
        low, high = row.pop("low"), row.pop("high")
        before = frame.columns[frame.columns.index("low") - 1]
        row[before] = (row[before], None if low is None else (low, high))
        rows.append(row)
    return rows


def _paragraphs(*parts: str) -> str:
    return "\n\n".join(part for part in parts if part)


# --- agree ------------------------------------------------------------------------------------------------------------


def agreement_text(found: Agreement) -> str:
    """What `scorer agree` shows."""
    scores = found.scores.items()
    rows = [row for name, score in scores for row in _agreement_rows(name, score)]
    if found.ceiling is not None:
        for level, statistics in found.ceiling.statistics.items():
            values = {SHORT.get(s, s): statistics.get(s) for s in STATISTICS}
            same = dict.fromkeys(rows[0])
            rows.append({**same, "score": "(people)", "level": LEVELS[level], **values})
    return _paragraphs(
        f"{found.rows:,} rows, {found.unlabelled:,} of them without a human value",
        aligned(rows),
        "\n".join(wrapped(f"{name}, {where}: {note}") for name, score in scores for where, note in _notes(score)),
        "\n".join(_told(f"{name}, as labels", score.labels) for name, score in scores if score.labels),
        noted([f"{name}: {score.unlike}" for name, score in scores if score.unlike]),
        noted([f"{name}: {note}" for name, score in scores for note in told(score.unread, human=True)]),
        "" if found.ceiling is None else _told("people, Krippendorff's alpha", found.ceiling.alpha),
        *(_task_text(name, score) for name, score in scores if score.within is not None),
        "\n".join(
            wrapped(
                f"{c.better} minus {c.than}: {c.statistic} {LEVELS[c.level]} {_cell(c.difference)}, p = {_cell(c.p)} "
                f"(PERM-BOTH, {c.n:,} rows)"
            )
            for c in found.comparisons
        ),
    )


def _agreement_rows(name: str, score: ScoreAgreement) -> Iterator[dict[str, Any]]:
    for task, levels in _parts(score):
        for level, at in levels.levels():
            yield {
                "score": name,
                **({} if score.within is None else {"task": task}),
                "level": LEVELS[level],
                "n": levels.n,
                "no verdict": levels.unread,
                **{SHORT.get(s, s): (at.statistics.get(s), at.intervals.get(s)) for s in STATISTICS},
                "of": _resting_on(at),
            }


def _parts(score: ScoreAgreement) -> Iterator[tuple[str, Levels]]:
    yield "(pooled)", score.whole
    yield from ((task, levels) for task, (levels, _) in score.tasks.items())


def _resting_on(level: Level) -> str:
    counts = level.counts
    if "items" in counts:
        return f"{counts['items']:.0f} items, {counts['skipped']:.0f} skipped"
    return f"{counts['systems']:.0f} systems" if "systems" in counts else ""


def _notes(score: ScoreAgreement) -> Iterator[tuple[str, str]]:
    for task, levels in _parts(score):
        for level, at in levels.levels():
            if at.note:
                yield LEVELS[level] if score.within is None else f"{task}, {LEVELS[level]}", at.note


def _told(what: str, values: Mapping[str, float | None]) -> str:
    return wrapped(
        f"{what}: " + ", ".join(f"{name.replace('_', ' ')} {_cell(value)}" for name, value in values.items())
    )


def _task_text(name: str, score: ScoreAgreement) -> str:
    stances = [{"task": task, **asdict(stance)} for task, (_, stance) in score.tasks.items() if stance is not None]
    pooled = {s: score.whole.dataset.statistics.get(s) for s in STATISTICS}
    return f"{name}, where each task stands against people\n{aligned(stances)}\n{_gap(pooled, score.within or {})}"


def _gap(pooled: Mapping[str, float | None], within: Mapping[str, float | None]) -> str:
    return aligned([{"": "pooled", **pooled}, {"": "mean within tasks", **{name: within.get(name) for name in pooled}}])


# --- the others -------------------------------------------------------------------------------------------------------


def scale_text(name: str, found: Scale, gain: Gain | None) -> str:
    """What `scorer scale` shows of one score."""
    return _paragraphs(
        f"{name}: {found.n:,} rows with both numbers, {found.unread:,} with no verdict",
        aligned([{"task": task, **asdict(stance)} for task, stance in found.tasks.items()]),
        _gap(found.pooled, found.within),
        "" if found.systems is None else aligned(found.systems.to_dicts()),
        "" if found.systems is None else _told("Kendall's W of the systems' ranks across tasks", found.concordance),
        "" if gain is None else _gain_text(name, gain),
    )


def _gain_text(name: str, gain: Gain) -> str:
    values = {key: value for key, value in asdict(gain).items() if key not in ("labels", "skipped")}
    skipped = "; left null, for want of labels: " + ", ".join(gain.skipped) if gain.skipped else ""
    return _told(f"{name}_calibrated, on held-out items of {gain.labels:,} labels", values) + skipped


def bias_text(name: str, found: Mapping[str, Length | Position | SelfPreference | WinRate | WinRates | Formats]) -> str:
    """What `scorer bias` shows of one score."""
    lines = []
    for kind, one in found.items():
        if isinstance(one, Formats):
            lines.append(f"{name}, by the form of {one.answers:,} answers\n{aligned(list(_format_rows(one)))}")
        elif isinstance(one, WinRates):
            rows = [{"system": system, **_drawn(asdict(rate))} for system, rate in one.systems.items()]
            lines.append(f"{name}, win rate by system\n{aligned(rows)}")
        else:
            lines.append(_told(f"{name}, {kind.replace('_', ' ')}", _drawn(asdict(one))))
    return "\n".join(lines)


def _format_rows(found: Formats) -> Iterator[dict[str, Any]]:
    for form, one in (*found.formats.items(), *([("asked again", found.again)] if found.again else [])):
        yield {"form": form, **_drawn(asdict(one))}


def _drawn(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values with their intervals beside them; a lone `interval` belongs to the value before it."""
    drawn: dict[str, Any] = {}
    for key, value in values.items():
        owner = list(drawn)[-1] if key == "interval" else key.removesuffix("_interval")
        owner = _ENDS.get(owner, owner)
        drawn[owner] = (drawn[owner], value) if key.endswith("interval") else value
    return drawn


def estimate_text(name: str, found: Estimates) -> str:
    """What `scorer estimate` shows of one score."""
    everyone = [("(all rows)", found.overall), *found.systems.items()]
    shared = {d.items for d in found.differences}
    over = [f"Differences are over the {n:,} items that both systems have." for n in shared if n and len(shared) == 1]
    return _paragraphs(
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


def noted(notes: Sequence[str]) -> str:
    """What to know beside a table, a sentence a line."""
    return "\n".join(map(wrapped, notes))


def _mean(mean: Mean) -> tuple[float | None, Any]:
    return mean.value, mean.interval


def leaderboard_text(name: str, found: Leaderboard) -> str:
    """What `scorer leaderboard` shows of one score."""
    tables = [_board_rows(table) for table in (found.systems, found.tasks) if table is not None]
    return _paragraphs(name, *map(aligned, tables), noted(found.notes))


def _board_rows(table: pl.DataFrame) -> Rows:
    """The rows of a leaderboard: ranks as intervals, and no column that says what another one does."""
    if "raw" in table.columns:
        same = ["raw"] if table["raw"].equals(table["mean"]) else []
        table = table.drop(same + ([] if table["unread"].sum() else ["at_lowest", "at_highest", "unread"]))
    rows = []
    for row in _with_intervals(table):
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
    for given in _with_intervals(_without_empty(differences)):
        row = dict(given)
        better, against = row.pop("better"), row.pop("against")
        shown: dict[str, Any] = {key: row.pop(key) for key in ("task", "variant", "measure") if key in row}
        shown |= {"minus": against, "value": row.pop("value")}
        shown["better"] = None if better is None else "yes" if better == shown["variant"] else "no"
        rows.append({**shown, **{_ENDS.get(key, key): value for key, value in row.items()}})
    shown_levels = [
        {_ENDS.get(key, key): value for key, value in row.items()} for row in _with_intervals(_without_empty(levels))
    ]
    return _paragraphs(name, aligned(shown_levels), aligned(rows), noted(found.notes))


def _without_empty(table: pl.DataFrame) -> pl.DataFrame:
    return table.drop("task") if table["task"].null_count() == len(table) else table.with_columns(
        pl.col("task").fill_null("(all)")
    )  # fmt: skip


def measured_text(file: str, found: Summary) -> str:
    """What `scorer metrics` shows."""
    rows = [{"metric": name, "rows scored": found.scored[name], "mean": found.mean[name]} for name in found.scored]
    return _paragraphs(f"{file}: {found.rows:,} rows", aligned(rows))
