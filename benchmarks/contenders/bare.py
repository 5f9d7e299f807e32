"""The limit: nothing but the work, on one loop. No store, no ledger, no limits, no retry; a crash loses everything.

Variant "tokens": tiktoken counts each prompt on the loop's thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial

import aiohttp
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import uvloop

from benchmarks.task import COLUMNS, MAX_OUTPUT_TOKENS, MODEL, PROMPT, Task, read_score, task


def read(path: str) -> Iterator[dict[str, str]]:
    for batch in pq.ParquetFile(path).iter_batches(batch_size=256, columns=list(COLUMNS)):
        yield from batch.to_pylist()


async def score(given: Task) -> None:
    count = None
    if given.variant == "tokens":
        import tiktoken

        count = tiktoken.get_encoding("o200k_base").encode_ordinary
    rows = read(given.rows)
    done: list[tuple[str, int, int]] = []
    connector = aiohttp.TCPConnector(limit=0)
    headers = {"Content-Type": "application/json"}

    async def work(session: aiohttp.ClientSession) -> None:
        post = partial(session.post, f"{given.url}/chat/completions")
        for row in rows:
            prompt = PROMPT.format_map(row)
            tokens = 0 if count is None else len(count(prompt))
            body = {
                "model": MODEL,
                "messages": [{"role": "user", "content": prompt}],
                "temperature": 0,
                "max_tokens": MAX_OUTPUT_TOKENS,
            }
            async with post(data=orjson.dumps(body)) as response:
                reply = orjson.loads(await response.read())
            done.append((row["id"], read_score(reply["choices"][0]["message"]["content"]), tokens))

    async with (
        aiohttp.ClientSession(
            connector=connector,
            headers=headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),
        ) as session,
        asyncio.TaskGroup() as group,
    ):
        for _ in range(given.in_flight):
            group.create_task(work(session))
    ids, scores, tokens = zip(*done, strict=True)
    pq.write_table(pa.table({"id": ids, "score": scores, "tokens": tokens}), given.scores, compression="zstd")


if __name__ == "__main__":
    uvloop.run(score(task()))
