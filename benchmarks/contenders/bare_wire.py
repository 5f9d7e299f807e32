"""The reference: the benchmark's task over an `asyncio.Protocol` and httptools, one row after another a connection.

No task, no future and no pool: a connection asks for the next row when it has a reply. It trusts the judge: no timeout,
no retry, no check of how a reply is framed beyond llhttp's. TLS where the judge's address says https.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from urllib.parse import urlsplit

import httptools
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import uvloop

from benchmarks.task import COLUMNS, KEY, MAX_OUTPUT_TOKENS, MODEL, PROMPT, Task, read_score, task


def read(path: str) -> Iterator[dict[str, str]]:
    for batch in pq.ParquetFile(path).iter_batches(batch_size=256, columns=list(COLUMNS)):
        yield from batch.to_pylist()


class Asking(asyncio.Protocol):
    """One connection: the rows that it asked, and their scores, go into `done`."""

    def __init__(self, rows: Iterator[dict[str, str]], head: bytes, done: list[tuple[str, int]]) -> None:
        self.ended = asyncio.get_running_loop().create_future()
        self._rows = rows
        self._head = head
        self._done = done
        self._parts: list[bytes] = []
        self._row = ""
        self._parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._next()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_exception(error or ConnectionError("the judge closed the connection"))

    def on_body(self, part: bytes) -> None:
        self._parts.append(part)

    def on_message_complete(self) -> None:
        if (status := self._parser.get_status_code()) != 200:
            raise ValueError(f"status {status}")
        reply = orjson.loads(b"".join(self._parts))
        self._parts.clear()
        self._done.append((self._row, read_score(reply["choices"][0]["message"]["content"])))
        self._next()

    def _next(self) -> None:
        row = next(self._rows, None)
        if row is None:
            self.ended.set_result(None)
            self._transport.close()
            return
        self._row = row["id"]
        body = orjson.dumps(
            {
                "model": MODEL,
                "messages": [{"role": "user", "content": PROMPT.format_map(row)}],
                "temperature": 0,
                "max_tokens": MAX_OUTPUT_TOKENS,
            }
        )
        self._transport.write(b"%b%d\r\n\r\n%b" % (self._head, len(body), body))  # type: ignore[attr-defined]


async def score(given: Task) -> None:
    address = urlsplit(given.url)
    head = (
        f"POST {address.path}/chat/completions HTTP/1.1\r\nHost: {address.netloc}\r\nAuthorization: Bearer {KEY}\r\n"
        "Content-Type: application/json\r\nAccept: */*\r\nContent-Length: "
    ).encode()
    rows, done = read(given.rows), list[tuple[str, int]]()
    loop = asyncio.get_running_loop()
    context = ssl.create_default_context() if address.scheme == "https" else None
    opened = await asyncio.gather(
        *(
            loop.create_connection(lambda: Asking(rows, head, done), address.hostname, address.port, ssl=context)
            for _ in range(given.in_flight)
        )
    )
    await asyncio.gather(*(asking.ended for _, asking in opened))
    ids, scores = zip(*done, strict=True)
    pq.write_table(pa.table({"id": ids, "score": scores}), given.scores, compression="zstd")


if __name__ == "__main__":
    uvloop.run(score(task()))
