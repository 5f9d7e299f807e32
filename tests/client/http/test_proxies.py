"""Proxies: which one the environment names, what is asked of it, and what its refusals become. Real sockets."""

from __future__ import annotations

import ast
import asyncio
import socket
from pathlib import Path

import aiohttp
import pytest
from support.raw_server import OK, SECRET, held_port, request, server

from scorer.build.endpoints import on_this_machine
from scorer.client.http import proxies
from scorer.client.http.proxies import proxy_for
from scorer.client.transport import HttpTransport
from scorer.errors import SetupError, Unreachable
from scorer.types import Call


@pytest.mark.parametrize("status", [407, 403, 401])
async def test_proxy_refusing_connect_is_setup_error(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 %d Not\x1b[2J you\r\nContent-Length: 0\r\n\r\n" % status)

    async with server(answer) as url:
        address = url.partition("/v1")[0].replace("://", "://me:secret@")
        monkeypatch.setattr(proxies, "proxy_for", lambda _: address)
        async with HttpTransport(connections=4, timeout_s=60, proxies=True) as wire:
            with pytest.raises(SetupError, match=f"answered {status}") as caught:
                await wire.post(Call(f"https://judge.invalid/v1?{SECRET}", b"{}"))
    assert "HTTPS_PROXY" in str(caught.value)
    assert "judge.invalid/v1" in str(caught.value)
    assert not [word for word in ("secret", "\x1b", SECRET) if word in str(caught.value)]


def test_proxy_for_reads_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    assert proxy_for("https://api.example.com/v1") is None
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    monkeypatch.setenv("NO_PROXY", "inside.example.com")
    assert proxy_for("https://api.example.com/v1") == "http://proxy:3128"
    assert proxy_for("http://api.example.com/v1") is None
    assert proxy_for("https://inside.example.com/v1") is None


def test_proxy_for_takes_a_proxy_without_a_scheme_for_http(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"me:{SECRET}@proxy:3128")
    monkeypatch.delenv("https_proxy", raising=False)
    assert proxy_for("https://api.example.com/v1") == f"http://me:{SECRET}@proxy:3128"


@pytest.mark.parametrize(
    ("host", "full"),
    [("127.1", "127.0.0.1"), ("10.258", "10.0.1.2"), ("127.0.0.1", "127.0.0.1"), ("[::1]", "[::1]"), ("a.1", "a.1")],
)
def test_proxy_for_writes_a_short_address_in_full(host: str, full: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:{SECRET}@{host}:3128")
    monkeypatch.delenv("https_proxy", raising=False)
    assert proxy_for("https://api.example.com/v1") == f"http://me:{SECRET}@{full}:3128"


@pytest.mark.parametrize("proxy", ["socks5://me:{}@proxy:1080", "http://me:{}@proxy:99999", "::::", "http://", "{}@"])
async def test_transport_refuses_a_proxy_that_it_cannot_use(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("ALL_PROXY", proxy.format(SECRET))
    async with HttpTransport(connections=4, timeout_s=60, proxies=True) as wire:
        with pytest.raises(SetupError, match=r"names the proxy .* ALL_PROXY") as caught:
            await wire.post(Call("http://judge.invalid/v1", b"{}"))
    assert SECRET not in str(caught.value)


async def test_a_proxy_that_is_not_reached_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    with held_port() as held:
        gone = f"http://127.0.0.1:{held.getsockname()[1]}"
        monkeypatch.setattr(proxies, "proxy_for", lambda _: gone.replace("://", f"://me:{SECRET}@"))
        for scheme in ("http", "https"):
            async with HttpTransport(connections=4, timeout_s=60, proxies=True) as wire:
                with pytest.raises(Unreachable) as caught:
                    await wire.post(Call(f"{scheme}://judge.invalid/v1", b"{}"))
            assert f"cannot reach the proxy {gone} for {scheme}://judge.invalid/v1: " in str(caught.value)
            assert SECRET not in str(caught.value)
            assert not caught.value.billed


async def test_a_proxy_of_an_unknown_name_is_a_matter_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    async def unknown(*_: object, **__: object) -> list[object]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(aiohttp.ThreadedResolver, "resolve", unknown)
    monkeypatch.setattr(proxies, "proxy_for", lambda _: "http://proxy.invalid:3128")
    async with HttpTransport(connections=4, timeout_s=60, proxies=True) as wire:
        with pytest.raises(Unreachable, match="cannot reach the proxy") as caught:
            await wire.post(Call("http://judge.invalid/v1", b"{}"))
    assert caught.value.hint is not None
    assert "HTTPS_PROXY" in caught.value.hint
    assert "model.base_url" not in caught.value.hint


@pytest.mark.parametrize(
    ("url", "here"),
    [
        ("http://localhost:8080/v1", True),
        ("https://LOCALHOST/v1", True),
        ("http://127.1.2.3:1/v1", True),
        ("http://[::1]:80/v1", True),
        ("http://localhost.evil/v1", False),
        ("http://127.0.0.1.evil.com/v1", False),
        ("http://127.evil.com/v1", False),
        ("http://localhostess:80/v1", False),
        ("http://10.0.0.1/v1", False),
    ],
)
def test_on_this_machine_holds_for_loopback_only(url: str, here: bool) -> None:
    assert on_this_machine(url) is here


async def test_transport_with_proxies_reports_invalid_address_as_setup_error() -> None:
    async with HttpTransport(connections=4, timeout_s=60, proxies=True) as wire:
        with pytest.raises(SetupError, match="is no address to post to"):
            await wire.post(Call("http://[::1/v1", b"{}"))


async def test_transport_sends_requests_to_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append((await request(reader))[0][0])
        writer.write(OK)
        await writer.drain()

    async with server(answer) as url:
        monkeypatch.setattr(proxies, "proxy_for", lambda _: url.partition("/v1")[0])
        async with HttpTransport(connections=4, timeout_s=60, proxies=True) as wire:
            reply = await wire.post(Call("http://judge.invalid/v1", b"{}"))
    assert reply.body == b"hi"
    assert seen == ["POST http://judge.invalid/v1 HTTP/1.1"]


async def test_transport_sends_credentials_to_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            seen.append((await request(reader))[0])
            writer.write(OK)

    async with server(answer) as url:
        address = url.partition("/v1")[0].replace("://", "://me:secret@")
        monkeypatch.setattr(proxies, "proxy_for", lambda _: address)
        async with HttpTransport(connections=4, timeout_s=60, proxies=True) as wire:
            for _ in range(2):
                assert (await wire.post(Call("http://judge.invalid/v1", b"{}"))).body == b"hi"
    assert [[line for line in head if line.startswith("Proxy-Authorization")] for head in seen] == [
        ["Proxy-Authorization: Basic bWU6c2VjcmV0"]
    ] * 2


async def test_transport_keeps_tls_end_to_end_through_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append((await reader.readuntil(b"\r\n\r\n")).split(b"\r\n"))
        writer.write(b"HTTP/1.1 502 No\r\n\r\n")
        await writer.drain()

    async with server(answer) as url:
        monkeypatch.setattr(proxies, "proxy_for", lambda _: url.partition("/v1")[0])
        async with HttpTransport(connections=4, timeout_s=60, proxies=True) as wire:
            with pytest.raises(Unreachable):
                await wire.post(Call(f"https://judge.invalid/v1?{SECRET}", b"{}", {"Authorization": "Bearer sk-1"}))
    assert seen[0][0] == b"CONNECT judge.invalid:443 HTTP/1.1"
    assert b"sk-1" not in b"".join(seen[0])


async def test_transport_does_not_bill_tls_handshake_cut_in_proxy_tunnel(monkeypatch: pytest.MonkeyPatch) -> None:
    async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await reader.read(10)

    async with server(tunnel) as url:
        monkeypatch.setattr(proxies, "proxy_for", lambda _: url.partition("/v1")[0])
        async with HttpTransport(connections=4, timeout_s=60, proxies=True) as wire:
            with pytest.raises(Unreachable, match="cannot reach") as caught:
                await wire.post(Call("https://judge.invalid/v1", b"{}"))
    assert not caught.value.billed


async def test_transport_announces_proxy_once_before_first_request(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert said
        while True:
            await request(reader)
            writer.write(OK)

    async with server(answer) as url:
        address = url.partition("/v1")[0].replace("://", "://me:secret@")
        monkeypatch.setattr(proxies, "proxy_for", lambda _: address)
        async with HttpTransport(connections=4, timeout_s=60, proxies=True, say=said.append) as wire:
            for path in ("v1", "v1", "v2"):
                await wire.post(Call(f"http://judge.invalid/{path}", b"{}"))
    assert len(said) == 1
    assert "judge.invalid:80" in said[0]
    assert "the proxy http://127.0.0.1" in said[0]
    assert "secret" not in said[0]


def test_client_uses_only_public_names_of_aiohttp() -> None:
    """Each `aiohttp.X` in the client is in `aiohttp.__all__`, and of its modules only `abc` is imported."""
    used: set[str] = set()
    for path in Path(proxies.__file__).parents[1].rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "aiohttp":
                assert node.module == "aiohttp.abc", path
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "aiohttp":
                used.add(node.attr)
    assert "ClientSession" in used
    assert used <= set(aiohttp.__all__)
