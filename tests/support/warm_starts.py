"""Starts the real command in a process of its own whose imports are done: forked from one that did nothing but import.

A cold start is half a second of CPU, nearly all of it imports, and the suite starts the command some two hundred times.
A warm one has its own pid, streams, signals, environment and exit code as a cold one has; what Python itself reads at
its start (PYTHON...) it does not see. Tests of starts, imports and the search path start cold (`command.started`).
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import IO

PRELOADED = ("scorer.cli.app", "scorer.job.job", "scorer.job.retry", "scorer.output.verify.folder", "pyarrow.parquet")


class WarmStarts:
    """The parent of warm starts, started at the first one; one for each pytest process."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None

    def run(
        self, arguments: Sequence[str], environment: Mapping[str, str], stdin: str | None, timeout_s: float
    ) -> tuple[int, str, str]:
        """Exit code (minus the number of the signal that ended it), stdout and stderr of one command."""
        channel = self._ready()
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            given.write((stdin or "").encode())
            given.seek(0)
            asked = {"arguments": [*arguments], "environment": {**environment}, "folder": os.getcwd()}
            streams = [one.fileno() for one in (given, out, err)]
            socket.send_fds(channel, [json.dumps(asked).encode() + b"\n"], streams)
            pid = int(_line(channel))
            channel.settimeout(timeout_s)
            try:
                code = int(_line(channel))
            except TimeoutError:
                os.kill(pid, signal.SIGKILL)
                channel.settimeout(None)
                _line(channel)
                raise subprocess.TimeoutExpired([*arguments], timeout_s, _text(out), _text(err)) from None
            finally:
                channel.settimeout(None)
            return code, _text(out), _text(err)

    def _ready(self) -> socket.socket:
        if self._channel is None:
            self._channel, theirs = socket.socketpair()
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", __file__, str(theirs.fileno())], pass_fds=[theirs.fileno()]
                )
            atexit.register(self._end)
        return self._channel

    def _end(self) -> None:
        assert self._channel is not None
        assert self._process is not None
        self._channel.close()
        self._process.wait()


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode().replace("\r\n", "\n")


def _line(channel: socket.socket) -> bytes:
    said = b""
    while not said.endswith(b"\n"):
        read = channel.recv(4096)
        assert read, "the parent of the warm starts has ended"
        said += read
    return said


def _serve(channel: socket.socket) -> list[str]:
    """Forks for each command and tells its pid and its exit code. Returns its arguments in the forked process alone."""
    while True:
        told, streams, *_ = socket.recv_fds(channel, 1 << 20, 3)
        if not told:
            sys.exit(0)
        while not told.endswith(b"\n"):
            told += channel.recv(1 << 20)
        asked = json.loads(told)
        pid = os.fork()
        if pid == 0:
            channel.close()
            for number, stream in enumerate(streams):
                os.dup2(stream, number)
                os.close(stream)
            os.environ.clear()
            os.environ.update(asked["environment"])
            os.chdir(asked["folder"])
            return ["scorer", *asked["arguments"]]
        for stream in streams:
            os.close(stream)
        channel.sendall(b"%d\n" % pid)
        _, status = os.waitpid(pid, 0)
        channel.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))


def _main() -> None:
    import gc
    import importlib

    for module in PRELOADED:
        importlib.import_module(module)
    from scorer.cli.app import main
    from scorer.processes.search_path import settle_command

    gc.freeze()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C at the terminal ends pytest, which ends this
    sys.argv = _serve(socket.socket(fileno=int(sys.argv[1])))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    settle_command()
    main()


if __name__ == "__main__":
    _main()
