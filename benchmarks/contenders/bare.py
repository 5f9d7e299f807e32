"""The limit: nothing but the work, on one loop. No store, no ledger, no limits, no retry; a crash loses everything.

Variants: "tokens" counts each prompt with tiktoken on the loop's thread; "exchange" posts through our own transport, so
that the limit of our way is seen too, and not only that of aiohttp's session.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager

import aiohttp
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import uvloop

from benchmarks.task import COLUMNS, MAX_OUTPUT_TOKENS, MODEL, PROMPT, Task, read_score, task


def read(path: str) -> Iterator[dict[str, str]]:
    for batch in pq.ParquetFile(path).iter_batches(batch_size=256, columns=list(COLUMNS)):
        yield from batch.to_pylist()


@asynccontextmanager
async def poster(given: Task) -> AsyncIterator[Callable[[bytes], Awaitable[bytes]]]:
    """What posts a body to the judge and returns the reply's."""
    url, headers = f"{given.url}/chat/completions", {"Content-Type": "application/json"}
    if given.variant == "exchange":
        from scorer.client.transport import HttpTransport
        from scorer.types import Call

        async with HttpTransport(connections=given.in_flight, timeout_s=600) as wire:

            async def through(body: bytes) -> bytes:
                return (await wire.post(Call(url, body, headers))).body

            yield through
        return
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        headers=headers,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None),
    ) as session:

        async def post(body: bytes) -> bytes:
            async with session.post(url, data=body) as response:
                return await response.read()

        yield post


async def score(given: Task) -> None:
    count = None
    if given.variant == "tokens":
        import tiktoken

        count = tiktoken.get_encoding("o200k_base").encode_ordinary
    rows = read(given.rows)
    done: list[tuple[str, int, int]] = []

    async def work(post: Callable[[bytes], Awaitable[bytes]]) -> None:
        for row in rows:
            prompt = PROMPT.format_map(row)
            tokens = 0 if count is None else len(count(prompt))
            body = {
                "model": MODEL,
                "messages": [{"role": "user", "content": prompt}],
                "temperature": 0,
                "max_tokens": MAX_OUTPUT_TOKENS,
            }
            reply = orjson.loads(await post(orjson.dumps(body)))
            done.append((row["id"], read_score(reply["choices"][0]["message"]["content"]), tokens))

    async with poster(given) as post, asyncio.TaskGroup() as group:
        for _ in range(given.in_flight):
            group.create_task(work(post))
    ids, scores, tokens = zip(*done, strict=True)
    pq.write_table(pa.table({"id": ids, "score": scores, "tokens": tokens}), given.scores, compression="zstd")


if __name__ == "__main__":
    uvloop.run(score(task()))
