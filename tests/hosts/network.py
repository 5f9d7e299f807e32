"""Several hosts on one machine: network namespaces with addresses of their own on one bridge, whose links can be cut.

Needs Linux, root and iproute2. A host is a namespace: its processes share its network, and nothing else differs. All
that is made here is removed by `Network.close`.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

NOBODY = "02:00:00:00:00:01"
"""A hardware address that nobody has: frames to it are lost without a word, as in a cut line."""
PUMP = Path(__file__).with_name("slow_link.py")


def unavailable() -> str | None:
    """Why there can be no network of hosts here, or need not be; None where there can."""
    if "SCORER_HOSTS" not in os.environ:
        return "scripts/hosts runs the tests of several hosts"
    if sys.platform != "linux" or os.geteuid() != 0:
        return "network namespaces need Linux and root"
    if shutil.which("ip") is None:
        return "iproute2 is not installed"
    probe = f"scorer-probe-{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", probe], capture_output=True, text=True, check=False)
    if made.returncode:
        return f"no network namespace can be made ({made.stderr.strip()})"
    _ip("netns", "del", probe)
    return None


@dataclass(frozen=True, slots=True)
class Slow:
    """A slow link: `delay_s` each way, and the share of frames that are lost each way."""

    delay_s: float = 0.0
    loss: float = 0.0


@dataclass(slots=True)
class Host:
    """One host. `link` is the bridge's end of its line."""

    name: str
    ip: str
    namespace: str
    link: str
    environment: Mapping[str, str] = field(default_factory=dict)
    """What each of its processes has in its environment beside that of the tests."""
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def command(self, *words: object) -> list[str]:
        """The command line that runs a command on this host."""
        return ["ip", "netns", "exec", self.namespace, *map(str, words)]

    def start(self, *words: object, output: Path | None = None, **variables: str) -> subprocess.Popen[str]:
        """Starts a command on this host; its output goes to a file where one is given, else into a pipe each."""
        given = {**os.environ, **self.environment, **variables}
        with ExitStack() as stack:
            to = subprocess.PIPE if output is None else stack.enter_context(output.open("a"))
            process = subprocess.Popen(self.command(*words), stdout=to, stderr=to, text=True, env=given)
        self.started.append(process)
        return process

    def cut(self) -> None:
        """Cuts its line: nothing comes and nothing goes."""
        _ip("link", "set", self.link, "down")

    def heal(self) -> None:
        _ip("link", "set", self.link, "up")

    def cut_from(self, other: Host) -> None:
        """What it sends to the other host is lost from now on."""
        _ip("-n", self.namespace, "neigh", "replace", other.ip, "lladdr", NOBODY, "nud", "permanent", "dev", "eth0")

    def heal_to(self, other: Host) -> None:
        _ip("-n", self.namespace, "neigh", "del", other.ip, "dev", "eth0")

    def kill(self) -> None:
        """Its power goes: the line is dead first, then its processes."""
        self.cut()
        self.end()

    def end(self) -> None:
        """Kills all its processes."""
        for _ in range(50):
            found = subprocess.run(
                ["ip", "netns", "pids", self.namespace], capture_output=True, text=True, check=True
            ).stdout.split()
            for number in found:
                with suppress(ProcessLookupError):
                    os.kill(int(number), signal.SIGKILL)
            if not found:
                break
            time.sleep(0.05)
        for process in self.started:
            process.wait()
            for pipe in (process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()
        self.started.clear()


class Network:
    """Hosts on one bridge, at which this process has an address, too. `environment` is that of all processes."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._tag = f"s{os.getpid() % 10**6:x}"
        self._net = f"10.{100 + os.getpid() % 97}.{os.getpid() // 97 % 251}"
        self._environment = dict(environment or {})
        self._pumps: list[subprocess.Popen[str]] = []
        self._wires: list[str] = []
        self.hosts: list[Host] = []
        _ip("link", "add", "name", self._tag, "type", "bridge")
        _ip("addr", "add", f"{self._net}.1/24", "dev", self._tag)
        _ip("link", "set", self._tag, "up")

    def host(self, name: str, slow: Slow | None = None) -> Host:
        """One more host; with `slow` its line is slow and loses frames."""
        number = len(self.hosts) + 11
        made = Host(name, f"{self._net}.{number}", f"{self._tag}-{name}", f"{self._tag}-{number}", self._environment)
        self.hosts.append(made)
        _ip("netns", "add", made.namespace)
        far = f"{self._tag}x{number}"
        if slow is None:
            _ip("link", "add", made.link, "type", "veth", "peer", "name", far)
            self._wires.append(made.link)
        else:
            words = (sys.executable, PUMP, made.link, far, slow.delay_s, slow.loss, number)
            pump = subprocess.Popen([*map(str, words)], stdout=subprocess.PIPE, text=True)
            assert pump.stdout is not None
            assert pump.stdout.readline() == "ready\n"
            self._pumps.append(pump)
        _ip("link", "set", far, "netns", made.namespace)
        _ip("-n", made.namespace, "link", "set", far, "name", "eth0")
        _ip("-n", made.namespace, "addr", "add", f"{made.ip}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            _ip("-n", made.namespace, "link", "set", device, "up")
        _ip("link", "set", made.link, "master", self._tag, "up")
        return made

    def close(self) -> None:
        """Ends all processes and removes everything."""
        for host in self.hosts:
            host.end()
        for pump in self._pumps:
            pump.kill()
            pump.communicate()
        for wire in self._wires:  # the end of a namespace removes them later, and the next network wants their names
            _ip("link", "del", wire)
        for host in self.hosts:
            _ip("netns", "del", host.namespace)
        _ip("link", "del", self._tag)


@contextmanager
def network(environment: Mapping[str, str] | None = None) -> Iterator[Network]:
    """A network for as long as the block lasts."""
    made = Network(environment)
    try:
        yield made
    finally:
        made.close()


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(words)}: {done.stderr.strip()}")
