"""Promise: an outage of the judge costs time and no row; a wrong address ends the run within seconds.

Real sockets, names and TLS on loopback, by the whole job in virtual time. Over 300 lines: the server too.
"""

from __future__ import annotations

import asyncio
import os
import selectors
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import trustme
from support.clock import inline, now
from support.raw_server import held_port

from scorer.build.assemble import make_client
from scorer.build.plan import check
from scorer.cli.terminal import line
from scorer.client.transport import HttpTransport
from scorer.errors import Interrupted, SetupError, TooManyFailed
from scorer.files.local_files import LocalFiles
from scorer.job.callbacks import Callbacks
from scorer.job.job import Job
from scorer.limits.breaker import FIRST_PAUSE_S, LONGEST_PAUSE_S
from scorer.output.progress import Snapshot
from scorer.output.status import Status, status
from scorer.rehearsal.replies import ALWAYS
from scorer.types import Call, Reply

ROWS = 120
HOUR_S = 3600.0
HOST = "judge.test"
GOOD = (
    b'{"model": "m", "choices": [{"message": {"content": "4"}}], "usage": {"prompt_tokens": 9, "completion_tokens": 1}}'
)


BAD_PARAMETER = b'{"error": {"message": "Unknown argument: top_p.", "type": "invalid_request_error", "param": "top_p"}}'
SLOWLY = b'{"error": {"message": "Rate limit reached."}}'
REPLIES = {**ALWAYS, "parameter": (400, BAD_PARAMETER), "429": (429, SLOWLY)}


class _SocketsFirst(selectors.DefaultSelector):
    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or not timeout:
            return ready if timeout is not None else super().select(5.0)
        self.now += timeout
        return super().select(0)


class SocketLoop(asyncio.SelectorEventLoop):
    """Virtual time with real sockets: the clock jumps where no socket has anything to say. It knows the name HOST."""

    def __init__(self) -> None:
        self._sockets_first = _SocketsFirst()
        self.unknown: int | None = None
        """The resolver's error, while it does not know the name."""
        super().__init__(self._sockets_first)

    def time(self) -> float:
        return self._sockets_first.now

    async def getaddrinfo(self, host: Any, port: Any, **_: Any) -> Any:
        if self.unknown is not None:
            raise socket.gaierror(self.unknown, "name or service not known")
        assert host == HOST
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]


