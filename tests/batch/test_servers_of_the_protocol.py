"""Promise: requests and answers of servers that speak OpenAI's batch protocol, and Together's jobs, byte by byte.

Forms by the documentation of each (November 2026); the line of vLLM's is one that `vllm run-batch` 0.32 wrote.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import pytest
from support.batch_server import NOW, Answer, BatchServer, batch_server
from support.clock import inline

from scorer.batch.http import BatchHttp
from scorer.batch.openai import OpenAIBatches, without_deployment
from scorer.batch.together import TogetherBatches
from scorer.batch.types import Batch, Problem, Unresolved
from scorer.build.batch_models import _api
from scorer.build.keys import key_header
from scorer.client.providers.settings import ProviderSettings
from scorer.config.model_prices import batch_price, tariff
from scorer.config.spec import Model
from scorer.errors import ServerFault
from scorer.types import Call

BODY = b'{"model":"judge","messages":[]}'
FILE = b'{"custom_id":"n1-0"}\n'


def at(
    kind: type[OpenAIBatches],
    path: str,
    scenario: Callable[[BatchServer, OpenAIBatches, Call], Awaitable[None]],
    query: dict[str, str] | None = None,
) -> BatchServer:
    """The server after a scenario with an API whose chat completions are below this path."""

    async def main() -> BatchServer:
        async with batch_server() as server:
            base = server.url.removesuffix("/v1") + path
            settings = ProviderSettings("judge", without_deployment(base), query=query or {})
            async with BatchHttp(settings, {}, offload=inline) as http:
                await scenario(server, kind(http), Call(f"{base}/chat/completions", BODY))
        return server

    return asyncio.run(main())


async def made(api: OpenAIBatches, call: Call) -> Batch:
    input_id = await api.upload(io.BytesIO(FILE), len(FILE), "n1")
    return await api.create(io.BytesIO(FILE), len(FILE), "n1", input_id, call)


def batch(**more: object) -> dict[str, object]:
    counts = {"total": 0, "completed": 0, "failed": 0}
    return {"id": "b1", "object": "batch", "status": "validating", "created_at": NOW, "input_file_id": "f1",
            "completion_window": "24h", "output_file_id": None, "error_file_id": None, "errors": None,
            "request_counts": counts, "metadata": None, **more}  # fmt: skip


@pytest.mark.parametrize(
    ("path", "query", "endpoint", "below"),
    [
        ("/v1", {}, "/v1/chat/completions", "/v1"),  # LiteLLM's proxy
        ("/openai/v1", {}, "/v1/chat/completions", "/openai/v1"),  # Groq, and Azure's v1
        ("/openai", {"api-version": "2024-10-21"}, "/chat/completions", "/openai"),
        ("/openai/deployments/judge", {"api-version": "2024-10-21"}, "/chat/completions", "/openai"),
    ],
    ids=["litellm", "groq-azure-v1", "azure", "azure-deployment"],
)
def test_batch_is_made_below_the_address_with_the_endpoint_of_the_server(
    path: str, query: dict[str, str], endpoint: str, below: str
) -> None:
    async def scenario(server: BatchServer, api: OpenAIBatches, call: Call) -> None:
        assert api.line("n1-0", call) == (
            b'{"custom_id":"n1-0","method":"POST","url":"%s","body":%s}' % (endpoint.encode(), BODY)
        )
        server.will(Answer(200, {"id": "f1"}), Answer(200, batch()))
        known = Batch("b1", "running", NOW, "", input_id="f1")  # without metadata the name of its file tells
        assert await made(api, call) == known

    server = at(OpenAIBatches, path, scenario, query)
    end = "?api-version=2024-10-21" if query else ""
    assert [asked.path for asked in server.asked] == [f"{below}/files{end}", f"{below}/batches{end}"]
    assert orjson.loads(server.asked[1].body) == {
        "input_file_id": "f1", "endpoint": endpoint, "completion_window": "24h", "metadata": {"scorer": "n1"},
    }  # fmt: skip


def test_azure_takes_the_key_in_a_header_of_its_own() -> None:
    for url in ("https://a.openai.azure.com/openai/v1", "https://a.openai.azure.com/openai/deployments/judge"):
        assert key_header("openai", url, "k") == {"api-key": "k"}
    assert key_header("openai", "https://api.together.ai/v1", "k") == {"Authorization": "Bearer k"}


ANSWER = {"id": "c", "choices": [{"index": 0, "message": {"role": "assistant", "content": "4"}}]}
LINES: dict[str, tuple[dict[str, Any], int | None, str]] = {
    "azure": ({"response": {"body": ANSWER, "request_id": "r", "status_code": 200}, "error": None}, 200, ""),
    "azure, an error": (
        {"response": {"request_id": "r", "status_code": 400, "body": {"error": {"code": "BadRequest"}}}, "error": None},
        400,
        "",
    ),
    "groq": ({"id": "q", "response": {"status_code": 200, "request_id": "r", "body": ANSWER}, "error": None}, 200, ""),
    "groq, expired": (
        {"id": "q", "response": None, "error": {"code": "batch_expired", "message": "late"}},
        None,
        "batch_expired",
    ),
    "litellm": ({"id": "x", "response": {"status_code": 200, "request_id": "", "body": ANSWER}}, 200, ""),
    "together": ({"response": {"status_code": 200, "body": ANSWER}}, 200, ""),
    "together, an error": ({"error": {"message": "invalid", "code": "400"}}, None, "400"),
    "vllm run-batch": (
        {
            "id": "vllm-ac9bb8ee09ff87e2",
            "response": {
                "status_code": 200,
                "request_id": "vllm-batch-9446784de8b5c13d",
                "body": {**ANSWER, "service_tier": None, "prompt_logprobs": None, "kv_transfer_params": None},
            },
            "error": None,
        },
        200,
        "",
    ),
}  # fmt: skip


@pytest.mark.parametrize("form", LINES)
def test_results_of_each_server_are_read(form: str) -> None:
    line, status, why = LINES[form]

    async def scenario(_server: BatchServer, api: OpenAIBatches, _call: Call) -> None:
        (found,) = api.read([orjson.dumps({"custom_id": "n1-0", **line})])
        assert (found.custom_id, found.why) == ("n1-0", why)
        assert (found.reply and found.reply.status) == status
        if status == 200:
            assert found.reply is not None
            assert orjson.loads(found.reply.body).items() >= ANSWER.items()

    at(OpenAIBatches, "/v1", scenario)


def job(status: str = "IN_PROGRESS", **more: object) -> dict[str, object]:
    return {
        "id": "j1", "user_id": "u", "input_file_id": "f1", "file_size_bytes": 20, "status": status,
        "job_deadline": "2026-11-29T06:00:00Z", "created_at": "2026-11-28T06:00:00Z",
        "endpoint": "/v1/chat/completions",
        "progress": 75, "model_id": "judge", "output_file_id": None, "error_file_id": None, "error": None, **more,
    }  # fmt: skip


def test_together_uploads_and_creates_in_its_own_words() -> None:
    async def scenario(server: BatchServer, api: OpenAIBatches, call: Call) -> None:
        assert api.line("n1-0", call) == b'{"custom_id":"n1-0","body":%s}' % BODY
        server.will(Answer(200, {"id": "f1", "filename": "n1.jsonl"}), Answer(201, {"job": job(), "warning": "slow"}))
        assert await made(api, call) == Batch("j1", "running", NOW, "n1", input_id="f1")

    server = at(TogetherBatches, "/v1", scenario)
    upload, create = server.asked
    assert (upload.path, create.path) == ("/v1/files/upload", "/v1/batches")
    assert upload.body == (
        b'--scorer-n1\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch-api\r\n'
        b'--scorer-n1\r\nContent-Disposition: form-data; name="file_name"\r\n\r\nn1.jsonl\r\n'
        b'--scorer-n1\r\nContent-Disposition: form-data; name="file_type"\r\n\r\njsonl\r\n'
        b'--scorer-n1\r\nContent-Disposition: form-data; name="file"; filename="n1.jsonl"\r\n'
        b'Content-Type: application/jsonl\r\n\r\n{"custom_id":"n1-0"}\n\r\n--scorer-n1--\r\n'
    )
    assert orjson.loads(create.body) == {
        "input_file_id": "f1", "endpoint": "/v1/chat/completions", "completion_window": "24h",
    }  # fmt: skip


@pytest.mark.parametrize(
    "answer", [Answer(201, {"warning": "x"}), Answer(201, {"job": {"status": "VALIDATING"}}), Answer(502)]
)
def test_together_batch_that_is_not_named_may_have_been_made(answer: Answer) -> None:
    async def scenario(server: BatchServer, api: OpenAIBatches, call: Call) -> None:
        server.will(answer)
        with pytest.raises(Unresolved):
            await api.create(io.BytesIO(), 0, "n1", "f1", call)

    at(TogetherBatches, "/v1", scenario)


def test_together_lists_an_array_and_a_batch_is_found_by_the_name_of_its_file() -> None:
    async def scenario(server: BatchServer, api: OpenAIBatches, _call: Call) -> None:
        older = job(id="j0", created_at="2026-11-27T06:00:00Z")
        server.will(Answer(200, [job(), older]), Answer(200, {"filename": "n1.jsonl"}))
        assert [(one.id, one.nonce) async for one in api.listed(NOW - 60)] == [("j1", "n1")]
        server.will(Answer(200, {"data": []}))
        with pytest.raises(ServerFault, match="array"):
            _ = [one async for one in api.listed(0.0)]

    assert [asked.path for asked in at(TogetherBatches, "/v1", scenario).asked] == [
        "/v1/batches", "/v1/files/f1", "/v1/batches",
    ]  # fmt: skip


def test_together_statuses() -> None:
    files = {"output_file_id": "o", "error_file_id": "e"}
    replies: list[tuple[str, dict[str, object]]] = [
        ("VALIDATING", {}), ("CANCELING", {}), ("COMPLETED", files), ("COMPLETED", {}),
        ("EXPIRED", {"output_file_id": "o"}), ("CANCELLED", {}), ("FAILED", {"error": "bad line"}), ("FAILED", files),
    ]  # fmt: skip

    async def scenario(server: BatchServer, api: OpenAIBatches, _call: Call) -> None:
        found = []
        for status, more in replies:
            server.will(Answer(200, job(status, **more)))
            one = await api.look("j1")
            found.append((one.status, one.results, one.awaited, one.uncounted, one.problem))
        assert found == [
            ("running", (), False, False, None),
            ("running", (), False, False, None),
            ("ended", ("o", "e"), False, True, None),
            ("ended", (), True, True, None),
            ("ended", ("o",), False, False, None),
            ("ended", (), False, False, None),
            ("failed", (), False, False, Problem("", "bad line")),
            ("ended", ("o", "e"), False, False, None),
        ]

    at(TogetherBatches, "/v1", scenario)


def test_together_is_told_by_its_address_and_not_taken_to_be_cheaper() -> None:
    model = Model(name="zai-org/GLM-4.5-Air-FP8", base_url="https://api.together.ai/v1", mode="batch",
                  price={"input": 1.0, "output": 2.0})  # type: ignore[arg-type]  # fmt: skip
    http = BatchHttp(ProviderSettings("m", model.base_url or ""), {}, offload=inline)
    assert type(_api(model, http)) is TogetherBatches
    listed = tariff(model)
    assert listed is not None
    assert batch_price(model) == listed.price
