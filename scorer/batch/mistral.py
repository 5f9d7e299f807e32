"""Mistral's batch jobs. Files and lines are OpenAI's; jobs have words of their own, and pages are numbered.

https://docs.mistral.ai/api/endpoint/batch
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any, BinaryIO

import orjson

from scorer.batch.fields import count, text
from scorer.batch.openai import NONCE, OpenAIBatches, batch_in_files
from scorer.batch.types import Batch, Bounds, Problem
from scorer.errors import ServerFault
from scorer.types import Call

PAGE = 100
HOURS = 24
_ENDED = frozenset({"success", "timeout_exceeded", "timed_out", "cancelled", "failed"})


class MistralBatches(OpenAIBatches):
    """A `BatchApi`."""

    path = "/batch/jobs"
    bounds = Bounds(requests=100_000, bytes=500_000_000)

    def line(self, custom_id: str, call: Call) -> bytes:
        return b'{"custom_id":"%s","body":%s}' % (custom_id.encode(), call.body)

    async def create(self, requests: BinaryIO, size: int, nonce: str, input_id: str, call: Call) -> Batch:
        asked = {
            "input_files": [input_id],
            "model": orjson.loads(call.body).get("model"),
            "endpoint": self._endpoint(call),
            "timeout_hours": HOURS,
            "metadata": {NONCE: nonce},
        }
        return self._made(await self._http.make(self.path, orjson.dumps(asked)))

    async def listed(self, since: float) -> AsyncIterator[Batch]:
        query: dict[str, str | int] = {"page_size": PAGE}
        if since < datetime.max.replace(tzinfo=UTC).timestamp():
            query["created_after"] = datetime.fromtimestamp(since, UTC).isoformat()
        for page in range(1_000_000):
            found = await self._http.get(self.path, {**query, "page": page})
            data = found.get("data")
            if data is None and not found.get("total"):
                return
            if not isinstance(data, list) or not all(isinstance(one, dict) for one in data):
                raise ServerFault("the provider answered with a listing that has no data", garbled=True)
            for value in data:
                batch = self._batch(value)
                if batch.created_at >= since:
                    yield await self._named(batch)
            if len(data) < PAGE or since == float("inf"):
                return

    def _batch(self, value: Mapping[str, Any]) -> Batch:
        said, inputs = text(value.get("status")).lower(), value.get("input_files")
        counts = count(value, "succeeded_requests"), count(value, "failed_requests")
        files = text(value.get("output_file")), text(value.get("error_file"))
        refused = said == "failed" and not (counts[0] or files[0])
        return batch_in_files(
            value,
            "failed" if refused else "ended" if said in _ENDED else "running",
            requests=count(value, "total_requests"),
            counts=counts,
            files=files,
            input_id=text(inputs[0]) if isinstance(inputs, list) and inputs else "",
            problem=_problem(value.get("errors")) if refused else None,
        )


def _problem(errors: Any) -> Problem:
    first = next((one for one in errors if isinstance(one, dict)), {}) if isinstance(errors, list) else {}
    return Problem(text(first.get("code")), text(first.get("message")))
