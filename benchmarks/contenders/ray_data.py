"""Ray Data's HTTP request processor on one machine: read_parquet, build_processor, write_parquet.

One worker, so that it has one core like everybody; its batch is all it sends at once, so `in_flight` is the batch size.
Ray's own processes are not children that it waits for: their CPU and memory are missing from the table.
"""
# /// script
# dependencies = ["ray[data]==2.60.0", "pydantic==2.14.3", "aiohttp==3.14.5", "pyarrow==26.0.1"]
# ///

from __future__ import annotations

import os

os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DATA_DISABLE_PROGRESS_BARS": "1"}

from typing import Any

import ray
from ray.data.llm import HttpRequestProcessorConfig, build_processor

from benchmarks.task import COLUMNS, KEY, MAX_OUTPUT_TOKENS, MODEL, PROMPT, read_score, task


def ask(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": row["id"],
        "payload": {
            "model": MODEL,
            "messages": [{"role": "user", "content": PROMPT.format_map(row)}],
            "temperature": 0,
            "max_tokens": MAX_OUTPUT_TOKENS,
        },
    }


def read(row: dict[str, Any]) -> dict[str, Any]:
    return {"id": row["id"], "score": read_score(row["http_response"]["choices"][0]["message"]["content"])}


def main() -> None:
    given = task()
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, _node_ip_address="127.0.0.1")
    config = HttpRequestProcessorConfig(
        url=f"{given.url}/chat/completions",
        headers={"Authorization": f"Bearer {KEY}"},
        batch_size=given.in_flight,
        concurrency=1,
    )
    processor = build_processor(config, preprocess=ask, postprocess=read)
    processor(ray.data.read_parquet(given.rows, columns=list(COLUMNS))).write_parquet(os.path.dirname(given.scores))


if __name__ == "__main__":
    main()
