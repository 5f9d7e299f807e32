"""Anthropic's Message Batches. They keep no name: the custom_ids in the results alone prove whose a batch is.

https://docs.claude.com/en/api/creating-message-batches
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, BinaryIO

import msgspec

from scorer.batch.base import HttpBatches
from scorer.batch.fields import count, id_of, seconds, text
from scorer.batch.http import Streamed
from scorer.batch.listing import listed
from scorer.batch.types import Batch, Bounds, Frame, ResultLine
from scorer.client.providers.anthropic import STATUS_OF_ERROR
from scorer.types import Call, Reply

_COUNTS = ("processing", "succeeded", "errored", "canceled", "expired")

_Inner = msgspec.defstruct("_Inner", [("type", Any, None)])
_Error = msgspec.defstruct("_Error", [("error", _Inner | None, None)])
_Outcome = msgspec.defstruct(
    "_Outcome",
    [("type", Any, None), ("message", msgspec.Raw, msgspec.Raw(b"")), ("error", msgspec.Raw, msgspec.Raw(b""))],
)
_Line = msgspec.defstruct("_Line", [("custom_id", str), ("result", _Outcome)])
_decode = msgspec.json.Decoder(_Line).decode
_decode_error = msgspec.json.Decoder(_Error).decode


class AnthropicBatches(HttpBatches):
    """A `BatchApi`. Requests are sent with the batch; nothing is uploaded before."""

    path = "/messages/batches"
    bounds = Bounds(requests=100_000, bytes=256_000_000)
    frame = Frame(b'{"requests":[', b",", b"]}")
    names = False

    def line(self, custom_id: str, call: Call) -> bytes:
        return b'{"custom_id":"%s","params":%s}' % (custom_id.encode(), call.body)

    async def upload(self, requests: BinaryIO, size: int, nonce: str) -> str:
        return ""

    async def create(self, requests: BinaryIO, size: int, nonce: str, input_id: str, call: Call) -> Batch:
        return self._made(await self._http.make(self.path, Streamed(requests, size, self._http.offload)))

    def listed(self, since: float) -> AsyncIterator[Batch]:
        return listed(partial(self._http.get, self.path), "after_id", self._batch, since)

    async def fetch(self, id: str, into: BinaryIO) -> None:
        await self._http.fetch(f"{self.path}/{id}/results", into)

    def read(self, results: Iterable[bytes]) -> Iterator[ResultLine]:
        for line in results:
            try:
                found: Any = _decode(line)
                result = _result(found.custom_id, found.result)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                continue
            yield result

    async def discard(self, batch: Batch) -> None:
        pass

    def _batch(self, value: Mapping[str, Any]) -> Batch:
        counts, id = value.get("request_counts"), id_of(value, "batch")
        ended = value.get("processing_status") == "ended"
        return Batch(
            id=id,
            status="ended" if ended else "running",
            created_at=seconds(value.get("created_at")),
            requests=sum(count(counts, name) for name in _COUNTS),
            answered=count(counts, "succeeded") + count(counts, "errored"),
            results=(id,) if ended else (),
        )


def _result(custom_id: str, outcome: Any) -> ResultLine:
    if outcome.type == "succeeded" and bytes(outcome.message):
        return ResultLine(custom_id, Reply(200, {}, bytes(outcome.message)))
    if outcome.type == "errored" and bytes(outcome.error):
        said: Any = _decode_error(outcome.error)
        status = STATUS_OF_ERROR.get(text(said.error.type if said.error is not None else None), 500)
        return ResultLine(custom_id, Reply(status, {}, bytes(outcome.error)))
    return ResultLine(custom_id, None, text(outcome.type) or "no result")
