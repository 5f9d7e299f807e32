"""Removes secrets from replies: a key that a server echoes reaches no result, log or terminal.

Every reply and every transport error passes here before anything else reads it, so nothing is cut before it is blanked.
Found are the secret itself, its form in JSON, URLs, base64 (also inside a longer base64 text), and each half of
them, since a server may cut what it echoes. In JSON, characters that are needlessly written as \\u0073 or \\/ are read
first. What a server encrypts, reverses or splits is not found.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any
from urllib.parse import quote, quote_plus

from scorer.errors import SetupError, TransientError
from scorer.patterns import pattern
from scorer.types import Call, Reply, Transport

SHORTEST = 8
"""Shorter secrets are not looked for: so short a word may mean anything in a reply."""
BLANK = b"***"
_HALVED = 2 * SHORTEST
_RARE_FIRST = b"QZXJKVYWUGHBFPLMNDOCRSIATE+%=/9876543210_qzxjkvwybgpfhmucdlrsnioate-"
"""The bytes of a secret's forms, about as rarely as they stand in replies; others are rarer."""
_BACKSLASH = ord("\\")
_NEEDLESS = pattern(rb"(?<!\\)((?:\\\\)*)\\(?:u00([2-7][0-9a-fA-F])|(/))")


class Secrets:
    """Replaces these secrets in bytes and texts."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = {*secrets}
        self._search()

    def add(self, secret: str) -> None:
        """One more secret."""
        if secret not in self._secrets:
            self._secrets.add(secret)
            self._search()

    def _search(self) -> None:
        self._needles: list[tuple[bytes, bytes, bool]] = []  # what is searched, the whole form, from its beginning?
        forms = {form for secret in self._secrets if len(secret) >= SHORTEST for form in _forms(secret)}
        for form in sorted(forms, key=lambda form: (-len(form), form)):
            if len(form) < _HALVED:
                self._needles.append((form, form, True))
            else:
                half = len(form) // 2
                self._needles += [(form[:half], form, True), (form[-half:], form, False)]

        # By their rarest byte: a reply without that byte is searched for none of these needles.
        by_rarest: dict[int, list[bytes]] = {}
        for needle, _, _ in self._needles:
            by_rarest.setdefault(min(needle, key=_RARE_FIRST.find), []).append(needle)
        self._searched = list(by_rarest.items())

    def __bool__(self) -> bool:
        return bool(self._needles)

    def blanked(self, data: bytes) -> bytes:
        """The same bytes where they hold no secret, else with *** in its place. JSON stays valid."""
        plain = self._without(data)
        if plain is data:
            if _BACKSLASH not in data or (data.find(b"\\u00") < 0 and data.find(b"\\/") < 0):
                return data
            read = _NEEDLESS.sub(_read, data)
            plain = self._without(read)
            if plain is read:
                return data
        try:
            value = json.loads(data)
        except (ValueError, RecursionError):
            return plain
        # By its strings, for a secret may begin within an escape sequence.
        clean = self._value(value)
        return plain if clean == value else json.dumps(clean).encode()

    def _value(self, value: Any) -> Any:
        if isinstance(value, str):
            found = self._without(data := value.encode("utf-8", "surrogatepass"))
            return value if found is data else found.decode("utf-8", "replace")
        if isinstance(value, list):
            return [self._value(inner) for inner in value]
        if isinstance(value, dict):
            return {self._value(name): self._value(inner) for name, inner in value.items()}
        return value

    def blanked_text(self, text: str) -> str:
        """`blanked` for a text."""
        data = text.encode("utf-8", "surrogatepass")
        found = self.blanked(data)
        return text if found is data else found.decode("utf-8", "replace")

    def _without(self, data: bytes) -> bytes:
        # `in` takes half as long as `find` for one byte as a number, and twice as long for bytes: these it first takes
        # for a number, which raises a TypeError.
        for rarest, needles in self._searched:
            if rarest in data:
                for needle in needles:
                    if data.find(needle) >= 0:
                        return self._cut(data)
        return data

    def _cut(self, data: bytes) -> bytes:
        for needle, form, forwards in self._needles:
            at = data.find(needle)
            while at >= 0:
                start, stop = at, at + len(needle)
                if forwards:  # as far as it goes on like the secret
                    while (
                        stop - start < len(form)
                        and data[stop : stop + 1] == form[stop - start : stop - start + 1] != b""
                    ):
                        stop += 1
                else:
                    while (
                        stop - start < len(form) and start and data[start - 1] == form[len(form) - (stop - start) - 1]
                    ):
                        start -= 1
                data = data[:start] + BLANK + data[stop:]
                at = data.find(needle, start + len(BLANK))
        return data


def _read(found: re.Match[bytes]) -> bytes:
    """A needlessly escaped character as itself; a quote and a backslash need their escape."""
    if found[3]:
        return found[1] + b"/"
    character = bytes([int(found[2], 16)])
    return found[0] if character in b'"\\\x7f' else found[1] + character


def _forms(secret: str) -> Iterable[bytes]:
    plain = secret.encode()
    yield plain
    yield json.dumps(secret)[1:-1].encode()
    yield json.dumps(secret, ensure_ascii=False)[1:-1].encode()
    for safe in ("", "/"):
        quoted = quote(secret, safe=safe)
        yield quoted.encode()
        yield re.sub("%[0-9A-F]{2}", lambda found: found[0].lower(), quoted).encode()
    yield quote_plus(secret).encode()
    for before in range(3):  # whatever stands before it: the characters that depend on the secret alone
        text = base64.b64encode(bytes(before) + plain).rstrip(b"=")
        core = text[-(-before * 8 // 6) : len(text) - bool((before + len(plain)) % 3)]
        if len(core) >= SHORTEST:
            yield core
            yield core.translate(bytes.maketrans(b"+/", b"-_"))


class SecretBlankingTransport:
    """A `Transport` whose replies and errors hold none of the secrets."""

    def __init__(self, transport: Transport, secrets: Secrets) -> None:
        self._transport = transport
        self._secrets = secrets

    async def post(self, call: Call) -> Reply:
        posting = self._transport.post(call)
        del call  # its body is not held while the reply is awaited
        try:
            reply = await posting
        except (TransientError, SetupError) as error:
            error.args = tuple(map(self._text, error.args))
            if isinstance(error, TransientError):
                error.detail = self._secrets.blanked_text(error.detail)
            raise
        body = self._secrets.blanked(reply.body)
        return reply if body is reply.body else replace(reply, body=body)

    def _text(self, value: object) -> object:
        return self._secrets.blanked_text(value) if isinstance(value, str) else value
