"""`python -m scorer.rehearsal`: the simulated judge as its own process.

Prints one JSON line, {"url": "http://127.0.0.1:PORT/v1"}, when it is ready. It ends on SIGTERM, on Ctrl-C, and when its
standard input ends, so that it ends with its parent, even after kill -9.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import orjson

from scorer.errors import SetupError, SpecError
from scorer.rehearsal.config import RehearsalConfig
from scorer.rehearsal.server import RehearsalServer


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m scorer.rehearsal", description=(__doc__ or "").split("\n\n")[1])
    parser.add_argument("--config", default="{}", metavar="JSON", help="keys of RehearsalConfig to set")
    parser.add_argument("--host", default="127.0.0.1", help="the address to serve; others than loopback are for tests")
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    arguments = parser.parse_args()
    try:
        config = RehearsalConfig.from_json(arguments.config)
    except SpecError as wrong:
        sys.stderr.write(f"{wrong}\n")
        return wrong.exit_code
    try:
        _runner()(serve(config, arguments.port, arguments.host))
    except OSError as wrong:
        sys.stderr.write(f"{arguments.host}:{arguments.port} cannot be served: {wrong}\n")
        return SetupError.exit_code
    return 0


async def serve(config: RehearsalConfig, port: int, host: str = "127.0.0.1") -> None:
    """Serves until a signal comes or standard input ends."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    with contextlib.suppress(NotImplementedError):  # Windows: a signal ends the process without our help
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, ended.set)

    def watch_parent() -> None:
        # os.read and not sys.stdin: a thread blocked in a buffered read holds a lock that ending the interpreter needs.
        while os.read(0, 4096):
            pass
        loop.call_soon_threadsafe(ended.set)

    async with RehearsalServer(config, host=host, port=port) as server:
        sys.stdout.write(orjson.dumps({"url": server.url}).decode() + "\n")
        sys.stdout.flush()
        threading.Thread(target=watch_parent, daemon=True).start()
        await ended.wait()


def _runner() -> Callable[[Coroutine[Any, Any, None]], None]:
    try:
        import uvloop
    except ImportError:  # Windows has none
        return asyncio.run
    return uvloop.run


if __name__ == "__main__":
    sys.exit(main())
