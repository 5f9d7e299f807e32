"""A proxy in front of the real S3 server that returns errors, delays or loses responses."""

from __future__ import annotations

import http.client
import random
import time
from typing import Any

from support.http_server import HttpHandler, HttpServer

_BODY = b"<Error><Code>%s</Code><Message>on purpose</Message></Error>"


class BadDay(HttpServer):
    """Forwards to the server at `port`. `errors` maps a status to its share, `lost` is the share of answers cut off.

    A lost answer's request was carried out. `seen` lists the requests as "PUT /lake/key"; `bytes_sent` counts bodies.
    The errors begin with request number `from_segment` of those for a segment's file; 0 is at once.
    """

    def __init__(
        self,
        port: int,
        *,
        errors: dict[int, float] | None = None,
        lost: float = 0.0,
        delay_s: float = 0.0,
        from_segment: int = 0,
    ) -> None:
        super().__init__(_Handler)
        self.port = port
        self.errors = errors or {}
        self.from_segment = from_segment
        self.lost = lost
        self.delay_s = delay_s
        self.random = random.Random(7)
        self.seen: list[str] = []
        self.faults = 0
        self.bytes_sent = 0

    def handle_error(self, *_: Any) -> None:
        """A client that went away is no matter of the test."""


class _Handler(HttpHandler):
    server: BadDay

    def _forward(self) -> None:
        day = self.server
        body = self.body()
        day.seen.append(f"{self.command} {self.path}")
        time.sleep(day.delay_s)
        begun = sum("/segments/" in line for line in day.seen) >= day.from_segment
        for status, share in day.errors.items():
            if begun and day.random.random() < share:
                day.faults += 1
                self._reply(status, {}, _BODY % (b"SlowDown" if status == 503 else b"InternalError"))
                return
        backend = http.client.HTTPConnection("127.0.0.1", day.port)
        try:
            backend.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                backend.putheader(name, value)
            backend.endheaders(body)
            answer = backend.getresponse()
            data = answer.read()
        finally:
            backend.close()
        if day.random.random() < day.lost:
            day.faults += 1
            self.close_connection = True
            return
        self._reply(answer.status, dict(answer.getheaders()), data)

    def _reply(self, status: int, headers: dict[str, str], data: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        length = headers.get("Content-Length", "0") if self.command == "HEAD" else str(len(data))
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.server.bytes_sent += len(data)
            self.wfile.write(data)

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = _forward
