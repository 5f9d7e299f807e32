"""What most people write first: the OpenAI SDK, a semaphore, one gather over all rows.

Variants: "httpx" is the SDK as it comes (httpx, by now its successor httpx2), "aiohttp" its other transport. Retries
are the SDK's own. Everything is lost where it stops before the end.
"""
# /// script
# dependencies = ["openai[aiohttp]==3.54.0", "pyarrow==26.0.1"]
# ///

from __future__ import annotations

import asyncio

import pyarrow as pa
import pyarrow.parquet as pq
from openai import AsyncOpenAI, DefaultAioHttpClient

from benchmarks.task import COLUMNS, KEY, MAX_OUTPUT_TOKENS, MODEL, PROMPT, Task, read_score, task


async def score(given: Task) -> None:
    rows = pq.read_table(given.rows, columns=list(COLUMNS)).to_pylist()
    places = asyncio.Semaphore(given.in_flight)
    http = DefaultAioHttpClient() if given.variant == "aiohttp" else None
    async with AsyncOpenAI(base_url=given.url, api_key=KEY, http_client=http) as client:

        async def one(row: dict[str, str]) -> int:
            async with places:
                reply = await client.chat.completions.create(
                    model=MODEL,
                    messages=[{"role": "user", "content": PROMPT.format_map(row)}],
                    temperature=0,
                    max_tokens=MAX_OUTPUT_TOKENS,
                )
            return read_score(reply.choices[0].message.content or "")

        scores = await asyncio.gather(*(one(row) for row in rows))
    pq.write_table(pa.table({"id": [row["id"] for row in rows], "score": scores}), given.scores)


if __name__ == "__main__":
    asyncio.run(score(task()))
