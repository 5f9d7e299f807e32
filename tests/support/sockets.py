"""The TCP sockets of a process, as the kernel lists them in /proc."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

LISTENING = "0A"
_LOOPBACK = ("0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F")
"""127.0.0.1, ::1 and ::ffff:127.0.0.1 as the kernel writes them."""


@dataclass(frozen=True, slots=True)
class Socket:
    """One end of a connection, or a socket that takes connections. Addresses and ports are hexadecimal."""

    local: str
    remote: str
    state: str

    @property
    def loopback(self) -> bool:
        return self.local.partition(":")[0] in _LOOPBACK

    @property
    def remote_port(self) -> int:
        return int(self.remote.partition(":")[2], 16)


def sockets(process: int) -> Iterator[Socket]:
    """The sockets of a process of this machine."""
    listed = {}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            _, local, remote, state, *_, inode = line.split()[:10]
            listed[f"socket:[{inode}]"] = Socket(local, remote, state)
    for descriptor in Path(f"/proc/{process}/fd").glob("*"):
        with suppress(FileNotFoundError):
            if (found := listed.get(os.readlink(descriptor))) is not None:
                yield found
