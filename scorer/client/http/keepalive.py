"""TCP keepalive (RFC 9293, 3.8.4): the system probes a connection that is silent.

A judge that thinks for minutes sends nothing meanwhile. A router that translates addresses forgets such a connection,
many after one to six minutes: the reply is lost, and neither side is told. Probes keep the connection in its table, and
end a connection whose other side is gone.
"""

from __future__ import annotations

import socket
from typing import Any

SILENT_S = 30
"""The first probe comes after so many seconds without a byte."""
PROBES_S = 15
"""Seconds between probes that are not answered. Nine of them end the connection, as the system has it."""
_OPTIONS = [
    (level, option, value)
    for level, option, value in (
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        (socket.IPPROTO_TCP, getattr(socket, "TCP_KEEPIDLE", getattr(socket, "TCP_KEEPALIVE", None)), SILENT_S),
        (socket.IPPROTO_TCP, getattr(socket, "TCP_KEEPINTVL", None), PROBES_S),
    )
    if option is not None
]


def keep_alive(wire: socket.socket) -> None:
    """Has the system probe this TCP connection. Raises OSError where it has ended."""
    for level, option, value in _OPTIONS:
        wire.setsockopt(level, option, value)


def probed_socket(address: tuple[Any, ...]) -> socket.socket:
    """A socket for one entry of what `getaddrinfo` returns, probed once it is connected."""
    family, kind, protocol, *_ = address
    made = socket.socket(family, kind, protocol)
    try:
        keep_alive(made)
    except BaseException:
        made.close()
        raise
    return made
