"""Together's batch jobs. Lines and results are OpenAI's; the rest differs.

A job has no metadata, so the name of its file is its nonce. It has no counts either. A listing is one array.
https://docs.together.ai/reference/batch-create, https://docs.together.ai/reference/upload-file (November 2026)
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any, BinaryIO

import orjson

from scorer.batch.fields import text
from scorer.batch.openai import WINDOW, OpenAIBatches, batch_in_files
from scorer.batch.types import Batch, Bounds, Problem, Unresolved
from scorer.types import Call

_ENDED = frozenset({"COMPLETED", "EXPIRED", "CANCELLED", "FAILED"})


class TogetherBatches(OpenAIBatches):
    """A `BatchApi`."""

    bounds = Bounds(requests=50_000, bytes=100_000_000)
    upload_path = "/files/upload"

    def line(self, custom_id: str, call: Call) -> bytes:
        return b'{"custom_id":"%s","body":%s}' % (custom_id.encode(), call.body)

    def upload_fields(self, nonce: str) -> dict[str, str]:
        return {"purpose": "batch-api", "file_name": f"{nonce}.jsonl", "file_type": "jsonl"}

    async def create(self, requests: BinaryIO, size: int, nonce: str, input_id: str, call: Call) -> Batch:
        asked = {"input_file_id": input_id, "endpoint": self._endpoint(call), "completion_window": WINDOW}
        made = await self._http.make(self.path, orjson.dumps(asked))
        job = made.get("job")
        if not isinstance(job, dict):
            raise Unresolved("the provider answered to a new batch without a job")
        return replace(self._made(job), nonce=nonce)

    async def listed(self, since: float) -> AsyncIterator[Batch]:
        for value in await self._http.get_list(self.path):
            batch = self._batch(value)
            if batch.created_at >= since:
                yield await self._named(batch)

    def _batch(self, value: Mapping[str, Any]) -> Batch:
        said = text(value.get("status")).upper()
        files = text(value.get("output_file_id")), text(value.get("error_file_id"))
        refused = said == "FAILED" and not any(files)
        batch = batch_in_files(
            value,
            "failed" if refused else "ended" if said in _ENDED else "running",
            requests=0,
            counts=(0, 0),
            files=files,
            input_id=text(value.get("input_file_id")),
            problem=Problem("", text(value.get("error"))) if refused else None,
        )
        return replace(batch, uncounted=said == "COMPLETED", awaited=said == "COMPLETED" and not any(files))
