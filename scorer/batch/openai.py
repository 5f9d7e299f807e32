"""OpenAI's Batch API (/files and /batches), which Azure, Groq and LiteLLM's server speak too.

The nonce of a batch is in its metadata and in the name of its file, by which it is found where a server drops metadata.
https://platform.openai.com/docs/api-reference/batch
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, BinaryIO

import msgspec
import orjson

from scorer.batch.base import HttpBatches
from scorer.batch.fields import count, id_of, seconds, text
from scorer.batch.http import BatchHttp, Streamed
from scorer.batch.listing import listed
from scorer.batch.types import Batch, Bounds, Frame, Gone, Problem, ResultLine, Status, Unresolved
from scorer.errors import ServerFault
from scorer.types import Call, Reply

NONCE = "scorer"
"""The key of the metadata that holds the nonce."""
WINDOW = "24h"
_ENDED = frozenset({"completed", "expired", "cancelled"})
_DEPLOYMENT = re.compile(r"/deployments/[^/]+")

_Response = msgspec.defstruct("_Response", [("status_code", Any, 0), ("body", msgspec.Raw, msgspec.Raw(b""))])
_Error = msgspec.defstruct("_Error", [("code", Any, None), ("message", Any, None)])
_Line = msgspec.defstruct(
    "_Line", [("custom_id", str), ("response", _Response | None, None), ("error", _Error | None, None)]
)
_decode = msgspec.json.Decoder(_Line).decode


def without_deployment(url: str) -> str:
    """An address of Azure's without the deployment: batches are the account's, and their requests name it as model."""
    return _DEPLOYMENT.sub("", url, count=1)


def batch_in_files(
    value: Mapping[str, Any],
    status: Status,
    *,
    requests: int,
    counts: tuple[int, int],
    files: tuple[str, str],
    input_id: str,
    problem: Problem | None,
) -> Batch:
    """A batch whose results are in two files: `counts` are of requests answered and failed, `files` where they are.

    The nonce is "" where there is no metadata, and the name of the input file has to tell.
    """
    metadata = value.get("metadata")
    missing = any(number and not file for number, file in zip(counts, files, strict=True))
    return Batch(
        id=id_of(value, "batch"),
        status=status,
        created_at=seconds(value.get("created_at")),
        nonce=text(metadata.get(NONCE)) or None if isinstance(metadata, dict) and metadata else "",
        requests=requests,
        answered=sum(counts),
        results=tuple(filter(None, files)),
        awaited=status == "ended" and missing,
        input_id=input_id,
        problem=problem,
    )


class OpenAIBatches(HttpBatches):
    """A `BatchApi`."""

    path = "/batches"
    upload_path = "/files"
    bounds = Bounds(requests=50_000, bytes=200_000_000)
    frame = Frame(between=b"\n", tail=b"\n")
    names = True

    def __init__(self, http: BatchHttp) -> None:
        super().__init__(http)
        self._file_names: dict[str, str | None] = {}

    def line(self, custom_id: str, call: Call) -> bytes:
        return b'{"custom_id":"%s","method":"POST","url":"%s","body":%s}' % (
            custom_id.encode(),
            self._endpoint(call).encode(),
            call.body,
        )

    def upload_fields(self, nonce: str) -> dict[str, str]:
        """The fields of an upload beside the file."""
        return {"purpose": "batch"}

    async def upload(self, requests: BinaryIO, size: int, nonce: str) -> str:
        edge = f"scorer-{nonce}"
        fields = [
            f'--{edge}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in self.upload_fields(nonce).items()
        ]
        file = f'--{edge}\r\nContent-Disposition: form-data; name="file"; filename="{nonce}.jsonl"\r\n'
        head = "".join((*fields, file, "Content-Type: application/jsonl\r\n\r\n"))
        body = Streamed(requests, size, self._http.offload, head.encode(), f"\r\n--{edge}--\r\n".encode())
        try:
            made = await self._http.make(
                self.upload_path, body, {"Content-Type": f"multipart/form-data; boundary={edge}"}
            )
        except Unresolved as error:  # a file is not billed; `discard` does not know this one
            raise ServerFault(str(error)) from error
        return id_of(made, "file")

    async def create(self, requests: BinaryIO, size: int, nonce: str, input_id: str, call: Call) -> Batch:
        asked = {
            "input_file_id": input_id,
            "endpoint": self._endpoint(call),
            "completion_window": WINDOW,
            "metadata": {NONCE: nonce},
        }
        return self._made(await self._http.make(self.path, orjson.dumps(asked)))

    async def listed(self, since: float) -> AsyncIterator[Batch]:
        async for batch in listed(partial(self._http.get, self.path), "after", self._batch, since):
            yield await self._named(batch)

    async def _named(self, batch: Batch) -> Batch:
        """The batch with the nonce in the name of its file, where it has no metadata at all."""
        if batch.nonce != "":
            return batch
        if batch.input_id and batch.input_id not in self._file_names:
            name = None
            with suppress(Gone):
                name = text((await self._http.get(f"/files/{batch.input_id}")).get("filename"))
            self._file_names[batch.input_id] = name.removesuffix(".jsonl") if name else None
        return replace(batch, nonce=self._file_names.get(batch.input_id))

    async def fetch(self, id: str, into: BinaryIO) -> None:
        await self._http.fetch(f"/files/{id}/content", into)

    def read(self, results: Iterable[bytes]) -> Iterator[ResultLine]:
        for line in results:
            try:
                found: Any = _decode(line)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                continue
            yield _result(found)

    async def discard(self, batch: Batch) -> None:
        if batch.input_id:
            with suppress(Gone):
                await self._http.delete(f"/files/{batch.input_id}")

    def _endpoint(self, call: Call) -> str:
        """The path that names the endpoint in a batch: from /v1 on, or what follows the address of a deployment."""
        path = without_deployment(call.url.partition("?")[0]).removeprefix(without_deployment(self._http.base_url))
        return f"/v1{path}" if self._http.base_url.endswith("/v1") else path

    def _batch(self, value: Mapping[str, Any]) -> Batch:
        said, counts = text(value.get("status")), value.get("request_counts")
        status: Status = "failed" if said == "failed" else "ended" if said in _ENDED else "running"
        return batch_in_files(
            value,
            status,
            requests=count(counts, "total"),
            counts=(count(counts, "completed"), count(counts, "failed")),
            files=(text(value.get("output_file_id")), text(value.get("error_file_id"))),
            input_id=text(value.get("input_file_id")),
            problem=_problem(value.get("errors")) if status == "failed" else None,
        )


def _problem(errors: Any) -> Problem:
    data = errors.get("data") if isinstance(errors, dict) else None
    first = next((one for one in data if isinstance(one, dict)), {}) if isinstance(data, list) else {}
    return Problem(text(first.get("code")), text(first.get("message")), count(first, "line") or None)


def _result(line: Any) -> ResultLine:
    response, error = line.response, line.error
    if error is not None or response is None:
        return ResultLine(line.custom_id, None, text(error.code if error is not None else None) or "no response")
    if type(response.status_code) is not int or not 100 <= response.status_code <= 599:
        return ResultLine(line.custom_id, None, f"status {response.status_code!r}")
    return ResultLine(line.custom_id, Reply(response.status_code, {}, bytes(response.body)))
