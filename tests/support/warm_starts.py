"""Starts the real command in a process of its own whose imports are done: forked from one that did nothing but import.

A cold start is half a second of CPU, nearly all of it imports, and the suite starts the command some two hundred times.
A warm one has its own pid, streams, signals, environment and exit code as a cold one has; what Python itself reads at
its start (PYTHON...) it does not see. Tests of starts, imports and the search path start cold (`command.started`).
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any, NoReturn

PRELOADED = (
    "scorer.cli.app", "scorer.cli.output_commands", "scorer.cli.progress_views", "scorer.cli.run_commands",
    "scorer.cli.run_text", "scorer.client.providers.logprobs", "scorer.client.providers.openai",
    "scorer.files.object_store", "scorer.inputs.arrow_rows", "scorer.job.estimate", "scorer.job.job",
    "scorer.cli.setup_commands", "scorer.job.retry", "scorer.judges.rating", "scorer.output.verify.folder",
    "cyclopts.help", "dateutil.relativedelta", "numpy.ma", "numpy.random", "pyarrow.parquet", "rich.table", "uvloop",
)  # fmt: skip
"""What a command imports only once it is asked for; without it a warm start takes 50 to 80 ms of CPU more. Not polars:
it starts threads, which no fork takes along."""


_OPEN: list[WarmProcess] = []
"""The processes whose block was not left yet."""


def end_all() -> None:
    """Ends the processes that a test left behind, so that their unclosed streams are no failure of the next test."""
    while _OPEN:
        _OPEN[-1].__exit__()


class WarmProcess:
    """A command under way, with the part of `subprocess.Popen` that tests use; leaving its block kills it."""

    def __init__(self, pid: int, status: socket.socket, stdout: IO[str] | None, stderr: IO[str] | None) -> None:
        self.pid = pid
        self.stdout = stdout
        self.stderr = stderr
        self.returncode: int | None = None
        """Minus the number of the signal that ended it, where one did."""
        self._status = status
        _OPEN.append(self)

    def __enter__(self) -> WarmProcess:
        return self

    def __exit__(self, *_: object) -> None:
        _OPEN.remove(self)
        self.kill()
        self.wait()
        for stream in (self.stdout, self.stderr):
            if stream is not None:
                stream.close()
        self._status.close()  # its number is free from now on

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def poll(self) -> int | None:
        try:
            return self.wait(0.0)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            self._status.settimeout(timeout)
            try:
                self.returncode = int(_line(self._status))
            except (TimeoutError, BlockingIOError):
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0) from None
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Waits for the end. The rest of what it wrote to stdout and to stderr."""
        assert self.stdout is not None
        assert self.stderr is not None
        with ThreadPoolExecutor(2) as threads:
            streams = [threads.submit(stream.read) for stream in (self.stdout, self.stderr)]
            try:
                self.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill()
                raise
        out, err = (stream.result() for stream in streams)
        return out, err


class WarmStarts:
    """The parent of warm starts, started at the first one; one for each pytest process."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None

    def run(
        self, arguments: Sequence[str], environment: Mapping[str, str], stdin: str | None, timeout_s: float
    ) -> tuple[int, str, str]:
        """Exit code (minus the number of the signal that ended it), stdout and stderr of one command."""
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            given.write((stdin or "").encode())
            given.seek(0)
            with self._begun(arguments, environment, (given, out, err)) as process:
                try:
                    code = process.wait(timeout_s)
                except subprocess.TimeoutExpired:
                    raise subprocess.TimeoutExpired([*arguments], timeout_s, _text(out), _text(err)) from None
            return code, _text(out), _text(err)

    def start(self, arguments: Sequence[str], environment: Mapping[str, str]) -> WarmProcess:
        """A command under way, whose stdout and stderr are pipes. A `sitecustomize` of PYTHONPATH is run first.

        `-c` and a program as its first arguments run that program instead, as those of Python itself do.
        """
        (out, theirs_out), (err, theirs_err) = os.pipe(), os.pipe()
        with open(os.devnull) as given, open(theirs_out, "wb") as out_end, open(theirs_err, "wb") as err_end:
            process = self._begun(arguments, environment, (given, out_end, err_end))
        process.stdout, process.stderr = open(out), open(err)  # noqa: SIM115 - closed with the process
        return process

    def _begun(
        self, arguments: Sequence[str], environment: Mapping[str, str], streams: Sequence[IO[Any]]
    ) -> WarmProcess:
        status, theirs = socket.socketpair()
        asked = {"arguments": [*arguments], "environment": {**environment}, "folder": os.getcwd()}
        with theirs:
            descriptors = [*(one.fileno() for one in streams), theirs.fileno()]
            socket.send_fds(self._ready(), [json.dumps(asked).encode() + b"\n"], descriptors)
        return WarmProcess(int(_line(status)), status, None, None)

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
        read = channel.recv(1)
        assert read, "the parent of the warm starts has ended"
        said += read
    return said


def _serve(channel: socket.socket) -> list[str]:
    """Forks a keeper for each command, which forks the command. Returns its arguments in the command alone."""
    while True:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:  # of keepers that have ended, so that their CPU time is counted
                pass
        message, descriptors, *_ = socket.recv_fds(channel, 1 << 20, 4)
        if not message:
            sys.exit(0)
        while not message.endswith(b"\n"):
            message += channel.recv(1 << 20)
        if os.fork() == 0:
            channel.close()
            *streams, status = descriptors
            pid = os.fork()
            if pid:
                _keep(pid, streams, socket.socket(fileno=status))
            os.close(status)
            return _become(json.loads(message), streams)
        for descriptor in descriptors:
            os.close(descriptor)


def _keep(pid: int, streams: Sequence[int], status: socket.socket) -> NoReturn:
    """Tells a command's pid and its exit code. Its pid stays taken until the other end of `status` is closed."""
    for stream in streams:
        os.close(stream)
    status.sendall(b"%d\n" % pid)
    ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert ended is not None
    code = ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
    with contextlib.suppress(OSError):  # nobody waits any more
        status.sendall(b"%d\n" % code)
        status.recv(1)
    os.waitpid(pid, 0)
    os._exit(0)


def _become(asked: dict[str, Any], streams: Sequence[int]) -> list[str]:
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.environ.clear()
    os.environ.update(asked["environment"])
    os.chdir(asked["folder"])
    for folder in filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)):
        sys.path.insert(0, folder)
        if os.path.exists(path := os.path.join(folder, "sitecustomize.py")):
            runpy.run_path(path)
    return ["scorer", *asked["arguments"]]


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
    if sys.argv[1:2] == ["-c"]:
        program = sys.argv.pop(2)
        sys.argv.pop(0)
        exec(compile(program, "program", "exec"), {"__name__": "__main__"})
        return
    settle_command()
    main()


if __name__ == "__main__":
    _main()
