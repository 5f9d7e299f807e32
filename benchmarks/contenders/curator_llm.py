"""Bespoke Labs' Curator: an LLM subclass over a Hugging Face dataset, its own cache on disk, its own retries."""
# /// script
# dependencies = ["bespokelabs-curator==0.1.31", "pyarrow==26.0.1"]
# ///

from __future__ import annotations

import os

os.environ |= {
    "TELEMETRY_ENABLED": "false",
    "CURATOR_DISABLE_RICH_DISPLAY": "1",
    "HF_HUB_OFFLINE": "1",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
}

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from bespokelabs import curator
from datasets import Dataset

from benchmarks.task import COLUMNS, KEY, MAX_OUTPUT_TOKENS, MODEL, PROMPT, read_score, task

FAR_AWAY = 10**9


class Scorer(curator.LLM):  # type: ignore[misc]
    def prompt(self, row: dict[str, Any]) -> str:
        return PROMPT.format_map(row)

    def parse(self, row: dict[str, Any], response: str) -> dict[str, Any]:
        return {"id": row["id"], "score": read_score(response)}


def main() -> None:
    given = task()
    os.environ["OPENAI_API_KEY"] = KEY
    model = Scorer(
        model_name=MODEL,
        backend="openai",
        generation_params={"temperature": 0, "max_tokens": MAX_OUTPUT_TOKENS},
        backend_params={
            "base_url": given.url,
            "max_requests_per_minute": given.limits.get("requests_per_minute", FAR_AWAY),
            "max_tokens_per_minute": given.limits.get("tokens_per_minute", FAR_AWAY),
            "max_concurrent_requests": given.in_flight,
        },
    )
    rows = Dataset.from_list(pq.read_table(given.rows, columns=list(COLUMNS)).to_pylist())
    found = model(rows, working_dir=f"{given.out}/curator")
    scores = getattr(found, "dataset", found)
    pq.write_table(pa.table({"id": scores["id"][:], "score": scores["score"][:]}), given.scores)


if __name__ == "__main__":
    main()
