"""OpenAI's files and batches at the simulated judge.

https://platform.openai.com/docs/api-reference/batch
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson

from scorer.rehearsal.batches.ask import Ask, Reply, json, refusal
from scorer.rehearsal.batches.batch import SimulatedBatch
from scorer.rehearsal.batches.log import LineFate
from scorer.rehearsal.batches.requests_file import Line, RequestsFile, opened
from scorer.rehearsal.batches.store import BatchStore, StoredFile, loaded, page
from scorer.rehearsal.replies import FAILURES
from scorer.rehearsal.request_body import Endpoint
from scorer.rehearsal.simulator import Outcome

ENDPOINTS: dict[str, Endpoint] = {"chat/completions": "chat", "completions": "text"}
WINDOW_S = 86_400
_FILE = re.compile(r"/files/([^/]+)(/content)?")
_BATCH = re.compile(r"/batches/([^/]+)(/cancel)?")
_UNEXECUTED = {
    "expired": ("batch_expired", "This request could not be executed before the completion window expired."),
    "canceled": ("batch_cancelled", "This request was not executed: the batch was cancelled."),
}


class OpenAIBatchEndpoints:
    """Answers requests below /files and /batches."""

    def __init__(self, store: BatchStore) -> None:
        self._store = store
        self._wording = OpenAIWording()

    def answer(self, ask: Ask, now: float) -> Reply | None:
        """None where the path is none of these."""
        path = ask.path.rstrip("/")
        if path == "/files":
            return self._upload(ask, now) if ask.method == "POST" else self._files(ask, now)
        if path == "/batches":
            return self._create(ask, now) if ask.method == "POST" else self._batches(ask, now)
        if (found := _FILE.fullmatch(path)) is not None:
            return self._file(ask.method, found[1], content=found[2] is not None)
        if (found := _BATCH.fullmatch(path)) is not None:
            return self._batch(ask.method, found[1], cancel=found[2] is not None, now=now)
        return None

    # --- files --------------------------------------------------------------------------------------------------------

    def _upload(self, ask: Ask, now: float) -> Reply:
        store, name = self._store, ask.form.get("filename", "")
        if ask.form.get("purpose") != "batch" or ask.body is None or not name:
            return refusal(400, "Missing required parameter: 'file', and 'purpose' = 'batch'.")
        if not name.endswith(".jsonl"):
            return refusal(400, "Invalid file format for Batch API. Must be .jsonl")
        if ask.size > store.config.max_bytes:
            return refusal(413, f"File is too large: at most {store.config.max_bytes} bytes.")
        stored = store.keep(ask.body, ask.size, name, "batch", now)
        store.log.note("files")
        return store.made(self._file_view(stored), store.lost("upload"))

    def _files(self, ask: Ask, now: float) -> Reply:
        store, purpose = self._store, ask.query.get("purpose")
        things = [(one.made_at, one.id) for one in store.files.values() if purpose in (None, one.purpose)]
        return page(
            ask.query, store.shown(things, now), "after", 10_000, 10_000, lambda id: self._file_view(store.files[id])
        )

    def _file(self, method: str, id: str, *, content: bool) -> Reply:
        store = self._store
        stored = store.files.get(id)
        if stored is None:
            return refusal(404, f"No such File object: {id}")
        if method == "DELETE":
            del store.files[id]
            return json({"id": id, "object": "file", "deleted": True})
        if content:
            return store.download(stored.file, stored.size, stored.batch, "application/octet-stream")
        return json(self._file_view(stored))

    def _file_view(self, stored: StoredFile) -> dict[str, Any]:
        return {
            "id": stored.id,
            "object": "file",
            "bytes": stored.size,
            "created_at": int(self._store.clock(stored.made_at)),
            "filename": stored.name,
            "purpose": stored.purpose,
            "status": "processed",
        }

    # --- batches ------------------------------------------------------------------------------------------------------

    def _create(self, ask: Ask, now: float) -> Reply:
        store, body = self._store, loaded(ask)
        if not isinstance(body, dict):
            return refusal(400, "We could not parse the JSON body of your request.")
        url, metadata = body.get("endpoint"), body.get("metadata") or {}
        endpoint = ENDPOINTS.get(url.removeprefix("/").removeprefix("v1/")) if isinstance(url, str) else None
        if endpoint is None or body.get("completion_window") != "24h":
            return refusal(400, "'endpoint' and 'completion_window' = '24h' are required.")
        input_id = body.get("input_file_id")
        if not isinstance(input_id, str) or input_id not in store.files:
            return refusal(404, f"No such File object: {input_id}")
        if not _metadata_fits(metadata):
            return refusal(400, "'metadata': at most 16 pairs, keys of 64 and values of 512 characters.")
        stored = store.files[input_id]

        def read() -> tuple[RequestsFile, str, int]:
            check, tokens = store.counted(endpoint)
            requests, model = opened(stored.file, str(url), store.config.max_requests, check)
            return requests, model, tokens()

        kept = None if store.config.drop_metadata else body.get("metadata")
        extra = {"input_file_id": input_id, "endpoint": url, "metadata": kept}
        lost = store.lost("create")
        made = store.make("batch_", read, self._wording, endpoint, extra, now, lost=lost)
        return store.made(self._view(made, now), lost)

    def _batches(self, ask: Ask, now: float) -> Reply:
        store = self._store
        own = [(one.made_at, one.id) for one in store.batches.values() if "endpoint" in one.extra]
        shown = [id for id in store.shown(own, now) if not store.gone(store.batches[id], now)]
        return page(ask.query, shown, "after", 100, 20, lambda id: self._view(store.batches[id], now))

    def _batch(self, method: str, id: str, *, cancel: bool, now: float) -> Reply:
        store, batch = self._store, self._store.batches.get(id)
        if batch is None or "endpoint" not in batch.extra or store.gone(batch, now):
            return refusal(404, f"No batch found with id '{id}'.")
        if cancel and method == "POST":
            if batch.state not in ("validating", "in_progress"):
                return refusal(409, f"Cannot cancel a batch with status '{self._status(batch)}'.")
            batch.cancel(now)
        reply = json(self._view(batch, now))
        batch.nulls = batch.nulls and batch.ended_at is None
        return reply

    def _status(self, batch: SimulatedBatch) -> str:
        if batch.state == "ended":
            return batch.outcome
        return "cancelling" if "cancel" in batch.at and batch.ended_at is None else batch.state

    def _view(self, batch: SimulatedBatch, now: float) -> dict[str, Any]:
        store, ended = self._store, batch.state == "ended"
        if ended and "output_file_id" not in batch.extra:
            self._keep_results(batch)
        hidden = batch.nulls or not ended
        completed = batch.count("paid", "lost", "lost_paid", "status_0")
        problem = batch.problem
        errors = None
        if problem is not None:
            said = {"code": problem.code, "message": problem.message, "param": None, "line": problem.line}
            errors = {"object": "list", "data": [said]}
        times = {
            f"{'cancelling' if state == 'cancel' else batch.outcome if state == 'ended' else state}_at": int(
                store.clock(at)
            )
            for state, at in batch.at.items()
            if state != "validating"
        }
        names = ("in_progress", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled")
        return {
            "id": batch.id,
            "object": "batch",
            "endpoint": batch.extra["endpoint"],
            "errors": errors,
            "input_file_id": batch.extra["input_file_id"],
            "completion_window": "24h",
            "status": self._status(batch),
            "output_file_id": None if hidden else batch.extra["output_file_id"],
            "error_file_id": None if hidden else batch.extra["error_file_id"],
            "created_at": int(store.clock(batch.made_at)),
            "expires_at": int(store.clock(batch.made_at)) + WINDOW_S,
            **{f"{name}_at": None for name in names},
            **times,
            "request_counts": {
                "total": batch.total,
                "completed": completed,
                "failed": sum(batch.fates.values()) - completed,
            },
            "metadata": batch.extra["metadata"],
            "model": batch.model or None,
        }

    def _keep_results(self, batch: SimulatedBatch) -> None:
        """Names the files of results; a file without a line has no id, or an empty one."""
        store, at = self._store, batch.at["ended"]
        for key, file, billed in (("output_file_id", batch.output, batch.id), ("error_file_id", batch.errors, "")):
            size = file.tell()
            if size:
                name = f"{batch.id}_{key.removesuffix('_file_id')}.jsonl"
                batch.extra[key] = store.keep(file, size, name, "batch_output", at, billed).id
            else:
                batch.extra[key] = "" if store.draw(0.5) else None


class OpenAIWording:
    """Result lines of a batch at OpenAI."""

    def result(self, fate: LineFate, line: Line, outcome: Outcome | None) -> bytes:
        response: dict[str, Any] | None = None
        error: dict[str, str] | None = None
        if outcome is not None:
            response = {"status_code": outcome.status, "request_id": f"req_{line.custom_id}"}
            return _line(line.custom_id, response, outcome.body)
        if fate == "error":
            return _line(line.custom_id, {"status_code": 500, "request_id": ""}, FAILURES["500"][2])
        if fate == "status_0":
            return _line(line.custom_id, {"status_code": 0, "request_id": ""}, b'""')
        code, message = _UNEXECUTED[fate]
        error = {"code": code, "message": message}
        found = {"id": f"batch_req_{line.custom_id}", "custom_id": line.custom_id, "response": None, "error": error}
        return orjson.dumps(found) + b"\n"

    def foreign(self, number: int) -> bytes:
        body = b'{"object":"chat.completion","choices":[],"usage":null}'
        return _line(f"request-{number}", {"status_code": 200, "request_id": ""}, body)

    def in_error_file(self, fate: LineFate) -> bool:
        return fate in ("declined", "error", "canceled", "expired")


def _line(custom_id: str, response: Mapping[str, Any], body: bytes) -> bytes:
    found = {
        "id": f"batch_req_{custom_id}",
        "custom_id": custom_id,
        "response": {**response, "body": orjson.Fragment(body)},
        "error": None,
    }
    return orjson.dumps(found) + b"\n"


def _metadata_fits(metadata: Any) -> bool:
    return (
        isinstance(metadata, dict)
        and len(metadata) <= 16
        and all(isinstance(value, str) and len(value) <= 512 and len(key) <= 64 for key, value in metadata.items())
    )
