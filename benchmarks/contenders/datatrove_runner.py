"""datatrove's InferenceRunner against an endpoint, its writer behind it, without checkpoints (its default).

To a provider it speaks through the OpenAI SDK. To plain http://127.0.0.1 it has a shortcut: a bare socket for each
request, without TLS, pooling or proxies. Variant "loopback" takes that; the default names the same address as 127.1, so
that it goes the way that it goes to everybody else. Over TLS there is no shortcut, both variants are one, and 127.0.0.1
stays: the certificate names it. (With a certificate that it does not trust datatrove waits for the server.)
"""
# /// script
# dependencies = [
#   "datatrove==0.10.1", "aiofiles==25.1.0", "httpx==0.28.1", "openai==3.54.0", "orjson==3.13.0", "pyarrow==26.0.1",
# ]
# ///

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from datatrove.data import Document
from datatrove.pipeline.inference.run_inference import InferenceConfig, InferenceRunner
from datatrove.pipeline.writers import JsonlWriter

from benchmarks.task import COLUMNS, KEY, MAX_OUTPUT_TOKENS, MODEL, PROMPT, read_score, task


async def rollout(document: Document, generate: Callable[[dict[str, Any]], Awaitable[Any]]) -> int:
    reply = await generate({"messages": [{"role": "user", "content": document.text}]})
    return read_score(reply.text)


def main() -> None:
    given = task()
    shortcut = given.variant == "loopback" and given.url.startswith("http:")
    url = given.url if shortcut else given.url.replace("http://127.0.0.1", "http://127.1")
    runner = InferenceRunner(
        rollout_fn=rollout,
        config=InferenceConfig(
            server_type="endpoint",
            endpoint_url=url.removesuffix("/v1") if shortcut else url,
            api_key=KEY,
            model_name_or_path=MODEL,
            default_generation_params={"temperature": 0, "max_tokens": MAX_OUTPUT_TOKENS},
            max_concurrent_generations=given.in_flight,
        ),
        output_writer=JsonlWriter(f"{given.out}/jsonl", output_filename="${rank}.jsonl", compression=None),
    )
    documents = (
        Document(text=PROMPT.format_map(row), id=row["id"])
        for batch in pq.ParquetFile(given.rows).iter_batches(columns=list(COLUMNS))
        for row in batch.to_pylist()
    )
    for _ in runner.run(documents) or ():
        pass
    ids, scores = [], []
    for path in Path(given.out, "jsonl").glob("*.jsonl"):
        with path.open() as lines:
            for found in map(json.loads, lines):
                ids.append(found["id"])
                scores.append(found["metadata"]["rollout_results"][0])
    pq.write_table(pa.table({"id": ids, "score": scores}), given.scores)


if __name__ == "__main__":
    main()
