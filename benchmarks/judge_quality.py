"""Agreement of judges and metrics with human labels on published data; by hand, some minutes.

    python benchmarks/judge_quality.py FOLDER [--embedded 60] [--bootstrap 1000]

FOLDER (or SCORER_JUDGE_DATA) holds topical_chat_items, topical_chat_judge_outputs, llmbar_pairs, llmbar_judge_outputs
as Parquet; the data are their authors' and no part of the repository. Everything goes the way of a user: stored replies
through `recorded`, metrics through `scorer metrics`, the embedded judge through `run`, then `agree` and `leaderboard`.

Topical-Chat: 60 dialogues x 6 systems, four human dimensions; metrics compare a response with the fact that it was to
use, since there is no reference. LLMBar: 419 pairs, one of which follows the instruction; a metric prefers the output
that it puts higher. The embedded judge sees the first `--embedded` responses, and as many pairs, and everybody is shown
on those too. Prints Markdown tables; the last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import polars as pl

from scorer import run, scan_scores
from scorer.analysis.agree import agree
from scorer.analysis.agree_result import Level
from scorer.analysis.bootstrap import Bootstrap
from scorer.analysis.leaderboard import leaderboard
from scorer.job.metrics_only import score_files

DIMENSIONS = {"naturalness": [1, 3], "coherence": [1, 3], "engagingness": [1, 3], "groundedness": [0, 1]}
METRICS = ("length", "rouge1", "rougeL", "bleu", "chrf", "embedding_similarity", "bert_score")
EMBEDDED = {"provider": "embedded", "name": "smollm2-135m"}

Shown = dict[str, Any]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("folder", nargs="?", default=os.environ.get("SCORER_JUDGE_DATA"))
    arguments.add_argument("--embedded", type=int, default=60)
    arguments.add_argument("--bootstrap", type=int, default=1000)
    options = arguments.parse_args()
    if options.folder is None:
        arguments.error("where are the data? Give their folder, or set SCORER_JUDGE_DATA.")
    data = Path(options.folder)
    missing = [name for name in ("topical_chat_items", "llmbar_pairs") if not (data / f"{name}.parquet").is_file()]
    if missing:
        sys.exit(f"{data} lacks {', '.join(f'{name}.parquet' for name in missing)}.")
    with tempfile.TemporaryDirectory() as scratch:
        figures = {
            "topical_chat": topical_chat(data, Path(scratch), options.embedded, options.bootstrap),
            "llmbar": llmbar(data, Path(scratch), options.embedded, options.bootstrap),
        }
    print(json.dumps(figures))


# --- Topical-Chat -----------------------------------------------------------------------------------------------------


def topical_chat(data: Path, scratch: Path, embedded: int, replicates: int) -> Shown:
    items = data / "topical_chat_items.parquet"
    measured = str(scratch / "measured.parquet")
    score_files([str(items)], measured, METRICS, "response", "context")
    table = pl.read_parquet(measured)
    for kind in ("geval", "analyze_rate"):
        for dimension, scale in DIMENSIONS.items():
            column = f"{kind}_{dimension}"
            table = table.join(_stored(data, scratch / column, kind, dimension, scale, column), on="id", how="left")
    if embedded:
        table = table.join(_likelihood(items, scratch, embedded), on="id", how="left")
    figures: Shown = {}
    for dimension in DIMENSIONS:
        judges = [f"{kind}_{dimension}" for kind in ("geval", "analyze_rate")]
        columns = [*judges, *(f"metric_{name}" for name in METRICS)]
        figures[dimension] = _topical_rows(table, columns, f"human_{dimension}", replicates)
        _show(f"Topical-Chat, {dimension}, {table.height} responses", figures[dimension])
        if embedded:
            seen = table.filter(pl.col("likelihood").is_not_null())
            few = _topical_rows(seen, ["likelihood", *columns], f"human_{dimension}", replicates)
            figures[f"{dimension}, embedded"] = few
            _show(f"Topical-Chat, {dimension}, the {seen.height} responses that the embedded judge saw", few)
    return figures


def _stored(data: Path, out: Path, kind: str, dimension: str, scale: list[int], column: str) -> pl.DataFrame:
    """Scores out of the stored replies, 20 an item, read by our own rule."""
    run(
        {
            "input": {"shards": [str(data / "topical_chat_items.parquet")], "id": "id"},
            "judge": {"kind": "rating", "prompt": "{response}", "scale": scale, "samples": 20, "attempts": 1},
            "model": {
                "provider": "recorded",
                "path": str(data / "topical_chat_judge_outputs.parquet"),
                "keys": ["id"],
                "replies": "judge_raw_outputs",
                "where": {"dimension": dimension, "prompt_kind": kind},
            },
            "limits": {"max_failed_share": 1.0},
            "output": {"path": str(out)},
        }
    )
    return scan_scores(str(out)).select("id", pl.col("score").alias(column)).collect()


def _likelihood(items: Path, scratch: Path, rows: int) -> pl.DataFrame:
    """The embedded judge's mean log-probability of the first responses, given dialogue and fact."""
    few = scratch / "few.parquet"
    pl.read_parquet(items).head(rows).write_parquet(few)
    run(
        {
            "input": {"shards": [str(few)], "id": "id"},
            "judge": {"kind": "likelihood", "prompt": "{context}\n{input}", "response": "response"},
            "model": EMBEDDED,
            "limits": {"max_failed_share": 1.0},
            "output": {"path": str(scratch / "likelihood")},
        }
    )
    return scan_scores(str(scratch / "likelihood")).select("id", likelihood="score").collect()


