"""Promises of both batch APIs: golden bytes, nothing unclear is taken for made or refused, whole files only."""

from __future__ import annotations

import asyncio
import io
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import pytest
from support.batch_server import NOW, Answer, BatchServer, batch_server
from support.clock import inline
from support.raw_server import held_port

from scorer.batch.anthropic import AnthropicBatches
from scorer.batch.http import BatchHttp
from scorer.batch.openai import OpenAIBatches
from scorer.batch.types import Batch, BatchApi, Gone, NotAccepted, Problem, ResultLine, Unresolved
from scorer.client.providers.settings import ProviderSettings
from scorer.errors import ServerFault, SetupError, Throttled, TransientError, Unreachable
from scorer.types import Call, Reply

SECRET = "sk-0123456789abcdef"
HTML = Answer(502, b"<html>Bad Gateway</html>")
Scenario = Callable[[BatchServer, BatchApi], Awaitable[None]]


def call(api: BatchApi, body: bytes = b'{"model":"m","n": 1}') -> Call:
    url = api._http.base_url  # type: ignore[attr-defined]
    path = "/chat/completions" if isinstance(api, OpenAIBatches) else "/messages"
    return Call(url + path + "?key=1", body)


def requests_file(api: BatchApi, *ids: str) -> tuple[io.BytesIO, int]:
    frame = api.frame
    data = frame.head + frame.between.join(api.line(id, call(api)) for id in ids) + frame.tail
    return io.BytesIO(data), len(data)


async def create(api: BatchApi, nonce: str = "n1") -> Batch:
    file, size = requests_file(api, f"{nonce}-0", f"{nonce}-1")
    return await api.create(file, size, nonce, "file-1" if api.names else "", call(api))


