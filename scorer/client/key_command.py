"""A key that a command prints, asked for again where a server refuses it: tokens of Vertex, Entra and Azure expire.

The command is run without a shell, once at the start and once for each refusal, however many requests were refused. A
request that was refused was not billed; it is sent again with the new key, once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from scorer.client.blanking import Secrets
from scorer.errors import SetupError
from scorer.escapes import printable_line
from scorer.types import Call, Reply, Transport

PATIENCE_S = 60.0
"""Seconds that the command may take."""
REFUSED = (401, 403)


class KeyCommand:
    """The key of `model.api_key_command`: `key`, once `ask` has returned. Each printed key is added to `secrets`."""

    def __init__(self, command: Sequence[str], secrets: Secrets) -> None:
        self._command = tuple(command)
        self._secrets = secrets
        self._asking = asyncio.Lock()
        self._repeated: str | None = None  # refused, and all that the command has
        self.key = ""

    async def ask(self, refused: str = "") -> str:
        """The key, from the command unless that has printed another than `refused` meanwhile, or only that one again.

        Raises SetupError where it cannot be run, fails, prints nothing, or takes longer than 60 s. Cancelling it ends
        the command.
        """
        async with self._asking:
            if self.key == refused != self._repeated:
                self.key = await self._printed()
                self._secrets.add(self.key)
                self._repeated = refused if self.key == refused else None
        return self.key

    async def _printed(self) -> str:
        name = f"model.api_key_command = {list(self._command)}"
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
        except OSError as error:
            raise SetupError(f"{name} cannot be run: {error.strerror or error}.") from error
        try:
            async with asyncio.timeout(PATIENCE_S):
                out, err = await process.communicate()
        except TimeoutError:
            raise SetupError(f"{name} printed no key within {PATIENCE_S:g} s.") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            said = printable_line(err.decode("utf-8", "replace").strip())[:300]
            raise SetupError(f"{name} ended with exit code {process.returncode}{f': {said}' if said else ''}.")
        try:
            key = out.decode("ascii").strip()
        except UnicodeDecodeError:
            key = ""
        if not key or len(key.split()) != 1:
            raise SetupError(f"{name} must print the key and nothing else on stdout: one word of ASCII characters.")
        return key


class KeyCommandTransport:
    """A `Transport` that sends each call with the newest key in the place of `first`, the one in its headers.

    A reply 401 or 403 asks the command again; where that prints another key, the call is sent again with it.
    """

    def __init__(self, transport: Transport, command: KeyCommand, first: str) -> None:
        self._transport = transport
        self._command = command
        self._first = first
        self._headers: dict[int, tuple[Mapping[str, str], str, dict[str, str]]] = {}

    async def post(self, call: Call) -> Reply:
        key = self._command.key
        reply = await self._transport.post(self._with(call, key))
        if reply.status in REFUSED and await self._command.ask(refused=key) != key:
            return await self._transport.post(self._with(call, self._command.key))
        return reply

    def _with(self, call: Call, key: str) -> Call:
        """The call with this key. Calls of the same headers get one object: transports know connections by it."""
        if key == self._first:
            return call
        known = self._headers.get(id(call.headers))
        if known is None or known[0] is not call.headers or known[1] != key:
            changed: dict[str, Any] = {name: value.replace(self._first, key) for name, value in call.headers.items()}
            known = self._headers[id(call.headers)] = (call.headers, key, changed)
        return replace(call, headers=known[2])
