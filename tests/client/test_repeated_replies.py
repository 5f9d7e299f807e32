"""Promise: a reply sent twice on a kept connection is never another row's; constant ids cost nothing.

Raw sockets on loopback, the real transport, the real OpenAI dialect.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import termios
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.clock import inline

from scorer.client.client import HttpClient
from scorer.client.endpoints import Endpoint
from scorer.client.model_terms import ModelTerms
from scorer.client.providers.openai import OpenAI
from scorer.client.repeated_replies import CONFIRMED, REMEMBERED, DuplicateReplies, reply_id
from scorer.client.transport import HttpTransport
from scorer.config.cost import Price
from scorer.files.local_files import LocalFiles
from scorer.limits import Budget, LocalLimiter, RateLimits
from scorer.output.ledger import Ledger
from scorer.types import Message, Reply, Request

Name = Callable[[int, str], str | None]
"""The id of a reply, from its number and the question."""


@dataclass
class Server:
    """Answers each question with its own text, under the id that `name` gives, and sends some replies twice."""

    name: Name = lambda number, _: f"chatcmpl-{number}"
    twice: Callable[[int], bool] = lambda _: False
    late_s: float = 0.003
    """So long after a reply comes its copy; with replies that take less, after a later one's."""
    status: int = 200
    first_s: float = 0.0
    between: bool = False
    """A copy comes when the next question has come, and is read before its reply, however busy the machine is."""
    asked: list[str] = field(default_factory=list)
    opened: int = 0
    numbers: count[int] = field(default_factory=count)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened += 1
        copies, earlier = set(), b""
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                question = json.loads(await reader.readexactly(length))["messages"][0]["content"]
                self.asked.append(question)
                number = next(self.numbers)
                named = self.name(number, question)
                reply = _reply(self.status, {"id": named} if named is not None else {}, question)
                await asyncio.sleep(self.first_s)
                if earlier:
                    writer.write(earlier)
                    await _read_by_client(writer)
                writer.write(reply)
                if self.between and self.twice(number):
                    earlier = reply
                elif self.twice(number):
                    copies.add(asyncio.create_task(self._again(writer, reply)))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            for copy in copies:
                copy.cancel()
            writer.close()

    async def _again(self, writer: asyncio.StreamWriter, reply: bytes) -> None:
        await asyncio.sleep(self.late_s)
        if not writer.is_closing():
            writer.write(reply)


async def _read_by_client(writer: asyncio.StreamWriter) -> None:
    """Waits until the client, which is on this loop, has read all that was written to it."""
    socket = writer.get_extra_info("socket")
    while fcntl.ioctl(socket, termios.TIOCOUTQ, bytes(4)) != bytes(4):  # noqa: ASYNC110 - nothing tells of it
        await asyncio.sleep(0)
    for _ in range(3):
        await asyncio.sleep(0)


def _reply(status: int, named: dict[str, str], question: str) -> bytes:
    message = {"role": "assistant", "content": question}
    value = {
        **named,
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 1},
    }
    body = json.dumps(value).encode()
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)


@dataclass
class RunOutcome:
    """What came of it: the questions whose answer was another's, and what the ledger and people were told."""

    wrong: list[str]
    limits: LocalLimiter
    ledger: Ledger
    alive: list[bool | None]
    """What each settled attempt said of the endpoint."""


async def asked(server: Server, questions: list[str], *, at_once: int = 1, pause_s: float = 0.0) -> RunOutcome:
    """Every question put to the server, so many at once."""
    ledger = Ledger(LocalFiles(), "never-written", "me", offload=inline, strict=False)
    alive: list[bool | None] = []
    limits = LocalLimiter(
        RateLimits(concurrency=at_once), Budget(ledger), on_settle=lambda _, outcome: alive.append(outcome.alive)
    )
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    wrong: list[str] = []
    left = iter(questions)
    async with listening, HttpTransport(connections=at_once, timeout_s=60) as wire:
        judge = HttpClient(
            [Endpoint(OpenAI(name="m", base_url=f"http://127.0.0.1:{port}/v1"), limits)],
            wire,
            ModelTerms(Price(1.0, 1.0), 8),
            retries=3,
            clock=asyncio.get_running_loop().time,
        )

        async def one_after_another() -> None:
            for question in left:
                found = await judge.complete(Request(messages=(Message("user", question),)))
                wrong.extend([question] if found.text != question else [])
                await asyncio.sleep(pause_s)

        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(one_after_another())
    return RunOutcome(wrong, limits, ledger, alive)


def texts(many: int) -> list[str]:
    return [f"row {number}" for number in range(many)]