class BatchApiContract:
    """What every `BatchApi` promises."""

    kind: ClassVar[type[OpenAIBatches] | type[AnthropicBatches]]
    headers: ClassVar[dict[str, str]]
    create_path: ClassVar[str]
    created_body: ClassVar[bytes]
    running: ClassVar[dict[str, Any]]
    ended: ClassVar[dict[str, Any]]
    listing_query: ClassVar[tuple[str, str]]
    old: ClassVar[dict[str, Any]]
    results: ClassVar[bytes]

    def run(self, scenario: Scenario) -> BatchServer:
        async def main() -> BatchServer:
            async with batch_server() as server, self.api(server.url) as api:
                await scenario(server, api)
            return server

        return asyncio.run(main())

    @asynccontextmanager
    async def api(self, url: str) -> AsyncIterator[BatchApi]:
        settings = ProviderSettings("m", url, headers={"Authorization": f"Bearer {SECRET}"}, query={"api": "1"})
        async with BatchHttp(settings, self.headers, offload=inline) as http:
            yield self.kind(http)

    def test_create_sends_golden_bytes_once_and_returns_the_batch(self) -> None:
        async def scenario(server: BatchServer, api: BatchApi) -> None:
            server.will(Answer(200, self.running))
            assert await create(api) == Batch(
                "b1", "running", NOW, nonce="n1" if api.names else None, requests=2, input_id="file-1" * api.names
            )
            assert api.now == NOW

        asked = self.run(scenario).asked
        assert [(one.method, one.path) for one in asked] == [("POST", f"{self.create_path}?api=1")]
        assert asked[0].body == self.created_body
        assert asked[0].headers["Authorization"] == f"Bearer {SECRET}"
        assert self.headers.items() <= asked[0].headers.items()

    @pytest.mark.parametrize(
        "answer",
        [
            HTML,
            Answer(504),
            Answer(500, {"error": {"message": "oh"}}),
            Answer(408),
            Answer(200, b"no json"),
            Answer(200, {"object": "no id"}),
            Answer(200, b'{"id":', declared=50),
            Answer(reset=True),
        ],
        ids=["502", "504", "500", "408", "garbage", "no-id", "cut", "reset"],
    )
    def test_create_without_a_clear_answer_is_unresolved_and_not_asked_again(self, answer: Answer) -> None:
        async def scenario(server: BatchServer, api: BatchApi) -> None:
            server.will(answer)
            with pytest.raises(Unresolved) as caught:
                await create(api)
            assert SECRET not in str(caught.value)

        assert len(self.run(scenario).asked) == 1

    @pytest.mark.parametrize(
        ("answer", "kind"),
        [
            (Answer(429, {"error": {"message": "busy"}}, {"Retry-After": "3"}), Throttled),
            (Answer(400, {"error": {"message": "no such setting"}}), NotAccepted),
            (Answer(413), NotAccepted),
            (Answer(401, {"error": {"message": f"bad key {SECRET}"}}), SetupError),
            (Answer(404, {"error": {"message": "no batches here"}}), SetupError),
            (Answer(307, b"", {"Location": "/elsewhere"}), SetupError),
        ],
        ids=["429", "400", "413", "401", "404", "redirect"],
    )
    def test_create_that_was_refused_says_that_nothing_was_made(self, answer: Answer, kind: type[Exception]) -> None:
        async def scenario(server: BatchServer, api: BatchApi) -> None:
            server.will(answer)
            with pytest.raises(kind) as caught:
                await create(api)
            assert getattr(caught.value, "too_large", False) is (answer.status == 413)
            assert SECRET not in str(caught.value)

        self.run(scenario)

    def test_create_at_a_closed_port_made_nothing(self) -> None:
        async def main() -> None:
            with held_port() as held:
                async with self.api(f"http://127.0.0.1:{held.getsockname()[1]}/v1") as api:
                    with pytest.raises(Unreachable) as caught:
                        await create(api)
                    assert not caught.value.billed

        asyncio.run(main())

    def test_look_shows_an_ended_batch_with_its_results_and_says_what_is_gone(self) -> None:
        async def scenario(server: BatchServer, api: BatchApi) -> None:
            server.will(Answer(200, self.ended), Answer(404))
            batch = await api.look("b1")
            assert (batch.status, batch.answered, batch.awaited) == ("ended", 2, False)
            assert batch.results == (("out-1", "err-1") if api.names else ("b1",))
            with pytest.raises(Gone):
                await api.look("b2")

        assert [one.path for one in self.run(scenario).asked] == [
            f"{self.create_path}/{id}?api=1" for id in ("b1", "b2")
        ]

    def test_listing_goes_on_until_batches_are_older(self) -> None:
        async def scenario(server: BatchServer, api: BatchApi) -> None:
            server.will(
                Answer(200, {"data": [self.running], "has_more": True, "last_id": "b1"}),
                Answer(200, {"data": [self.old], "has_more": True, "last_id": "b0"}),
            )
            assert [batch.id async for batch in api.listed(NOW - 60)] == ["b1"]

        name, _ = self.listing_query
        paths = [one.path for one in self.run(scenario).asked]
        assert paths == [f"{self.create_path}?api=1&limit=100", f"{self.create_path}?api=1&limit=100&{name}=b1"]

    @pytest.mark.parametrize(
        "body",
        [b"[]", {}, {"data": None}, {"data": ["x"]}, {"data": [{}]}, {"data": [], "has_more": True}],
        ids=["list", "empty", "null", "strings", "no-id", "endless"],
    )
    def test_listing_that_is_none_is_never_taken_for_an_empty_one(self, body: Any) -> None:
        async def scenario(server: BatchServer, api: BatchApi) -> None:
            server.will(Answer(200, body))
            with pytest.raises(TransientError):
                _ = [batch async for batch in api.listed(0)]

        self.run(scenario)

    @pytest.mark.parametrize("declared", [-1, 1000])
    def test_fetch_is_whole_at_its_declared_length_only(self, declared: int) -> None:
        async def scenario(server: BatchServer, api: BatchApi) -> None:
            whole = declared < 0
            server.will(Answer(200, self.results, declared=None if whole else declared))
            into = io.BytesIO()
            if whole:
                await api.fetch("id", into)
                assert into.getvalue() == self.results
            else:
                with pytest.raises(Unreachable):
                    await api.fetch("id", into)

        self.run(scenario)

    def test_fetch_of_a_page_of_html_or_of_what_is_gone_writes_nothing(self) -> None:
        async def scenario(server: BatchServer, api: BatchApi) -> None:
            server.will(HTML, Answer(404))
            into = io.BytesIO()
            with pytest.raises(ServerFault):
                await api.fetch("id", into)
            with pytest.raises(Gone):
                await api.fetch("id", into)
            assert into.getvalue() == b""

        self.run(scenario)

    def test_cancel_of_a_batch_that_has_ended_does_nothing(self) -> None:
        async def scenario(server: BatchServer, api: BatchApi) -> None:
            server.will(Answer(200, self.running))
            await api.cancel("b1")
            for status in (400, 409):
                server.will(Answer(status, {"error": {"message": "it has ended"}}), Answer(200, self.ended))
                await api.cancel("b1")
            server.will(Answer(409, {"error": {"message": "busy"}}), Answer(200, self.running))
            with pytest.raises(TransientError):
                await api.cancel("b1")

        self.run(scenario)

    def test_results_are_read_byte_for_byte_and_what_is_none_is_left_out(self) -> None:
        async def scenario(_: BatchServer, api: BatchApi) -> None:
            assert list(api.read(io.BytesIO(self.results))) == RESULTS[type(api)]

        self.run(scenario)

    def test_files_stream_both_ways_in_bounded_memory(self) -> None:
        size = 12 * 1024 * 1024

        async def scenario(server: BatchServer, api: BatchApi) -> None:
            server.keep = 0
            file = Zeros(size)
            server.will(Answer(200, {"id": "file-1"} if api.names else self.running))
            tracemalloc.start()
            try:
                if api.names:
                    await api.upload(file, size, "n1")
                else:
                    await api.create(file, size, "n1", "", call(api))
                assert tracemalloc.get_traced_memory()[1] < size / 3
            finally:
                tracemalloc.stop()
            assert server.received - size in range(1000)

        self.run(scenario)


