"""Joins a Ray cluster, or starts one on this machine for one run. Knows nothing of runs.

What keeps a driver off a cluster is an error of one paragraph: no Ray, no answer at the address, another version,
a wrong token.
"""

from __future__ import annotations

import io
import logging
import os
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from importlib.util import find_spec
from typing import Any

from scorer.errors import SpecError

ANSWERS_S = 10.0
"""A cluster whose address accepts no connection within this time is not reachable."""
STORE_BYTES = 100 * 1024 * 1024
"""Ray's shared memory where Ray is started for the run: workers' messages are small and need none."""
OURS = "local"
"""The address of a Ray that is started for one run."""
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_ADDRESS = re.compile(r"(?P<host>[^\s:/\[\]]+|\[[0-9a-fA-F:.]+\]):(?P<port>\d{1,5})")


@contextmanager
def joined(address: str | None, *, workers: int, say: Callable[[str], None]) -> Iterator[None]:
    """Joins the cluster at `address` while the block lasts: HOST:PORT, or "auto" for the cluster of this machine.

    None takes RAY_ADDRESS, as Ray itself does, else "local": a Ray of this machine alone, on loopback, with a place for
    each of `workers`; it ends with the block, or with this process. `say` gets what Ray would print on stdout, which
    is the user's. Call it in the main thread, before an event loop takes the signals: Ray takes SIGTERM. Raises
    SpecError.
    """
    where = address or os.environ.get("RAY_ADDRESS") or OURS
    if find_spec("ray") is None:
        raise SpecError(["--engine ray needs Ray, which is not installed here: pip install 'batch-scorer[cluster]'."])
    if where not in (OURS, "auto"):
        _probe(where)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if where == OURS:
        # Else Ray takes the machine's own address for 127.0.0.1, and its servers listen on every interface.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    import ray

    options = _options(where, workers)
    with redirect_stdout(_Spoken(say)):
        try:
            ray.init(**options)
        except Exception as error:  # a plain one where a node did not start within Ray's 30 s
            raise SpecError([_refused(where, error)]) from error
        try:
            yield
        finally:
            ray.shutdown()


class _Spoken(io.TextIOBase):
    """A stdout whose lines go to `say`, except the lines of a node's log, of which Ray prints many."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._rest = ""

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            plain = COLOUR.sub("", line).strip()
            if plain and not plain.startswith("["):
                self._say(f"Ray says: {plain}")
        return len(text)


def _options(where: str, workers: int) -> dict[str, Any]:
    # What workers print is in Ray's own logs, node by node.
    options: dict[str, Any] = {"address": where, "log_to_driver": False, "logging_level": logging.ERROR}
    if where == OURS:
        options |= {
            "num_cpus": max(workers, os.cpu_count() or 1),
            "include_dashboard": False,
            "object_store_memory": STORE_BYTES,
            "_node_ip_address": "127.0.0.1",
        }
    return options


def _probe(where: str) -> None:
    """Checks at once what Ray would find after minutes, sometimes by ending the process."""
    found = _ADDRESS.fullmatch(where)
    if found is None or not 0 < int(found["port"]) < 65536:
        raise SpecError(
            [
                f'--address {where} is no address of a Ray cluster. Allowed: HOST:PORT (the head node, as "ray start" '
                'prints it), "auto" (the cluster that this machine belongs to), "local". Start scorer on a node of the '
                "cluster; a ray:// client is not enough, since the output is kept from there."
            ]
        )
    try:
        with socket.create_connection((found["host"].strip("[]"), int(found["port"])), timeout=ANSWERS_S) as wire:
            speaks = os.environ.get("RAY_USE_TLS", "0") != "0" or _speaks_http2(wire)
    except OSError as error:
        raise SpecError(
            [
                f"Nobody answers at --address {where} ({error}). Is the head node up ({_start(where)})? Is the address "
                "the one that it printed? Nothing was sent, and the output was not touched."
            ]
        ) from error
    if not speaks:
        raise SpecError(
            [
                f"What answers at --address {where} is no head of a Ray cluster. That is at port 6379 unless it was "
                "told otherwise; 8265 is the dashboard's and 10001 that of ray:// clients."
            ]
        )


def _speaks_http2(wire: socket.socket) -> bool:
    """True where a gRPC server answers: HTTP/2 settings with settings (RFC 9113, sections 3.4 and 6.5)."""
    wire.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
    header = b""
    while len(header) < 9 and (more := wire.recv(9 - len(header))):
        header += more
    return len(header) == 9 and header[3] == 4


def _start(where: str) -> str:
    return f"ray start --head --port={where.rpartition(':')[2]}"


def _refused(where: str, error: Exception) -> str:
    said = " ".join(str(error).split()).rstrip(".")
    if where == OURS:
        return (
            f"Ray could not be started on this machine. Ray says: {said}. Nothing was sent. On a busy machine the same "
            "command may succeed later; without --engine ray, --workers needs no Ray."
        )
    return (
        f"The Ray cluster at {where} cannot be joined. Ray says: {said}. All nodes and this machine need the same "
        "versions of Ray and of Python, and the cluster's token where it has one; scorer has to be started on a node "
        'of the cluster. "--address local" starts a Ray of this machine alone.'
    )
