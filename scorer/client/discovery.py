"""Where the replicas of a fleet are: the lines of a file, or the addresses of a DNS name. Reads, and remembers nothing.

Knows no client and no limits.
"""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path
from typing import Protocol

from scorer.config.addresses import DNS, FILE, dns_parts, is_plain
from scorer.errors import SpecError


class Discovery(Protocol):
    """The source of a fleet's addresses."""

    source: str
    """As the run file has it."""

    async def addresses(self) -> list[str]:
        """The base URLs now, each once, in order. Raises SpecError with what is wrong where there is none."""
        ...


def discovery(source: str) -> Discovery:
    """The discovery that a checked source names: `file:PATH` or `dns://HOST:PORT/PATH`."""
    return DnsDiscovery(source) if source.startswith(DNS) else FileDiscovery(source)


class FileDiscovery:
    """A text file with one base URL a line; blank lines and what follows a # are left out."""

    def __init__(self, source: str) -> None:
        self.source = source
        self._path = Path(os.path.expanduser(source.removeprefix(FILE)))

    async def addresses(self) -> list[str]:
        try:
            text = await asyncio.to_thread(self._path.read_text, "utf-8")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no text in UTF-8"
            raise SpecError([f"{self._path} cannot be read: {why}. It takes one base URL a line."]) from error
        lines = [(number, line.partition("#")[0].strip()) for number, line in enumerate(text.splitlines(), 1)]
        wrong = [
            f'{self._path}, line {number}: must be a plain http(s) address such as "http://10.0.0.1:8000/v1", without '
            "spaces, user or query."
            for number, line in lines
            if line and not is_plain(line)
        ]
        if wrong:
            raise SpecError(wrong)
        found = list(dict.fromkeys(line for _, line in lines if line))
        if not found:
            raise SpecError([f"{self._path} has no address. It takes one base URL a line."])
        return found


class DnsDiscovery:
    """All A and AAAA records of a name, each as `http://ADDRESS:PORT/PATH`: a headless service of Kubernetes."""

    def __init__(self, source: str) -> None:
        self.source = source
        parts = dns_parts(source)
        assert parts is not None, "the run file is checked"
        self._host, self._port, self._path = parts.hostname, parts.port, parts.path

    async def addresses(self) -> list[str]:
        try:
            loop = asyncio.get_running_loop()
            records = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise SpecError([f"{self._host} cannot be resolved: {error.strerror or error}."]) from error
        hosts = sorted({str(place[0]) for *_, place in records})
        return [f"http://{f'[{host}]' if ':' in host else host}:{self._port}{self._path}" for host in hosts]