class Zeros(io.RawIOBase):
    """A file of zeros that takes no memory."""

    def __init__(self, size: int) -> None:
        self.left = size

    def seek(self, offset: int, whence: int = 0) -> int:
        return 0

    def read(self, size: int = -1) -> bytes:
        found = min(self.left, size)
        self.left -= found
        return bytes(found)


class TestOpenAI(BatchApiContract):
    kind = OpenAIBatches
    headers: ClassVar = {}
    create_path = "/v1/batches"
    created_body = (
        b'{"input_file_id":"file-1","endpoint":"/v1/chat/completions","completion_window":"24h",'
        b'"metadata":{"scorer":"n1"}}'
    )
    running: ClassVar = {
        "id": "b1",
        "status": "validating",
        "created_at": int(NOW),
        "metadata": {"scorer": "n1"},
        "input_file_id": "file-1",
        "output_file_id": None,
        "request_counts": {"total": 2, "completed": 0, "failed": 0},
    }
    ended: ClassVar = running | {
        "status": "expired",
        "output_file_id": "out-1",
        "error_file_id": "err-1",
        "request_counts": {"total": 2, "completed": 1, "failed": 1},
    }
    old: ClassVar = running | {"id": "b0", "created_at": int(NOW) - 100}
    listing_query = ("after", "b1")
    results = (
        b'{"custom_id":"n1-1","response":{"status_code":200,"body":{"x":  1.50}},"error":null}\n'
        b"not json\n"
        b'{"custom_id":7}\n'
        b'{"custom_id":"n1-2","response":{"status_code":400,"body":{"error":{"message":"no"}}},"error":null}\n'
        b'{"custom_id":"n1-3","response":null,"error":{"code":"batch_expired","message":"late"}}\n'
        b'{"custom_id":"n1-4","response":{"status_code":0,"body":""},"error":null}\n'
        b'{"custom_id":"n1-5","response":null,"error":null}\n'
        b'{"custom_id":"n1-6","respo'
    )

    def test_upload_sends_golden_bytes(self) -> None:
        async def scenario(server: BatchServer, api: BatchApi) -> None:
            server.will(Answer(200, {"id": "file-1"}))
            assert await api.upload(*requests_file(api, "n1-0", "n1-1"), "n1") == "file-1"

        asked = self.run(scenario).asked[0]
        assert (asked.method, asked.path) == ("POST", "/v1/files?api=1")
        assert asked.headers["Content-Type"] == "multipart/form-data; boundary=scorer-n1"
        line = b'{"custom_id":"n1-%d","method":"POST","url":"/v1/chat/completions","body":{"model":"m","n": 1}}\n'
        assert asked.body == (
            b'--scorer-n1\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
            b'--scorer-n1\r\nContent-Disposition: form-data; name="file"; filename="n1.jsonl"\r\n'
            b"Content-Type: application/jsonl\r\n\r\n" + line % 0 + line % 1 + b"\r\n--scorer-n1--\r\n"
        )

    def test_upload_without_a_clear_answer_may_be_asked_again(self) -> None:
        async def scenario(server: BatchServer, api: BatchApi) -> None:
            server.will(HTML)
            with pytest.raises(ServerFault):
                await api.upload(*requests_file(api, "n1-0"), "n1")

        self.run(scenario)

    @pytest.mark.parametrize(
        ("counts", "output", "errors", "awaited"),
        [
            ({"completed": 1, "failed": 0}, None, None, True),
            ({"completed": 1, "failed": 1}, "out-1", None, True),
            ({"completed": 0, "failed": 0}, None, None, False),
        ],
    )
    def test_ended_batch_awaits_the_ids_that_its_counts_promise(
        self, counts: dict[str, int], output: str | None, errors: str | None, awaited: bool
    ) -> None:
        async def scenario(server: BatchServer, api: BatchApi) -> None:
            view = self.ended | {"request_counts": counts, "output_file_id": output, "error_file_id": errors}
            server.will(Answer(200, view))
            assert (await api.look("b1")).awaited is awaited

        self.run(scenario)

    def test_failed_batch_says_why_and_whether_that_passes(self) -> None:
        async def scenario(server: BatchServer, api: BatchApi) -> None:
            for code, passes in (("token_limit_exceeded", True), ("invalid_json_line", False)):
                error = {"code": code, "message": "why", "line": 3}
                server.will(Answer(200, self.running | {"status": "failed", "errors": {"data": [error]}}))
                problem = (await api.look("b1")).problem
                assert problem == Problem(code, "why", 3)
                assert problem is not None
                assert problem.of_the_moment is passes
            server.will(Answer(200, self.running | {"status": "failed", "errors": None}))
            assert (await api.look("b1")).problem == Problem("", "")

        self.run(scenario)

    def test_discard_deletes_the_requests_and_takes_them_for_deleted_where_they_are_gone(self) -> None:
        async def scenario(server: BatchServer, api: BatchApi) -> None:
            server.will(Answer(200, {"deleted": True}), Answer(404))
            for _ in range(2):
                await api.discard(Batch("b1", "ended", NOW, input_id="file-1"))

        assert [(one.method, one.path) for one in self.run(scenario).asked] == [
            ("DELETE", "/v1/files/file-1?api=1")
        ] * 2

    def test_endpoint_without_v1_in_its_address_is_named_without_it(self) -> None:
        async def main() -> None:
            async with self.api("http://azure.test/openai/deployments/m") as api:
                assert b'"url":"/chat/completions"' in api.line("n1-0", call(api))
            async with self.api("http://groq.test/openai/v1") as api:
                assert b'"url":"/v1/chat/completions"' in api.line("n1-0", call(api))

        asyncio.run(main())


