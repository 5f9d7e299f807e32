"""The rehearsal judge on the wire: each fault in its bytes, and no process that outlives its parent."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.request import ProxyHandler, build_opener

import pytest
from support.command import PATIENCE_S, wait_until

from scorer.errors import SetupError, SpecError
from scorer.rehearsal.config import RehearsalConfig
from scorer.rehearsal.process import RehearsalProcess
from scorer.rehearsal.server import RehearsalServer

QUESTION = {"model": "any", "messages": [{"role": "user", "content": "[row:a] Judge this."}]}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a bare socket received: `chunks` as they came, `reset` where the connection ended by RST."""

    status: int
    headers: dict[str, str]
    body: bytes
    chunks: int
    reset: bool

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def content(self) -> Any:
        return self.json["choices"][0]["message"]["content"]


async def exchange(server: RehearsalServer, path: str, body: Any = None) -> Answer:
    """One request over a bare socket, read until the server ends the connection."""
    reader, writer = await asyncio.open_connection(server.host, server.port)
    sent = b"" if body is None else json.dumps(body).encode()
    head = f"{'GET' if body is None else 'POST'} {path} HTTP/1.1\r\nhost: judge\r\nconnection: close\r\n"
    writer.write(f"{head}content-length: {len(sent)}\r\n\r\n".encode() + sent)
    received, reset = [], False
    try:
        while chunk := await reader.read(65536):
            received.append(chunk)
    except ConnectionResetError:
        reset = True
    writer.close()
    head_bytes, _, rest = b"".join(received).partition(b"\r\n\r\n")
    lines = head_bytes.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
    return Answer(int(lines[0].split()[1]) if received else 0, headers, rest, len(received), reset)


@asynccontextmanager
async def judged(**changes: Any) -> AsyncIterator[tuple[RehearsalServer, Answer]]:
    """A server that answers at once, and its answer to one question."""
    async with RehearsalServer(RehearsalConfig(latency_median_s=0).changed(changes)) as server:
        yield server, await exchange(server, "/v1/chat/completions", QUESTION)


# --- faults -----------------------------------------------------------------------------------------------------------


async def test_rehearsal_server_answers_completely_without_fault() -> None:
    async with judged(requests_per_minute=60) as (server, answer):
        assert answer.status == 200
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["x-ratelimit-limit-requests"] == "60"
        assert int(answer.headers["content-length"]) == len(answer.body)
        assert answer.content.startswith("Score: ")
        assert (await exchange(server, "/rows")).json == {"a": {"recv": 1, "paid": 1, "delivered": 1, "lost": 0}}


@pytest.mark.parametrize("fault", ["429", "429_bare", "429_date"])
async def test_rehearsal_server_429_has_retry_after_as_seconds_date_or_none(fault: str) -> None:
    began = time.time()
    async with judged(**{f"fault_{fault}": 1.0}, retry_after_s=2.5) as (_, answer):
        retry_after = answer.headers.get("retry-after")
        assert answer.status == 429
        assert answer.json["error"]["code"] == "rate_limit_exceeded"
        if fault == "429":
            assert (retry_after, answer.headers["retry-after-ms"]) == ("3", "2500")
        elif fault == "429_bare":
            assert not [name for name in answer.headers if name.startswith("retry-after")]
        else:
            assert retry_after is not None
            assert began + 2 <= parsedate_to_datetime(retry_after).timestamp() <= time.time() + 3.5


@pytest.mark.parametrize(("fault", "status"), [("500", 500), ("503", 503)])
async def test_rehearsal_server_error_fault_has_its_status(fault: str, status: int) -> None:
    async with judged(**{f"fault_{fault}": 1.0}) as (_, answer):
        assert answer.status == status
        assert answer.json["error"]["type"] == "server_error"


async def test_rehearsal_server_reset_fault_sends_rst_before_any_byte() -> None:
    async with judged(fault_reset=1.0) as (_, answer):
        assert answer.reset
        assert answer.chunks == 0


async def test_rehearsal_server_hang_fault_closes_without_any_byte() -> None:
    started = time.perf_counter()
    async with judged(fault_hang=1.0, hang_s=0.05) as (_, answer):
        assert time.perf_counter() - started >= 0.05
        assert (answer.chunks, answer.reset) == (0, False)


async def test_rehearsal_server_cut_fault_sends_less_than_content_length() -> None:
    async with judged(fault_cut=1.0) as (_, answer):
        assert answer.status == 200
        assert 0 < len(answer.body) < int(answer.headers["content-length"])
        assert not answer.reset


async def test_rehearsal_server_truncate_fault_sends_complete_http_with_broken_json() -> None:
    async with judged(fault_truncate=1.0) as (_, answer):
        assert answer.status == 200
        assert len(answer.body) == int(answer.headers["content-length"])
        with pytest.raises(json.JSONDecodeError):
            _ = answer.json


