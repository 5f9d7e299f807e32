"""Anthropic's message batches at the simulated judge. They have no name and no metadata.

https://docs.claude.com/en/api/creating-message-batches
"""

from __future__ import annotations

import re
from array import array
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, BinaryIO

import msgspec
import orjson

from scorer.rehearsal import messages
from scorer.rehearsal.batches.ask import Ask, Reply, json, refusal, spooled
from scorer.rehearsal.batches.batch import SimulatedBatch
from scorer.rehearsal.batches.log import LineFate
from scorer.rehearsal.batches.requests_file import CUSTOM_ID, Line, RequestsFile
from scorer.rehearsal.batches.store import BatchStore, page
from scorer.rehearsal.replies import FAILURES
from scorer.rehearsal.simulator import Outcome

_MOST = 100_000
_BATCH = re.compile(r"/messages/batches/([^/]+)(/cancel|/results)?")
_Request = msgspec.defstruct("_Request", [("custom_id", Any, None), ("params", msgspec.Raw, msgspec.Raw(b""))])
_Create = msgspec.defstruct("_Create", [("requests", list[_Request], [])])  # type: ignore[valid-type]
_decode = msgspec.json.Decoder(_Create).decode
_SUCCEEDED: tuple[LineFate, ...] = ("paid", "lost", "lost_paid")
_ERRORED: tuple[LineFate, ...] = ("declined", "error", "status_0")


class AnthropicBatchEndpoints:
    """Answers requests below /messages/batches."""

    def __init__(self, store: BatchStore) -> None:
        self._store = store
        self._wording = AnthropicWording()

    def answer(self, ask: Ask, now: float) -> Reply | None:
        """None where the path is none of these."""
        path = ask.path.rstrip("/")
        if path == "/messages/batches":
            reply = self._create(ask, now) if ask.method == "POST" else self._batches(ask, now)
        elif (found := _BATCH.fullmatch(path)) is not None:
            reply = self._batch(ask.method, found[1], found[2] or "", now)
        else:
            return None
        return reply if reply.status < 400 else replace(reply, body=messages.error(reply.status, reply.body))

    def _create(self, ask: Ask, now: float) -> Reply:
        store, config = self._store, self._store.config
        if ask.size > config.max_bytes:
            return refusal(413, "Request exceeds the maximum allowed number of bytes.")
        assert ask.body is not None
        ask.body.seek(0)
        try:
            found: Any = _decode(ask.body.read())
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            return refusal(400, f"requests: {error}")
        requests = found.requests
        most = min(_MOST, config.max_requests)
        if not 1 <= len(requests) <= most:
            return refusal(400, f"requests: from 1 to {most} are allowed, not {len(requests)}")
        ids = [one.custom_id for one in requests]
        if any(not isinstance(id, str) or not CUSTOM_ID.fullmatch(id) for id in ids):
            return refusal(400, f"requests.custom_id: String should match pattern '^{CUSTOM_ID.pattern}$'")
        if len(set(ids)) < len(ids):
            return refusal(400, "requests.custom_id: must be unique")
        if any(not bytes(one.params).startswith(b"{") for one in requests):
            return refusal(400, "requests.params: Field required")
        file, starts = _in_lines(requests)
        calm = replace(config, fail=0.0, token_limit=0.0, enqueued_tokens=0, validate_s=0.0, status_0_lines=0.0)

        def read() -> tuple[RequestsFile, str, int]:
            return RequestsFile(file, starts), "", 0

        extra = {"requests": len(requests)}
        lost = store.lost("create")
        made = store.make("msgbatch_", read, self._wording, "messages", extra, now, lost=lost, config=calm)
        return store.made(self._view(made), lost)

    def _batches(self, ask: Ask, now: float) -> Reply:
        store = self._store
        own = [(one.made_at, one.id) for one in store.batches.values() if "requests" in one.extra]
        return page(ask.query, store.shown(own, now), "after_id", 1000, 20, lambda id: self._view(store.batches[id]))

    def _batch(self, method: str, id: str, what: str, now: float) -> Reply:
        store, batch = self._store, self._store.batches.get(id)
        if batch is None or "requests" not in batch.extra:
            return refusal(404, f"Not found: {id}")
        if method == "DELETE":
            if batch.state != "ended":
                return refusal(400, "Only ended batches can be deleted.")
            del store.batches[id]
            return json({"id": id, "type": "message_batch_deleted"})
        if what == "/cancel":
            if batch.state == "ended":
                return refusal(400, "Batch has ended.")
            batch.cancel(now)
        elif what == "/results":
            if batch.state != "ended" or store.gone(batch, now):
                return refusal(404, f"No results: {id}")
            size = batch.extra.setdefault("size", batch.output.tell())
            return store.download(batch.output, size, id, "application/x-jsonl")
        return json(self._view(batch))

    def _view(self, batch: SimulatedBatch) -> dict[str, Any]:
        ended, asked = batch.state == "ended", batch.at.get("cancel")
        counts = {
            "processing": 0 if ended else batch.extra["requests"],
            "succeeded": batch.count(*_SUCCEEDED) if ended else 0,
            "errored": batch.count(*_ERRORED) if ended else 0,
            "canceled": batch.count("canceled") if ended else 0,
            "expired": batch.count("expired") if ended else 0,
        }
        return {
            "id": batch.id,
            "type": "message_batch",
            "processing_status": "ended" if ended else "in_progress" if asked is None else "canceling",
            "request_counts": counts,
            "created_at": self._stamp(batch.made_at),
            "expires_at": self._stamp(batch.made_at + 86_400),
            "ended_at": self._stamp(batch.at["ended"]) if ended else None,
            "cancel_initiated_at": None if asked is None else self._stamp(asked),
            "archived_at": None,
            "results_url": f"/v1/messages/batches/{batch.id}/results" if ended else None,
        }

    def _stamp(self, now: float) -> str:
        found = datetime.fromtimestamp(self._store.clock(now), UTC)
        return found.isoformat(timespec="microseconds").replace("+00:00", "Z")


class AnthropicWording:
    """Result lines of a batch at Anthropic."""

    def result(self, fate: LineFate, line: Line, outcome: Outcome | None) -> bytes:
        if outcome is not None and outcome.fate == "ok":
            return _line(line.custom_id, {"type": "succeeded", "message": orjson.Fragment(outcome.body)})
        if outcome is not None:
            body = outcome.body
        elif fate in ("error", "status_0"):
            body = messages.error(500, FAILURES["500"][2])
        else:
            return _line(line.custom_id, {"type": fate})
        return _line(line.custom_id, {"type": "errored", "error": orjson.Fragment(body)})

    def foreign(self, number: int) -> bytes:
        return _line(f"request-{number}", {"type": "expired"})

    def in_error_file(self, fate: LineFate) -> bool:
        return False


def _line(custom_id: str, result: dict[str, Any]) -> bytes:
    return orjson.dumps({"custom_id": custom_id, "result": result}) + b"\n"


def _in_lines(requests: list[Any]) -> tuple[BinaryIO, array[int]]:
    """The requests as lines of a file, so that they need no memory."""
    file, starts = spooled(), array("Q")
    for one in requests:
        starts.append(file.tell())
        file.write(orjson.dumps({"custom_id": one.custom_id, "body": orjson.Fragment(bytes(one.params))}) + b"\n")
    return file, starts
