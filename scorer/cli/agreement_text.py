"""The result of `scorer agree` as text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from scorer.analysis.agree_result import Agreement, Level, Levels, ScoreAgreement
from scorer.analysis.correlation import STATISTICS
from scorer.analysis.inter_judge import InterJudge
from scorer.analysis.unread import unread_notes
from scorer.cli.analysis_text import named_values, pooled_and_within, task_scale_table
from scorer.cli.text_table import aligned, cell, noted, paragraphs, wrapped

LEVELS = {"dataset": "all rows", "item": "within items", "system": "over systems"}
SHORT = {"pairwise_accuracy": "accuracy", "pairwise_accuracy_calibrated": "accuracy calibrated"}


def agreement_text(found: Agreement) -> str:
    """What `scorer agree` shows."""
    scores = found.scores.items()
    rows = [row for name, score in scores for row in _agreement_rows(name, score)]
    if found.ceiling is not None:
        for level, statistics in found.ceiling.statistics.items():
            values = {SHORT.get(s, s): statistics.get(s) for s in STATISTICS}
            same = dict.fromkeys(rows[0])
            rows.append({**same, "score": "(people)", "level": LEVELS[level], **values})
    return paragraphs(
        f"{found.rows:,} rows, {found.unlabelled:,} of them without a human value",
        aligned(rows),
        "\n".join(wrapped(f"{name}, {where}: {note}") for name, score in scores for where, note in _notes(score)),
        "\n".join(named_values(f"{name}, as labels", score.labels) for name, score in scores if score.labels),
        noted([f"{name}: {score.unlike}" for name, score in scores if score.unlike]),
        noted([f"{name}: {note}" for name, score in scores for note in unread_notes(score.unread, human=True)]),
        "" if found.ceiling is None else named_values("people, Krippendorff's alpha", found.ceiling.alpha),
        *(_task_text(name, score) for name, score in scores if score.within is not None),
        "\n".join(
            wrapped(
                f"{c.better} minus {c.than}: {c.statistic} {LEVELS[c.level]} {cell(c.difference)}, p = {cell(c.p)} "
                f"(PERM-BOTH, {c.n:,} rows)"
            )
            for c in found.comparisons
        ),
    )


def inter_judge_text(found: InterJudge) -> str:
    """What `scorer agree` shows without human values."""
    rows = [
        {
            "judge": pair.first,
            "against": pair.second,
            **{k: v for k, v in row.items() if k not in ("score", "no verdict")},
        }
        for pair in found.pairs
        for row in _agreement_rows(pair.first, pair.agreement)
    ]
    missing = [
        f"rows with {first} and not {second}: {one:,}"
        for pair in found.pairs
        for one, first, second in (
            (pair.only_first, pair.first, pair.second),
            (pair.only_second, pair.second, pair.first),
        )
        if one
    ]
    names = [(f"{pair.first} and {pair.second}", pair.agreement) for pair in found.pairs]
    return paragraphs(
        f"{found.rows:,} rows",
        aligned(rows),
        "\n".join(wrapped(f"{name}, {where}: {note}") for name, score in names for where, note in _notes(score)),
        "\n".join(named_values(f"{name}, as labels", score.labels) for name, score in names if score.labels),
        noted([f"Left out of their pair: {'; '.join(missing)}."] if missing else []),
        named_values("all judges, Krippendorff's alpha", found.alpha),
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


def _task_text(name: str, score: ScoreAgreement) -> str:
    task_scales = {task: scale for task, (_, scale) in score.tasks.items() if scale is not None}
    pooled = {s: score.whole.dataset.statistics.get(s) for s in STATISTICS}
    pooled_table = pooled_and_within(pooled, score.within or {})
    return f"{name}, each task against people\n{task_scale_table(task_scales)}\n{pooled_table}"