def _topical_rows(table: pl.DataFrame, columns: list[str], human: str, replicates: int) -> list[Shown]:
    found = agree(table.lazy(), columns, [human], item="doc_id", system="system", bootstrap=Bootstrap(replicates))
    rows = []
    for name, one in found.scores.items():
        whole = one.whole
        assert whole.item is not None
        assert whole.system is not None
        rows.append(
            {
                "scores": name,
                "n": whole.n,
                "Pearson, all rows": _with_interval(whole.dataset, "pearson"),
                "Spearman, all rows": _with_interval(whole.dataset, "spearman"),
                "tau-b within dialogues": _with_interval(whole.item, "kendall"),
                "Pearson over systems": _with_interval(whole.system, "pearson"),
            }
        )
    return rows


def _with_interval(level: Level, statistic: str) -> str:
    value, interval = level.statistics.get(statistic), level.intervals.get(statistic)
    if value is None:
        return "-"
    return f"{value:.3f}" + (f" [{interval[0]:.2f}, {interval[1]:.2f}]" if interval else "")


# --- LLMBar -----------------------------------------------------------------------------------------------------------


def llmbar(data: Path, scratch: Path, embedded: int, replicates: int) -> Shown:
    pairs = pl.read_parquet(data / "llmbar_pairs.parquet")
    preferences = [*_verdicts(data, scratch), *_ratings(data), *_preferred_by_metrics(data, scratch)]
    whole = _llmbar_rows(pairs, preferences, replicates)
    _show(f"LLMBar, {pairs.height} pairs: share of pairs in which the right output is preferred", whole)
    figures: Shown = {"all": whole}
    if embedded:
        # Every seventh pair or so, so that all subsets are among them.
        few = pairs.gather_every(-(-pairs.height // embedded))
        likelihood = _preferred_by_likelihood(few, scratch)
        figures["embedded"] = _llmbar_rows(few, [likelihood, *preferences], replicates)
        _show(f"LLMBar, the {few.height} pairs that the embedded judge saw", figures["embedded"])
    return figures


def _verdicts(data: Path, scratch: Path) -> list[pl.DataFrame]:
    """Preferences out of the stored verdicts, both orders; what flips with the order is half a point."""
    outputs = pl.read_parquet(data / "llmbar_judge_outputs.parquet").filter(kind="pairwise").sort("swapped")
    found = []
    for (judge, strategy), rows in outputs.group_by("judge_model", "strategy", maintain_order=True):
        name = f"{judge} {strategy}"
        replies = scratch / f"{name}.parquet"
        rows.group_by("id").agg(replies="judge_raw_output").write_parquet(replies)
        run(
            {
                "input": {"shards": [str(data / "llmbar_pairs.parquet")], "id": "id"},
                "judge": {
                    "kind": "pairwise",
                    "prompt": "{first}{second}",
                    "a": "output_1",
                    "b": "output_2",
                    "attempts": 1,
                },
                "model": {"provider": "recorded", "path": str(replies), "keys": ["id"], "replies": "replies"},
                "limits": {"max_failed_share": 1.0},
                "output": {"path": str(scratch / name)},
            }
        )
        scores = scan_scores(str(scratch / name)).select("id", preference="score", judge=pl.lit(name)).collect()
        found.append(scores)
    return found


def _ratings(data: Path) -> list[pl.DataFrame]:
    """Preferences out of the stored ratings of each output by itself, in both orders; equal ones are half a point.

    The raw ratings are bare numbers, so nothing is left to a judge's reading.
    """
    outputs = pl.read_parquet(data / "llmbar_judge_outputs.parquet").filter(kind="rating")
    one, two = (pl.col(f"rating_raw_{n}").str.extract(r"(\d+)").cast(pl.Float64) for n in (1, 2))
    scored = outputs.with_columns(judge=pl.format("{} {}", "judge_model", "strategy"), gap=(one - two).sign())
    by_pair = scored.group_by("judge", "id").agg(preference=(pl.col("gap").mean() + 1) / 2)
    return [part.select("id", "preference", "judge") for part in by_pair.sort("judge").partition_by("judge")]


def _preferred_by_metrics(data: Path, scratch: Path) -> list[pl.DataFrame]:
    """The output that a metric puts higher, against the instruction."""
    scored = []
    for side in ("output_1", "output_2"):
        out = str(scratch / f"{side}.parquet")
        score_files([str(data / "llmbar_pairs.parquet")], out, METRICS, side, "instruction")
        scored.append(pl.read_parquet(out))
    first, second = scored
    return [
        first.select(
            "id",
            preference=((pl.col(f"metric_{name}") - second[f"metric_{name}"]).sign() + 1) / 2,
            judge=pl.lit(f"metric_{name}"),
        )
        for name in METRICS
    ]


def _preferred_by_likelihood(pairs: pl.DataFrame, scratch: Path) -> pl.DataFrame:
    shard = scratch / "pairs.parquet"
    sides = [pairs.select("instruction", pair="id", side=pl.lit(n), output=f"output_{n}") for n in (1, 2)]
    pl.concat(sides).with_columns(key=pl.format("{}|{}", "pair", "side")).write_parquet(shard)
    run(
        {
            "input": {"shards": [str(shard)], "id": "key"},
            "judge": {"kind": "likelihood", "prompt": "{instruction}\n\n", "response": "output"},
            "model": EMBEDDED,
            "limits": {"max_failed_share": 1.0},
            "output": {"path": str(scratch / "pairs-likelihood")},
        }
    )
    scores = scan_scores(str(scratch / "pairs-likelihood"), join_input=True).select("pair", "side", "score").collect()
    wide = scores.pivot("side", index="pair", values="score")
    preference = ((pl.col("1") - pl.col("2")).sign() + 1) / 2
    return wide.select(id="pair", preference=preference, judge=pl.lit("likelihood"))


def _llmbar_rows(pairs: pl.DataFrame, preferences: list[pl.DataFrame], replicates: int) -> list[Shown]:
    rows = pl.concat(preferences, how="vertical_relaxed").join(pairs.select("id", "subset", "label"), on="id")
    rows = rows.with_columns(
        right=pl.when(pl.col("label") == 1).then("preference").otherwise(1 - pl.col("preference")),
        part=pl.when(pl.col("subset").str.contains("Natural")).then(pl.lit("natural")).otherwise(pl.lit("adversarial")),
    )
    board = leaderboard(rows.lazy(), "right", "judge", item="id", bootstrap=Bootstrap(replicates)).systems
    parts = leaderboard(rows.lazy(), "right", "judge", task="part", item="id", bootstrap=Bootstrap(replicates)).tasks
    assert parts is not None
    by_part = {(row["system"], row["task"]): row for row in parts.iter_rows(named=True)}
    return [
        {
            "rank": row["rank"],
            "judge": row["system"],
            "pairs": row["rows"],
            "unread": row["unread"],
            "right": _share(row),
            **{part: _share(by_part[row["system"], part]) for part in ("natural", "adversarial")},
        }
        for row in board.iter_rows(named=True)
    ]


def _share(row: Shown) -> str:
    if row["mean"] is None:
        return "-"
    return f"{row['mean']:.3f}" + ("" if row["low"] is None else f" [{row['low']:.2f}, {row['high']:.2f}]")


def _show(title: str, rows: list[Shown]) -> None:
    names = list(rows[0])
    print(f"\n### {title}\n")
    print(f"| {' | '.join(names)} |")
    print(f"|{' --- |' * len(names)}")
    for row in rows:
        print(f"| {' | '.join(str(row[name]) for name in names)} |", flush=True)


if __name__ == "__main__":
    main()