@pytest.mark.parametrize("at_once", [1, 4])
@pytest.mark.parametrize("late_s", [0.0, 0.0005, 0.003], ids=["at once", "half a millisecond late", "3 ms late"])
async def test_client_gives_duplicate_reply_to_no_other_row(at_once: int, late_s: float) -> None:
    server = Server(twice=lambda number: number > 4 and number % 7 == 0, late_s=late_s, first_s=0.004)
    outcome = await asked(server, texts(24), at_once=at_once)
    assert outcome.wrong == []
    totals = outcome.ledger.totals
    assert totals.requests == 24, "each row is billed once by its own reply"
    assert totals.maybe_requests == len(server.asked) - 24, "what was thrown away counts as possibly billed"
    assert outcome.alive.count(True) == 24, "a copy of an earlier reply says nothing of the endpoint now"
    assert set(server.asked) == set(texts(24))


async def test_client_detects_duplicate_after_later_reply() -> None:
    """The copy comes while the next but one request waits."""
    server = Server(twice=lambda number: number in (6, 13), late_s=0.015, first_s=0.01)
    outcome = await asked(server, texts(20))
    assert outcome.wrong == []
    assert 20 <= len(server.asked) <= 22


async def test_client_scores_rows_right_and_resends_few_if_every_reply_is_duplicated() -> None:
    server = Server(twice=lambda number: number > 1, between=True)
    outcome = await asked(server, texts(12))
    assert outcome.wrong == []
    assert len(server.asked) == 12 + CONFIRMED
    assert any("sends replies twice" in note for note in outcome.limits.notes)


@pytest.mark.parametrize("named", ["chatcmpl-0", None], ids=["constant ids", "no ids"])
async def test_client_resends_nothing_for_constant_reply_ids(named: str | None) -> None:
    server = Server(name=lambda *_: named)
    outcome = await asked(server, texts(50), at_once=2)
    assert (outcome.wrong, len(server.asked), server.opened) == ([], 50, 2)
    assert outcome.ledger.totals.maybe_requests == 0
    assert outcome.limits.notes == []


async def test_client_resends_once_for_cache_with_repeated_ids_and_notes_cause() -> None:
    server = Server(name=lambda _, question: f"cached-{question}")
    outcome = await asked(server, [*texts(5), *["the same"] * 20])
    assert outcome.wrong == []
    assert (len(server.asked), outcome.ledger.totals.maybe_requests) == (26, 1)
    assert server.opened == 2
    assert [note for note in outcome.limits.notes if "gives different replies the same id" in note]


async def test_client_discards_bytes_received_on_idle_connection() -> None:
    server = Server(name=lambda *_: None, twice=lambda _: True)
    outcome = await asked(server, texts(5), pause_s=0.01)
    assert (outcome.wrong, len(server.asked), server.opened) == ([], 5, 5)


async def test_client_shifts_no_reply_after_duplicate_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error has no id: its connection brings no further reply."""
    monkeypatch.setattr("scorer.client.retry.FIRST_BACKOFF_S", 0.001)

    class Failing(Server):
        status = property(lambda self: 503 if len(self.asked) in (3, 7) else 200, lambda self, _: None)  # type: ignore[assignment]

    server = Failing(twice=lambda number: number in (2, 6), first_s=0.004)
    outcome = await asked(server, texts(12))
    assert (outcome.wrong, len(server.asked)) == ([], 14)


class Wire:
    """A connection."""

    def __init__(self) -> None:
        self.ids: dict[str, None] = {}

    def drop(self) -> None: ...


def test_duplicate_replies_trusts_repeated_id_before_ids_differ() -> None:
    repeats, wire, other = DuplicateReplies(), Wire(), Wire()

    def reply(named: str, line: Wire) -> Reply:
        return Reply(200, {}, json.dumps({"id": named}).encode(), line)

    assert repeats.doubts(reply("a", wire), None) is None
    assert repeats.doubts(reply("a", wire), None) is None
    assert repeats.doubts(reply("b", other), None) is None
    assert repeats.doubts(reply("a", wire), None) == "a"
    assert repeats.doubts(reply("b", other), None) == "b"
    assert repeats.doubts(reply("a", Wire()), "a") is None
    assert repeats.off


def test_duplicate_replies_remembers_bounded_number_of_ids() -> None:
    repeats, wire = DuplicateReplies(), Wire()
    for number in range(REMEMBERED + 1):
        assert repeats.doubts(Reply(200, {}, b'{"id": "%d"}' % number, wire), None) is None
    assert len(wire.ids) == REMEMBERED
    assert repeats.doubts(Reply(200, {}, b'{"id": "1"}', wire), None) == "1"


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b'{"choices": [{"id": "inner"}], "id": "chatcmpl-1"}', "chatcmpl-1"),
        (b'{"id": 17}', "17"),
        (b'{"responseId": "g"}', "g"),
        (b'{"id": null}', None),
        (b'{"choices": [{"message": {"content": "\\"id\\": \\"x\\""}}]}', None),
        (b"[1]", None),
        (b"<html>", None),
        (b"", None),
    ],
)
def test_reply_id_reads_top_level_id(body: bytes, named: str | None) -> None:
    assert reply_id(body) == named


@given(st.binary())
def test_reply_id_raises_on_no_bytes(body: bytes) -> None:
    reply_id(body)
