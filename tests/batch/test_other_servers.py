"""Promises: a batch without metadata is known by the name of its file, and Mistral's jobs are batches like OpenAI's."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Awaitable, Callable

import orjson
from support.batch_server import NOW, Answer, BatchServer, batch_server
from support.clock import inline

from scorer.batch.http import BatchHttp
from scorer.batch.mistral import MistralBatches
from scorer.batch.openai import OpenAIBatches
from scorer.batch.types import Batch, Problem
from scorer.client.providers.settings import ProviderSettings
from scorer.types import Call

Kind = type[OpenAIBatches]


def ran(kind: Kind, scenario: Callable[[BatchServer, OpenAIBatches], Awaitable[None]]) -> BatchServer:
    async def main() -> BatchServer:
        async with batch_server() as server, BatchHttp(ProviderSettings("m", server.url), {}, offload=inline) as http:
            await scenario(server, kind(http))
        return server

    return asyncio.run(main())


async def nonces(api: OpenAIBatches, since: float = 0.0) -> list[str | None]:
    return [batch.nonce async for batch in api.listed(since)]


def test_batch_without_metadata_is_named_by_its_file_and_each_file_is_asked_once() -> None:
    def one(id: str, file: str, **more: object) -> dict[str, object]:
        return {"id": id, "status": "in_progress", "created_at": NOW, "input_file_id": file, **more}

    listing = {"data": [one("b1", "f1", metadata=None), one("b2", "f2", metadata={"theirs": "x"}), one("b3", "f3")]}

    async def scenario(server: BatchServer, api: OpenAIBatches) -> None:
        server.will(Answer(200, listing), Answer(200, {"filename": "run-0123.jsonl"}), Answer(404, {"error": {}}))
        assert await nonces(api) == ["run-0123", None, None]
        server.will(Answer(200, listing))
        assert await nonces(api) == ["run-0123", None, None]

    server = ran(OpenAIBatches, scenario)
    assert [asked.path for asked in server.asked] == [
        "/v1/batches?limit=100", "/v1/files/f1", "/v1/files/f3", "/v1/batches?limit=100",
    ]  # fmt: skip


def job(status: str, **more: object) -> dict[str, object]:
    return {
        "id": "j1", "object": "batch", "status": status, "created_at": NOW, "input_files": ["f1"], "output_file": None,
        "error_file": None, "total_requests": 2, "succeeded_requests": 0, "failed_requests": 0, "errors": [],
        "metadata": {"scorer": "n1"}, **more,
    }  # fmt: skip


def test_mistral_creates_a_job_and_reads_its_words() -> None:
    call = Call("http://x/v1/chat/completions", b'{"model":"mistral-small","messages":[]}')

    async def scenario(server: BatchServer, api: OpenAIBatches) -> None:
        call_here = Call(f"{server.url}/chat/completions", call.body)
        assert api.line("n1-0", call_here) == b'{"custom_id":"n1-0","body":' + call.body + b"}"
        server.will(Answer(200, job("QUEUED")))
        known = Batch("j1", "running", NOW, "n1", 2, input_id="f1")
        assert await api.create(io.BytesIO(), 0, "n1", "f1", call_here) == known
        assert orjson.loads(server.asked[0].body) == {
            "input_files": ["f1"], "model": "mistral-small", "endpoint": "/v1/chat/completions", "timeout_hours": 24,
            "metadata": {"scorer": "n1"},
        }  # fmt: skip
        found = []
        for status, more in (
            ("CANCELLATION_REQUESTED", {}),
            ("SUCCESS", {"succeeded_requests": 2, "output_file": "o"}),
            ("SUCCESS", {"succeeded_requests": 2}),
            (
                "TIMEOUT_EXCEEDED",
                {"succeeded_requests": 1, "failed_requests": 1, "output_file": "o", "error_file": "e"},
            ),
            ("FAILED", {"errors": [{"message": "bad file", "count": 1}]}),
        ):
            server.will(Answer(200, job(status, **more)))
            batch = await api.look("j1")
            found.append((batch.status, batch.answered, batch.results, batch.awaited, batch.problem))
        assert found == [
            ("running", 0, (), False, None),
            ("ended", 2, ("o",), False, None),
            ("ended", 2, (), True, None),
            ("ended", 2, ("o", "e"), False, None),
            ("failed", 0, (), False, Problem("", "bad file")),
        ]

    assert ran(MistralBatches, scenario).asked[-1].path == "/v1/batch/jobs/j1"


def test_mistral_lists_all_pages() -> None:
    many = [{**job("RUNNING"), "metadata": {"scorer": f"n{n}"}} for n in range(101)]

    async def scenario(server: BatchServer, api: OpenAIBatches) -> None:
        server.will(Answer(200, {"data": many[:100], "total": 101}), Answer(200, {"data": many[100:], "total": 101}))
        assert await nonces(api, NOW - 1) == [f"n{n}" for n in range(101)]
        server.will(Answer(200, {"data": [], "total": 0}))
        assert await nonces(api, float("inf")) == []

    paths = [asked.path for asked in ran(MistralBatches, scenario).asked]
    assert [("created_after" in path, path[-6:]) for path in paths] == [
        (True, "page=0"), (True, "page=1"), (False, "page=0"),
    ]  # fmt: skip
