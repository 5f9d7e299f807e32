"""The two judges of the benchmark: nginx, which answers at once, and the rehearsal judge, which has latency.

Both listen on loopback, on a port of their own, on a core of their own where there is more than one.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.task import MODEL
from scorer.rehearsal.config import RehearsalConfig
from scorer.rehearsal.process import RehearsalProcess

NO_NGINX = "nginx is not installed (Debian: apt-get install nginx-light): the rehearsal judge at latency 0 stands in."
START_S = 10.0
_REPLY = {
    "id": "chatcmpl-0",
    "object": "chat.completion",
    "created": 1764000000,
    "model": f"{MODEL}-2024-07-18",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Score: 4", "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
    "usage": {
        "prompt_tokens": 300,
        "completion_tokens": 4,
        "total_tokens": 304,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    },
    "system_fingerprint": "fp_0",
}
# One process, as the user who started it: nothing of the system's nginx is read or written. A prompt is held in memory
# (client_body_buffer_size), and a kept connection is never closed for its age.
_CONFIG = """
daemon off; master_process off; pid {folder}/pid; error_log stderr error;
events {{ worker_connections 8192; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 300; client_body_buffer_size 64k;
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{
    listen 127.0.0.1:{port} backlog=8192{tls};
    location / {{ default_type application/json; return 200 '{reply}'; }}
  }}
}}
"""


def nginx() -> str | None:
    """The program, None where it is not installed."""
    return shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


@contextmanager
def instant(cpu: int | None, *, tls: bool = False) -> Iterator[str]:
    """The base URL of an nginx that answers "Score: 4" to everything. Raises FileNotFoundError where there is none.

    With `tls` it speaks TLS under a certificate of its own, and SSL_CERT_FILE names its authority meanwhile.
    """
    program = nginx()
    if program is None:
        raise FileNotFoundError(NO_NGINX)
    with tempfile.TemporaryDirectory(prefix="bench-nginx-") as folder:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        config = Path(folder, "conf")
        how = _certified(Path(folder)) if tls else ""
        config.write_text(_CONFIG.format(folder=folder, port=port, reply=json.dumps(_REPLY), tls=how), "utf-8")
        child = subprocess.Popen([program, "-p", folder, "-c", str(config), "-e", "stderr"])
        try:
            pin(child.pid, cpu)
            _await(port, child)
            with _trusted(Path(folder, "authority.pem") if tls else None):
                yield f"{'https' if tls else 'http'}://127.0.0.1:{port}/v1"
        finally:
            child.terminate()
            child.wait()


@contextmanager
def rehearsal(cpu: int | None, **config: Any) -> Iterator[RehearsalProcess]:
    """A rehearsal judge with a model's verdicts from 1 to 5; `config` as in RehearsalConfig."""
    with RehearsalProcess(RehearsalConfig(**config)) as judge:
        pin(judge.pid, cpu)
        yield judge


def pin(process: int, cpu: int | None) -> None:
    """Keeps a process on one core; None leaves it where it is."""
    if cpu is not None:
        os.sched_setaffinity(process, {cpu})


def cores() -> tuple[int | None, int | None]:
    """A core for the contender and another for the judge; (None, None) where there are not two to choose from."""
    if not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2:
        return None, None
    first, second, *_ = sorted(os.sched_getaffinity(0))
    return first, second


def _certified(folder: Path) -> str:
    """Writes a certificate for 127.0.0.1 and its authority's; what nginx's `listen` line needs for it."""
    import trustme

    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(folder / "authority.pem")
    certificate.private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    return f" ssl; ssl_certificate {folder}/server.pem; ssl_certificate_key {folder}/server.pem"


@contextmanager
def _trusted(authority: Path | None) -> Iterator[None]:
    """What is started meanwhile trusts the authority in this file."""
    names = () if authority is None else ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")  # requests knows its own name only
    before = {name: os.environ[name] for name in names if name in os.environ}
    os.environ.update(dict.fromkeys(names, str(authority)))
    try:
        yield
    finally:
        for name in names:
            os.environ.pop(name)
        os.environ.update(before)


def _await(port: int, child: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_S
    while child.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.01)
        else:
            return
    raise SystemExit(f"nginx did not answer on port {port}; what it says is above")