async def test_rehearsal_server_html_fault_has_status_200() -> None:
    async with judged(fault_html=1.0) as (_, answer):
        assert (answer.status, answer.headers["content-type"]) == (200, "text/html")
        assert answer.body.startswith(b"<!doctype html>")


async def test_rehearsal_server_error_200_fault_sends_error_body_with_status_200() -> None:
    async with judged(fault_error_200=1.0) as (_, answer):
        assert answer.status == 200
        assert list(answer.json) == ["error"]


async def test_rehearsal_server_prose_fault_has_no_verdict_and_null_fault_no_content() -> None:
    async with judged(fault_prose=1.0) as (_, answer):
        assert not any(letter.isdigit() for letter in answer.content)
        assert answer.json["choices"][0]["finish_reason"] == "stop"
    async with judged(fault_null=1.0) as (_, answer):
        assert answer.content is None


async def test_rehearsal_server_slow_fault_sends_complete_body_in_chunks() -> None:
    started = time.perf_counter()
    async with judged(fault_slow=1.0, slow_s=0.08) as (_, answer):
        assert time.perf_counter() - started >= 0.08
        assert answer.chunks >= 4
        assert answer.content.startswith("Score: ")


@pytest.mark.parametrize(
    ("fault", "column"),
    [("reset", "lost"), ("cut", "lost"), ("truncate", "lost"), ("500", "failed"), ("html", "failed"), ("slow", "ok")],
)
async def test_rehearsal_server_counts_fault_and_ends_with_its_connection(fault: str, column: str) -> None:
    async with judged(**{f"fault_{fault}": 1.0}, slow_s=0.01) as (server, _):
        server.configure(**{f"fault_{fault}": 0.0})
        answer = await exchange(server, "/v1/chat/completions", QUESTION)
        assert answer.content.startswith("Score: ")
        stats = (await exchange(server, "/stats")).json
        assert stats["requests"] == 2
        assert stats["faults"] == {fault: 1}
        assert stats[column] == (2 if column == "ok" else 1)


# --- the rest of the wire ---------------------------------------------------------------------------------------------


async def test_rehearsal_server_serves_many_requests_on_one_connection() -> None:
    async with RehearsalServer(RehearsalConfig(latency_median_s=0)) as server:
        reader, writer = await asyncio.open_connection(server.host, server.port)
        body = json.dumps(QUESTION).encode()
        for _ in range(3):
            writer.write(
                b"POST /v1/chat/completions HTTP/1.1\r\nhost: j\r\ncontent-length: %d\r\n\r\n" % len(body) + body
            )
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                int(line[16:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length: ")
            )
            assert json.loads(await reader.readexactly(length))["object"] == "chat.completion"
        writer.close()
        assert server.judge.request_log.fates == {"ok": 3}


async def test_rehearsal_server_bills_client_that_disconnects_early() -> None:
    async with (
        RehearsalServer(RehearsalConfig(latency_median_s=0.2, latency_sigma=0)) as server,
        asyncio.timeout(PATIENCE_S),
    ):
        _, writer = await asyncio.open_connection(server.host, server.port)
        body = json.dumps(QUESTION).encode()
        writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nhost: j\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        while server.judge.request_log.in_flight != 1:  # noqa: ASYNC110 - the log has no event
            await asyncio.sleep(0.001)
        writer.close()
        while server.judge.request_log.in_flight:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.001)
        counts = server.judge.request_log.rows["a"]
        assert (counts.recv, counts.paid, counts.delivered) == (1, 1, 0)
        assert server.judge.request_log.in_flight == 0


async def test_rehearsal_server_exit_does_not_wait_for_hanging_requests() -> None:
    async with asyncio.timeout(PATIENCE_S):
        async with RehearsalServer(RehearsalConfig(fault_hang=1.0, hang_s=10 * PATIENCE_S)) as server:
            asking = asyncio.create_task(exchange(server, "/v1/chat/completions", QUESTION))
            while server.judge.request_log.in_flight != 1:  # noqa: ASYNC110 - the log has no event
                await asyncio.sleep(0.001)
        assert (await asking).chunks == 0


async def test_rehearsal_server_forced_decoding_returns_tokenized_text() -> None:
    async with RehearsalServer(RehearsalConfig(latency_median_s=0)) as server:
        ids = (await exchange(server, "/tokenize", {"content": " A fine answer.", "add_special": False})).json["tokens"]
        grammar = "root ::= " + " ".join(f"<[{i}]>" for i in ids)
        body = {"prompt": "Source.", "grammar": grammar, "max_tokens": len(ids), "temperature": 0, "logprobs": 1}
        choice = (await exchange(server, "/v1/completions", body)).json["choices"][0]
        assert choice["text"] == " A fine answer."
        assert [entry["id"] for entry in choice["logprobs"]["content"]] == ids