class TestAnthropic(BatchApiContract):
    kind = AnthropicBatches
    headers: ClassVar = {"anthropic-version": "2023-06-01"}
    create_path = "/v1/messages/batches"
    created_body = (
        b'{"requests":[{"custom_id":"n1-0","params":{"model":"m","n": 1}},'
        b'{"custom_id":"n1-1","params":{"model":"m","n": 1}}]}'
    )
    running: ClassVar = {
        "id": "b1",
        "processing_status": "in_progress",
        "created_at": "2026-11-28T06:00:00.000000Z",
        "request_counts": {"processing": 2, "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0},
    }
    ended: ClassVar = running | {
        "processing_status": "ended",
        "request_counts": {"processing": 0, "succeeded": 1, "errored": 1, "canceled": 0, "expired": 3},
    }
    old: ClassVar = running | {"id": "b0", "created_at": "2026-11-28T05:00:00Z"}
    listing_query = ("after_id", "b1")
    results = (
        b'{"custom_id":"n1-1","result":{"type":"succeeded","message":{"x":  1.50}}}\n'
        b"not json\n"
        b'{"custom_id":7}\n'
        b'{"custom_id":"n1-2","result":{"type":"errored","error":'
        b'{"type":"error","error":{"type":"invalid_request_error","message":"no"}}}}\n'
        b'{"custom_id":"n1-3","result":{"type":"expired"}}\n'
        b'{"custom_id":"n1-4","result":{"type":"errored","error":{"error":null}}}\n'
        b'{"custom_id":"n1-5","result":{}}\n'
        b'{"custom_id":"n1-6","resu'
    )


RESULTS = {
    OpenAIBatches: [
        ResultLine("n1-1", Reply(200, {}, b'{"x":  1.50}')),
        ResultLine("n1-2", Reply(400, {}, b'{"error":{"message":"no"}}')),
        ResultLine("n1-3", None, "batch_expired"),
        ResultLine("n1-4", None, "status 0"),
        ResultLine("n1-5", None, "no response"),
    ],
    AnthropicBatches: [
        ResultLine("n1-1", Reply(200, {}, b'{"x":  1.50}')),
        ResultLine("n1-2", Reply(400, {}, b'{"type":"error","error":{"type":"invalid_request_error","message":"no"}}')),
        ResultLine("n1-3", None, "expired"),
        ResultLine("n1-4", Reply(500, {}, b'{"error":null}')),
        ResultLine("n1-5", None, "no result"),
    ],
}
