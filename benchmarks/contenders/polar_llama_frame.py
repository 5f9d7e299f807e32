"""polar_llama: the whole table as one polars expression, whose rows its Rust client sends.

Prompts are made beforehand by Python's format, as everywhere. It sends no `temperature` and no `max_tokens`. A row that
failed comes back as an error text, on which reading the score fails.

Variants: "" loses everything where it stops before the end, "checkpoint" keeps finished rows in its checkpoint store.
"""
# /// script
# dependencies = ["polar-llama==0.9.1", "polars==2.1.0"]
# ///

from __future__ import annotations

import os

import polars as pl

from benchmarks.task import COLUMNS, KEY, MODEL, PROMPT, Task, read_score, task


def score(given: Task) -> None:
    os.environ |= {
        "OPENAI_BASE_URL": given.url.removesuffix("/v1"),
        "OPENAI_API_KEY": KEY,
        "POLAR_LLAMA_MAX_CONCURRENCY": str(given.in_flight),
    }
    from polar_llama import inference_async

    rows = pl.read_parquet(given.rows, columns=list(COLUMNS))
    asked = rows.select("id", prompt=pl.Series([PROMPT.format_map(row) for row in rows.iter_rows(named=True)]))
    kept = f"{given.out}/checkpoint" if given.variant == "checkpoint" else None
    reply = inference_async(pl.col("prompt"), provider="openai", model=MODEL, checkpoint=kept)
    replies = asked.with_columns(reply=reply)
    scores = pl.Series([read_score(reply) for reply in replies["reply"]])
    replies.select("id", score=scores).write_parquet(given.scores)


if __name__ == "__main__":
    score(task())