@dataclass
class Judge:
    """A server on loopback that closes each connection after its reply. What it does, `fails` says: "" is well."""

    fails: str = ""
    at_start: bool = False
    """It fails from the start, else as soon as 40 replies were given; and is well again `lasts_s` later."""
    since: float = float("inf")
    lasts_s: float = HOUR_S
    replies: int = 0
    takes_s: float = 4.0
    good_tls: ssl.SSLContext | None = None
    bad_tls: ssl.SSLContext | None = None
    _held: socket.socket = field(default_factory=held_port, repr=False)  # also while it is away
    _server: asyncio.Server | None = field(default=None, repr=False)
    _begun: asyncio.Event = field(default_factory=asyncio.Event, repr=False)

    @property
    def port(self) -> int:
        return int(self._held.getsockname()[1])

    async def listen(self, tls: ssl.SSLContext | None) -> None:
        await self.stop()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=tls, reuse_port=True)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def end(self) -> None:
        await self.stop()
        self._held.close()

    def _begin(self) -> None:
        self.since = min(self.since, now())
        self._begun.set()

    @property
    def down(self) -> bool:
        return self.since <= now() < self.since + self.lasts_s

    async def weather(self) -> None:
        """Breaks what `fails` names, and mends it again."""
        if self.at_start:
            self._begin()
        await self._begun.wait()
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SocketLoop)
        if self.fails == "refused":
            await self.stop()
        elif self.fails == "certificate":
            await self.listen(self.bad_tls)
        elif self.fails == "plain":
            await self.listen(None)
        elif self.fails == "name":
            loop.unknown = socket.EAI_NONAME
        elif self.fails == "resolver":
            loop.unknown = socket.EAI_AGAIN
        await asyncio.sleep(self.since + self.lasts_s - now())
        loop.unknown = None
        await self.listen(self.good_tls)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._answer(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # a client that waits no longer
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.read(1)
        if head == b"\x16":  # a TLS handshake, where none is spoken
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            writer.close()
            return
        head += await reader.readuntil(b"\r\n\r\n")
        length = next(int(h.split(b":")[1]) for h in head.lower().split(b"\r\n") if h.startswith(b"content-length"))
        await reader.readexactly(length)
        await asyncio.sleep(HOUR_S if self.fails == "blackhole" and self.down else self.takes_s)
        status, body = 200, GOOD
        if self.fails in REPLIES and self.down:
            status, body = REPLIES[self.fails]
        self.replies += 1
        if self.replies == 40:
            self._begin()
        writer.write(b"HTTP/1.1 %d X\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % (status, len(body)) + body)
        await writer.drain()
        writer.close()


@dataclass
class Night:
    """What a run did: its end, what it showed each second, and when it asked."""

    status: Status | None = None
    error: SetupError | TooManyFailed | Interrupted | None = None
    seconds: float = 0.0
    shown: list[tuple[float, Snapshot]] = field(default_factory=list)
    asked: list[tuple[float, float]] = field(default_factory=list)
    """Begin and end of every request."""


def scored(
    folder: Path,
    judge: Judge,
    *,
    scheme: str = "http",
    rows: int = ROWS,
    until_s: float = 3 * HOUR_S,
    stop_s: float | None = None,
    timeout_s: float = 120.0,
    limits: Mapping[str, float] | None = None,
    replies: Mapping[str, tuple[int, bytes]] | None = None,
) -> Night:
    """The whole job against the judge, over a shard of so many rows; asked to stop once after `stop_s`."""
    night = Night()
    REPLIES.update(replies or {})
    (folder / "in").mkdir(exist_ok=True)
    pq.write_table(pa.table({"response": [f"answer {n}" for n in range(rows)]}), folder / "in/a.parquet")

    class Watched(HttpTransport):
        async def post(self, call: Call) -> Reply:
            since = now()
            try:
                return await super().post(call)
            finally:
                night.asked.append((since, now()))

    async def main() -> None:
        await judge.listen(judge.good_tls)
        weather = asyncio.create_task(judge.weather())
        await asyncio.sleep(0.0)
        await asyncio.sleep(0.0)
        plan = check(
            {
                "input": {"shards": [str(folder / "in")]},
                "judge": {"kind": "rating", "prompt": "Rate: {response}", "scale": [1, 5]},
                "model": {
                    "name": "m",
                    "base_url": f"{scheme}://{HOST}:{judge.port}/v1",
                    "price": {"input": 1, "output": 1},
                    "timeout_s": timeout_s,
                },
                "limits": {"concurrency": 4, **(limits or {})},
                "output": {"path": str(folder / "out"), "flush_s": 60.0},
            }
        )
        job = Job(
            plan,
            LocalFiles(),
            offload=inline,
            wall_s=lambda: 1.8e9 + now(),
            callbacks=Callbacks(lambda snapshot: night.shown.append((now(), snapshot))),
            connect=partial(make_client, transport=Watched),
        )
        if stop_s is not None:
            asyncio.get_running_loop().call_later(stop_s, job.stop)
        try:
            async with asyncio.timeout(until_s):
                night.status = await job.run()
        except (SetupError, TooManyFailed, Interrupted) as error:
            night.error = error
        night.seconds = now()
        weather.cancel()
        await judge.end()

    with asyncio.Runner(loop_factory=SocketLoop) as runner:
        runner.run(main())
    return night


@pytest.fixture(autouse=True)
def a_disk_without_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody pulls the plug here; and an hour second by second is a minute of renames."""
    for name in ("fsync", "fdatasync"):
        monkeypatch.setattr(os, name, lambda _: None)
    monkeypatch.setattr("scorer.output.sealer.TIDY_S", 30.0)
    monkeypatch.setattr("scorer.output.progress.PERIOD_S", 10.0)


@pytest.fixture
def tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], ssl.SSLContext]:
    """Server contexts for HOST, of an authority that is trusted here or of one that is not."""
    trusted, foreign = trustme.CA(), trustme.CA()
    trusted.cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))

    def context(good: bool) -> ssl.SSLContext:
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        (trusted if good else foreign).issue_cert(HOST).configure_cert(server)
        return server

    return context


# --- in the middle of a run -------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("fails", ["refused", "name", "certificate", "plain", "500"])
def test_outage_of_an_hour_costs_an_hour_and_no_row_with_one_probe_at_a_time(
    fails: str, tls: Callable[[bool], ssl.SSLContext], tmp_path: Path
) -> None:
    """Slow: an hour of progress lines."""
    judge = Judge(fails=fails)
    if fails in ("certificate", "plain"):
        judge.good_tls, judge.bad_tls = tls(True), tls(False)
    night = scored(tmp_path, judge, scheme="https" if judge.good_tls else "http")
    assert night.status is not None
    assert (night.status.state, night.status.scored, night.status.failed) == ("complete", ROWS, 0)
    assert HOUR_S < night.seconds < HOUR_S + 2 * LONGEST_PAUSE_S + 120

    opened = next(at - snapshot.outage_s for at, snapshot in night.shown if snapshot.outage_s is not None)
    probes = sorted(one for one in night.asked if opened < one[0] and one[1] < judge.since + HOUR_S)
    assert 100 < len(probes) < 140
    assert all(end <= begin for (_, end), (begin, _) in pairwise(probes)), "one at a time"
    pauses = [begin - end for (_, end), (begin, _) in pairwise(probes)]
    assert pauses[0] >= FIRST_PAUSE_S
    assert all(after > before for before, after in pairwise(pauses[:4]))
    assert pauses[10:] == pytest.approx([LONGEST_PAUSE_S] * len(pauses[10:]), abs=0.1)

    lines = [line(snapshot) for at, snapshot in night.shown if opened + 60 < at < judge.since + HOUR_S]
    assert len(lines) > 300
    assert all("the judge does not answer for " in text and "no row is failed" in text for text in lines)
    assert night.shown[-1][1].outage_s is None


# --- and nobody ever came ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fails", ["refused", "503", "429"])
def test_first_answer_s_ends_a_run_whose_judge_never_answers_with_the_reason(fails: str, tmp_path: Path) -> None:
    night = scored(tmp_path, Judge(fails=fails, at_start=True), rows=4, limits={"first_answer_s": 60.0})
    assert night.error is not None
    assert night.error.exit_code == 4
    assert "limits.first_answer_s = 60 s" in str(night.error)
    assert f"{HOST}:" in str(night.error)
    assert {"refused": "cannot reach", "503": "answered 503", "429": "answered 429"}[fails] in str(night.error)
    assert 60 <= night.seconds < 100
    found = status(LocalFiles(), str(tmp_path / "out"))
    assert (found.state, found.pending) == ("stopped", 4)
    assert found.why == str(night.error)


@pytest.mark.slow
def test_first_answer_s_does_not_apply_after_an_answer_in_an_earlier_start(tmp_path: Path) -> None:
    """Slow: an outage of an hour. The first start is stopped by hand, after some rows."""
    first = scored(tmp_path, Judge(), stop_s=20.0, limits={"first_answer_s": 60.0})
    assert isinstance(first.error, Interrupted)
    judge = Judge(fails="refused", at_start=True)
    second = scored(tmp_path, judge, limits={"first_answer_s": 60.0})
    assert second.error is None
    assert second.status is not None
    assert (second.status.state, second.status.scored) == ("complete", ROWS)
    assert second.seconds > HOUR_S


@pytest.mark.slow
def test_first_answer_s_waits_for_requests_within_their_timeout(tmp_path: Path) -> None:
    """Slow: four minutes second by second. A first reply may take as long as `timeout_s` allows."""
    judge = Judge(takes_s=200.0)
    night = scored(tmp_path, judge, rows=2, limits={"first_answer_s": 60.0}, timeout_s=240.0)
    assert night.status is not None
    assert night.status.scored == 2


def test_first_answer_s_of_0_waits_without_a_limit(tmp_path: Path) -> None:
    night = scored(
        tmp_path, Judge(fails="refused", at_start=True, lasts_s=2000.0), rows=4, limits={"first_answer_s": 0}
    )
    assert night.status is not None
    assert night.status.scored == 4


@pytest.mark.parametrize("fails", ["refused", "503", "429", "blackhole"])
def test_stop_in_an_outage_ends_the_run_at_once(fails: str, tmp_path: Path) -> None:
    night = scored(tmp_path, Judge(fails=fails, at_start=True), rows=40, stop_s=400.0, limits={"first_answer_s": 0})
    assert isinstance(night.error, Interrupted)
    assert night.error.exit_code == 130
    assert 400 <= night.seconds < 405
    found = status(LocalFiles(), str(tmp_path / "out"))
    assert (found.state, found.pending) == ("interrupted", 40)
    assert found.why is not None
    assert HOST in found.why
    shown = [line(snapshot) for at, snapshot in night.shown if at > 140]
    assert all("the judge does not answer" in text and HOST in text for text in shown)


def test_progress_line_shows_the_reason_of_an_outage_without_control_characters(tmp_path: Path) -> None:
    ended = b'{"error": {"message": "Your subscription has ended\\u001b[2J"}}'
    night = scored(tmp_path, Judge(fails="ended", at_start=True), rows=4, stop_s=60.0, replies={"ended": (503, ended)})
    text = line(night.shown[-1][1])
    assert "Your subscription has ended\\x1b[2J" in text
    assert orjson.loads((tmp_path / "out/progress.json").read_bytes())["why"].endswith("has ended\\x1b[2J")


@pytest.mark.parametrize("fails", ["401", "402", "403", "404"])
def test_setup_error_costs_nothing(fails: str, tmp_path: Path) -> None:
    night = scored(tmp_path, Judge(fails=fails, at_start=True), rows=40, limits={"max_usd": 1.0})
    assert night.error is not None
    assert night.error.exit_code == 4
    assert len(night.asked) == 4
    found = status(LocalFiles(), str(tmp_path / "out"))
    assert (found.cost_usd, found.maybe_billed_usd, found.requests) == (0.0, 0.0, 0)
    assert found.why == str(night.error)


# --- at its start -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fails", "scheme", "hint"),
    [
        ("name", "http", "No such host is known: check model.base_url"),
        ("certificate", "https", "Its certificate is not trusted here: check model.base_url"),
        ("plain", "https", "It does not speak TLS as asked: check model.base_url"),
    ],
)
def test_wrong_address_ends_the_run_within_seconds(
    fails: str, scheme: str, hint: str, tls: Callable[[bool], ssl.SSLContext], tmp_path: Path
) -> None:
    judge = Judge(fails=fails, at_start=True)
    if fails == "certificate":
        judge.bad_tls = tls(False)
    night = scored(tmp_path, judge, scheme=scheme)
    assert night.error is not None
    assert night.error.exit_code == 4
    assert hint in str(night.error)
    assert f"cannot reach {scheme}://{HOST}" in str(night.error)
    assert night.seconds < 10


@pytest.mark.slow
@pytest.mark.parametrize("fails", ["refused", "resolver", "503"])
def test_start_waits_for_a_judge_that_is_not_up_yet(fails: str, tmp_path: Path) -> None:
    """Slow: five minutes of waiting."""
    night = scored(tmp_path, Judge(fails=fails, at_start=True, lasts_s=300.0), rows=4)
    assert night.status is not None
    assert (night.status.scored, night.status.failed) == (4, 0)
    assert 300 < night.seconds < 300 + 2 * LONGEST_PAUSE_S


@pytest.mark.parametrize(
    ("fails", "hint"),
    [
        ("401", "does not accept the key: check the key of api_key_env or api_key_command"),
        ("402", "quota or credit is used up; top it up"),
        ("403", "does not allow this: check the key of api_key_env or api_key_command, and whether its account may"),
        ("404", "Check model.base_url"),
        ("404_model", "model.name"),
        ("insufficient_quota", "quota or credit is used up; top it up"),
    ],
)
def test_permanent_fault_ends_the_run_at_once(fails: str, hint: str, tmp_path: Path) -> None:
    night = scored(tmp_path, Judge(fails=fails, at_start=True))
    assert night.error is not None
    assert night.error.exit_code == 4
    assert hint in str(night.error)
    assert night.seconds < 5
    assert len(night.asked) <= 8  # those in flight, and who took their places in that instant


@pytest.mark.slow
def test_rejected_parameter_ends_the_run_after_200_rows(tmp_path: Path) -> None:
    """Slow: two hundred connections."""
    night = scored(tmp_path, Judge(fails="parameter", at_start=True), rows=1000)
    assert isinstance(night.error, TooManyFailed)
    assert "The first 200 rows all ended in Rejected" in str(night.error)
    assert "Unknown argument: top_p" in str(night.error)
    assert 200 <= len(night.asked) <= 208
