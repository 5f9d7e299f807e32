"""LiteLLM's acompletion under a semaphore, gathered; its own retries.

Not 1.107.0: a package note calls that version compromised.
"""
# /// script
# dependencies = ["litellm==1.106.2", "pyarrow==26.0.1"]
# ///

from __future__ import annotations

import asyncio
import os

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else its import asks the network for prices

import litellm
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.task import COLUMNS, KEY, MAX_OUTPUT_TOKENS, MODEL, PROMPT, Task, read_score, task


async def score(given: Task) -> None:
    rows = pq.read_table(given.rows, columns=list(COLUMNS)).to_pylist()
    places = asyncio.Semaphore(given.in_flight)

    async def one(row: dict[str, str]) -> int:
        async with places:
            reply = await litellm.acompletion(
                model=f"openai/{MODEL}",
                api_base=given.url,
                api_key=KEY,
                messages=[{"role": "user", "content": PROMPT.format_map(row)}],
                temperature=0,
                max_tokens=MAX_OUTPUT_TOKENS,
                num_retries=5,
            )
        return read_score(reply.choices[0].message.content)

    scores = await asyncio.gather(*(one(row) for row in rows))
    pq.write_table(pa.table({"id": [row["id"] for row in rows], "score": scores}), given.scores)


if __name__ == "__main__":
    litellm.telemetry = False
    litellm.suppress_debug_info = True
    asyncio.run(score(task()))
