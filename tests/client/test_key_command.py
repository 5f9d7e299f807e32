"""`model.api_key_command`: the key that a command prints, and prints anew once a server refuses it."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest
from support.transport import FakeTransport

from scorer.build.endpoints import base_of
from scorer.client.blanking import Secrets
from scorer.client.key_command import KeyCommand, KeyCommandTransport
from scorer.errors import SetupError
from scorer.types import Call, Reply

HEADERS = {"Authorization": "Bearer token-number-1", "X-Team": "scoring"}


class Server(FakeTransport):
    """Takes the newest key only; `keys` are what came."""

    def __init__(self, valid: str) -> None:
        super().__init__()
        self.valid = valid
        self.keys: list[str] = []
        self.headers: list[int] = []

    async def reply(self, call: Call, number: int) -> Reply:
        key = call.headers["Authorization"].removeprefix("Bearer ")
        self.keys.append(key)
        self.headers.append(id(call.headers))
        await asyncio.sleep(0)
        return Reply(200 if key == self.valid else 401, {}, b"{}")


def counting(folder: Path) -> list[str]:
    """A command that prints token-number-1, then -2, ... and counts how often it ran."""
    script = folder / "key.py"
    script.write_text(
        "import pathlib\n"
        f"file = pathlib.Path({str(folder / 'runs')!r})\n"
        "runs = int(file.read_text()) + 1 if file.exists() else 1\n"
        "file.write_text(str(runs))\n"
        "print(f'token-number-{runs}')\n"
    )
    return [sys.executable, str(script)]


def runs(folder: Path) -> int:
    return int((folder / "runs").read_text())


async def test_key_command_runs_once_for_many_refused_requests(tmp_path: Path) -> None:
    secrets = Secrets(())
    command = KeyCommand(counting(tmp_path), secrets)
    assert await command.ask() == "token-number-1"
    server = Server("token-number-2")
    transport = KeyCommandTransport(server, command, "token-number-1")

    replies = await asyncio.gather(*(transport.post(Call("http://judge", b"", HEADERS)) for _ in range(20)))

    assert [reply.status for reply in replies] == [200] * 20
    assert runs(tmp_path) == 2
    assert server.keys == ["token-number-1"] * 20 + ["token-number-2"] * 20
    assert len(set(server.headers[20:])) == 1, "one object of headers, by which connections are known"
    assert secrets.blanked(b"token-number-1 token-number-2") == b"*** ***"
    assert (await transport.post(Call("http://judge", b"", HEADERS))).status == 200
    assert runs(tmp_path) == 2


async def test_key_command_returns_server_reply_if_key_stays_refused(tmp_path: Path) -> None:
    command = KeyCommand([sys.executable, "-c", "print('the-only-token')"], Secrets(()))
    await command.ask()
    transport = KeyCommandTransport(server := Server("another"), command, "the-only-token")
    headers = {"Authorization": "Bearer the-only-token"}
    replies = await asyncio.gather(*(transport.post(Call("http://judge", b"", headers)) for _ in range(5)))
    assert [reply.status for reply in replies] == [401] * 5
    assert len(server.keys) == 5


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("import sys; print('no account', file=sys.stderr); sys.exit(3)", r"exit code 3: no account\."),
        ("pass", "one word of ASCII"),
        ("print('two words')", "one word of ASCII"),
        ("print('schlüssel')", "one word of ASCII"),
    ],
)
async def test_key_command_without_key_is_setup_error(script: str, why: str) -> None:
    with pytest.raises(SetupError, match=why):
        await KeyCommand([sys.executable, "-X", "utf8", "-c", script], Secrets(())).ask()


async def test_key_command_not_found_is_setup_error() -> None:
    with pytest.raises(SetupError, match="cannot be run: No such file"):
        await KeyCommand(["/nowhere/gcloud", "print"], Secrets(())).ask()


@pytest.mark.parametrize("path", ["", "/", "/chat/completions", "/chat/completions/", "/messages", "/responses"])
def test_base_of_strips_paths_that_providers_add(path: str) -> None:
    assert base_of(f"https://judge.example.com/v1{path}") == "https://judge.example.com/v1"