async def test_rehearsal_server_serves_models_health_config_and_reset_paths() -> None:
    async with RehearsalServer(RehearsalConfig(latency_median_s=0, model="m-1")) as server:
        assert (await exchange(server, "/v1/models")).json["data"][0]["id"] == "m-1"
        assert (await exchange(server, "/health")).status == 200
        for path, body in (("/v1/nothing", None), ("/v1/embeddings", {})):
            assert (await exchange(server, path, body)).status == 404
        azure = "/openai/deployments/m/chat/completions?api-version=1"
        assert (await exchange(server, azure, QUESTION)).content.startswith("Score: ")
        changed = await exchange(server, "/config", {"always": "401", "scale": [1, 3]})
        assert RehearsalConfig.from_json(changed.body) == server.config
        assert (await exchange(server, azure, QUESTION)).status == 401
        for wrong in ({"fault_500": 2}, {"rpm": 1}, [1]):
            assert (await exchange(server, "/config", wrong)).status == 400
        assert server.config.always == "401"
        assert (await exchange(server, "/reset", {})).json["requests"] == 0
        assert (await exchange(server, "/rows")).json == {}


async def test_rehearsal_server_answers_invalid_body_with_400() -> None:
    async with RehearsalServer(RehearsalConfig(latency_median_s=0)) as server:
        for body in ("no object", {"messages": []}, {**QUESTION, "stream": True}, {**QUESTION, "n": 0}):
            answer = await exchange(server, "/v1/chat/completions", body)
            assert answer.status == 400
            assert answer.json["error"]["type"] == "invalid_request_error"


# --- the process ------------------------------------------------------------------------------------------------------


def answers(url: str) -> bool:
    try:
        with build_opener(ProxyHandler({})).open(url + "/models", timeout=PATIENCE_S) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


@pytest.mark.slow
def test_rehearsal_process_serves_accepts_new_config_and_stops() -> None:
    """Slow: starts an interpreter (0.4 s)."""
    with RehearsalProcess(RehearsalConfig(latency_median_s=0, seed=5)) as judge:
        assert judge.url.endswith("/v1")
        assert answers(judge.url)
        judge.configure(fault_500=0.5)
        assert judge.config.fault_500 == 0.5
        with pytest.raises(SpecError, match="fault_500 must be at least 0 and at most 1"):
            judge.configure(fault_500=5)
        assert judge.stats()["requests"] == 0
        assert judge.rows() == {}
        judge.reset()
    judge.stop()
    assert not answers(judge.url)


@pytest.mark.slow
def test_rehearsal_process_reset_fault_sends_rst() -> None:
    """Slow: starts an interpreter (0.4 s). The process runs on uvloop, whose sockets are not the standard library's."""
    with RehearsalProcess(RehearsalConfig(latency_median_s=0, fault_reset=1.0)) as judge:
        port = int(judge.url.split(":")[2].split("/")[0])
        body = json.dumps(QUESTION).encode()
        with socket.create_connection(("127.0.0.1", port)) as bare:
            head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: j\r\ncontent-length: %d\r\n\r\n" % len(body)
            bare.sendall(head + body)
            with pytest.raises(ConnectionResetError):
                bare.recv(1)
        assert judge.stats()["lost"] == 1


@pytest.mark.slow
@pytest.mark.parametrize("end", ["stdin", "SIGTERM", "SIGINT"])
def test_rehearsal_process_ends_cleanly_on_signal_or_closed_stdin(end: str) -> None:
    """Slow: starts an interpreter (0.4 s)."""
    command = [sys.executable, "-m", "scorer.rehearsal", "--config", '{"latency_median_s": 0}']
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stderr is not None
        url = json.loads(child.stdout.readline())["url"]
        assert answers(url)
        if end == "stdin":
            child.stdin.close()
        else:
            child.send_signal(getattr(signal, end))
        assert child.wait(PATIENCE_S) == 0
        assert child.stderr.read() == b""
    assert not answers(url)


PARENT = """
import time
from scorer.rehearsal.process import RehearsalProcess
with RehearsalProcess() as judge:
    print(judge.url, flush=True)
    time.sleep(60)
"""


@pytest.mark.slow
def test_rehearsal_process_ends_when_parent_is_killed() -> None:
    """Slow: starts two interpreters (0.8 s)."""
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        url = parent.stdout.readline().strip()
        assert answers(url)
        parent.kill()
    wait_until(lambda: not answers(url))


@pytest.mark.slow
def test_rehearsal_process_that_cannot_start_gives_reason(capfd: pytest.CaptureFixture[str]) -> None:
    """Slow: starts an interpreter twice (0.8 s)."""
    command = [sys.executable, "-m", "scorer.rehearsal", "--config", '{"rpm": 1}']
    refused = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert (refused.returncode, refused.stderr) == (2, "rpm is not a key of the rehearsal config.\n")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SetupError, match="exit code 4"), RehearsalProcess(port=port):
            pass
    assert f"127.0.0.1:{port} cannot be served" in capfd.readouterr().err
