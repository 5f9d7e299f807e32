"""The way of the OpenAI cookbook's parallel request script, rebuilt from its description; not its text.

Requests from a JSONL file, one dispatcher that counts each with tiktoken and sleeps 1 ms between two, a task per
request over aiohttp as it comes, each reply appended to a JSONL file as it arrives, 15 s of rest after a 429. Limits
are set out of reach unless the variant declares some; `in_flight` is none of its dials: aiohttp's own 100 connections
bound it.
"""
# /// script
# dependencies = ["aiohttp==3.14.5", "tiktoken==0.14.0", "pyarrow==26.0.1"]
# ///

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import aiohttp
import pyarrow as pa
import pyarrow.parquet as pq
import tiktoken

from benchmarks.task import COLUMNS, KEY, MAX_OUTPUT_TOKENS, MODEL, PROMPT, Task, read_score, task

PER_MINUTE = 1e12
ATTEMPTS = 5
PAUSE_S = 0.001
REST_S = 15.0


async def dispatch(given: Task, requests: Path, replies: Path) -> None:
    count = tiktoken.get_encoding("o200k_base").encode
    again: asyncio.Queue[tuple[dict[str, Any], int]] = asyncio.Queue()
    most = float(given.limits.get("requests_per_minute", PER_MINUTE))
    most_tokens = float(given.limits.get("tokens_per_minute", PER_MINUTE))
    places, tokens_left, resting_until = most, most_tokens, 0.0
    updated, open_requests, ended = time.time(), 0, False

    async def call(session: aiohttp.ClientSession, request: dict[str, Any], attempts: int) -> None:
        nonlocal open_requests, resting_until
        try:
            async with session.post(f"{given.url}/chat/completions", json=request["body"]) as response:
                reply = await response.json()
            if "error" in reply:
                if "rate limit" in str(reply["error"]).lower():
                    resting_until = time.time() + REST_S
                raise aiohttp.ClientError(str(reply["error"]))
        except aiohttp.ClientError:
            if attempts == 1:
                raise
            again.put_nowait((request, attempts - 1))
        else:
            with replies.open("a") as file:
                file.write(json.dumps([request["id"], reply]) + "\n")
            open_requests -= 1

    headers = {"Authorization": f"Bearer {KEY}"}
    async with aiohttp.ClientSession(headers=headers) as session, asyncio.TaskGroup() as group:
        with requests.open() as lines:
            waiting: tuple[dict[str, Any], int] | None = None
            while True:
                if waiting is None:
                    if not again.empty():
                        waiting = again.get_nowait()
                    elif not ended:
                        line = lines.readline()
                        ended = not line
                        if line:
                            waiting = (json.loads(line), ATTEMPTS)
                            open_requests += 1
                now = time.time()
                passed_s, updated = now - updated, now
                places = min(places + most * passed_s / 60, most)
                tokens_left = min(tokens_left + most_tokens * passed_s / 60, most_tokens)
                if waiting is not None:
                    request, attempts = waiting
                    tokens = MAX_OUTPUT_TOKENS + sum(len(count(m["content"])) for m in request["body"]["messages"])
                    if places >= 1 and tokens_left >= tokens:
                        places, tokens_left = places - 1, tokens_left - tokens
                        group.create_task(call(session, request, attempts))
                        waiting = None
                if ended and not open_requests:
                    break
                await asyncio.sleep(max(PAUSE_S, resting_until - time.time()))


def main() -> None:
    given = task()
    requests, replies = Path(given.out, "requests.jsonl"), Path(given.out, "replies.jsonl")
    with requests.open("w") as file:
        for batch in pq.ParquetFile(given.rows).iter_batches(columns=list(COLUMNS)):
            for row in batch.to_pylist():
                body = {
                    "model": MODEL,
                    "messages": [{"role": "user", "content": PROMPT.format_map(row)}],
                    "temperature": 0,
                    "max_tokens": MAX_OUTPUT_TOKENS,
                }
                file.write(json.dumps({"id": row["id"], "body": body}) + "\n")
    asyncio.run(dispatch(given, requests, replies))
    ids, scores = [], []
    with replies.open() as file:
        for identity, reply in map(json.loads, file):
            ids.append(identity)
            scores.append(read_score(reply["choices"][0]["message"]["content"]))
    pq.write_table(pa.table({"id": ids, "score": scores}), given.scores)


if __name__ == "__main__":
    main()
