"""HTTP server of the simulated judge, on loopback.

Serves /v1/chat/completions, /v1/completions, /v1/models, Anthropic's /v1/messages, llama.cpp's /tokenize, vLLM's
/classify, /score and /pooling, text-embeddings-inference's /predict, and the batch APIs of OpenAI (/files, /batches)
and Anthropic (/messages/batches); at the root GET /stats, GET /rows, GET /payments, GET /health, POST /config (a JSON
object of the keys to change) and POST /reset. All decisions are made in simulator.py. It uses aiohttp's low-level
`web.Server` and no Application, since it must be faster than the client that it tests, and fixed paths need no router
and no middleware.
"""

from __future__ import annotations

import asyncio
import socket
import time
from random import Random
from typing import Any, Self

import orjson
from aiohttp import web

from scorer.errors import SpecError
from scorer.rehearsal.batches.http import RESET_ON_CLOSE, BatchHandler
from scorer.rehearsal.batches.simulator import SimulatedBatches
from scorer.rehearsal.config import RehearsalConfig
from scorer.rehearsal.replies import JSON, error
from scorer.rehearsal.request_body import Endpoint
from scorer.rehearsal.simulator import Outcome, RehearsalJudge

_CLASSIFIERS: dict[str, Endpoint] = {
    "classify": "classify",
    "score": "score",
    "pooling": "pooling",
    "predict": "predict",
}
_BACKLOG = 8192  # a rehearsal may open thousands of connections in one instant
_PIECES = 8  # of a trickling body
_CLOSE_S = 0.01  # aiohttp takes 0 for "wait for ever"


class RehearsalServer:
    """Serves a simulated judge while its context is open; `url` is its base_url.

    Leaving the context closes the connections of requests in flight, as a server that goes down does.
    """

    def __init__(self, config: RehearsalConfig | None = None, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self.config = config or RehearsalConfig()
        self.host = host
        self.port = port

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}/v1"

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        now = self._loop.time()
        self.judge = RehearsalJudge(self.config, now, epoch=time.time() - now)
        self._rng = Random(self.config.seed)
        self._new_batches()
        self._batch_http = BatchHandler(lambda: self.batches, self._loop.time, lambda: self.config.hang_s)
        self._http = web.Server(self._respond, access_log=None)
        self._listener = await self._loop.create_server(self._http, self.host, self.port, backlog=_BACKLOG)
        self.port = self._listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listener.close()
        await self._batch_http.close()
        await self._http.shutdown(_CLOSE_S)
        await self._listener.wait_closed()

    def configure(self, **changes: Any) -> None:
        """Changes the judge from now on. Raises: SpecError."""
        config = self.config.changed(changes)
        if config.seed != self.config.seed:
            self._rng.seed(config.seed)
        self.config = config
        self.judge.configure(config, self._loop.time())
        self.batches.configure(config.batch)

    def reset(self) -> None:
        """An empty request log, full buckets, the draws from their beginning."""
        self._rng.seed(self.config.seed)
        self.judge.reset(self._loop.time())
        self._new_batches()

    def _new_batches(self) -> None:
        self.batches = SimulatedBatches(self.judge, self.config.batch, Random(f"batches of {self.config.seed}"))

    def _stats(self) -> dict[str, Any]:
        return {**self.judge.stats(), "batches": self.batches.stats(self._loop.time())}

    async def _respond(self, http: web.BaseRequest) -> web.StreamResponse:
        """The answer to a request. A client that is killed meanwhile is no error of this server."""
        try:
            return await self._answer(http)
        except ConnectionError:
            return web.Response()

    async def _answer(self, http: web.BaseRequest) -> web.StreamResponse:
        path = http.path
        if self._batch_http.takes(below := path.removeprefix("/v1")):
            return await self._batch_http.answer(http, below)
        if http.method == "POST":
            body = await http.content.read()
            if path.endswith("/chat/completions"):
                return await self._judge(http, "chat", body)
            if path.endswith("/completions"):
                return await self._judge(http, "text", body)
            if path.endswith("/messages"):
                return await self._judge(http, "messages", body)
            if (endpoint := _CLASSIFIERS.get(path.rpartition("/")[2])) is not None:
                return await self._judge(http, endpoint, body)
            if path == "/tokenize":
                return _json(*self.judge.tokenize(_loads(body)))
            if path == "/config":
                return self._configure(body)
            if path == "/reset":
                self.reset()
                return _json(200, orjson.dumps(self._stats()))
        elif path == "/stats":
            return _json(200, orjson.dumps(self._stats()))
        elif path == "/payments":
            return _json(200, orjson.dumps(self.batches.payments()))
        elif path == "/rows":
            return _json(200, orjson.dumps(self.judge.request_log.rows))
        elif path.endswith("/models"):
            return _json(200, self.judge.models())
        elif path == "/health":
            return _json(200, b'{"status":"ok"}')
        return _json(404, error(f"Invalid URL ({http.method} {path})", "invalid_request_error"))

    def _configure(self, body: bytes) -> web.Response:
        changes = _loads(body)
        try:
            if not isinstance(changes, dict):
                raise SpecError(["POST /config takes a JSON object of the keys to change."])
            self.configure(**changes)
        except SpecError as wrong:
            return _json(400, error(str(wrong), "invalid_request_error"))
        return _json(200, self.config.to_json().encode())

    async def _judge(self, http: web.BaseRequest, endpoint: Endpoint, body: bytes) -> web.StreamResponse:
        outcome = self.judge.ask(endpoint, _loads(body), self._loop.time(), self._rng)
        if outcome.delay_s > 0:
            await asyncio.sleep(outcome.delay_s)
        response = web.StreamResponse() if outcome.wire in ("slow", "cut") else web.Response(body=outcome.body)
        response.set_status(outcome.status)
        response.headers["content-type"] = JSON
        response.headers.update(outcome.headers)
        delivered = _open(http)
        if delivered and outcome.wire != "whole":
            delivered = await self._damage(http, outcome, response)
        self.judge.settle(outcome, self._loop.time(), delivered=delivered)
        return response

    async def _damage(self, http: web.BaseRequest, outcome: Outcome, response: web.StreamResponse) -> bool:
        """Sends an answer the way its `wire` says; True where it arrived whole all the same."""
        transport = http.transport
        assert transport is not None
        if outcome.wire == "reset":
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            transport.abort()
            return False
        if outcome.wire == "hang":
            transport.close()
            return False
        response.content_length = len(outcome.body)
        step = -(-len(outcome.body) // _PIECES)
        try:
            await response.prepare(http)
            if outcome.wire == "cut":
                await response.write(outcome.body[: len(outcome.body) // 2])
                transport.close()
                return False
            for start in range(0, len(outcome.body), step):
                await asyncio.sleep(self.config.slow_s / _PIECES)
                await response.write(outcome.body[start : start + step])
        except ConnectionError:
            return False
        return True


def _open(http: web.BaseRequest) -> bool:
    return http.transport is not None and not http.transport.is_closing()


def _loads(body: bytes) -> Any:
    """The JSON value, None where it is no JSON."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def _json(status: int, body: bytes) -> web.Response:
    return web.Response(status=status, body=body, content_type=JSON)
