"""Promise: an endpoint that is down gets one probe at a time, at growing pauses, and is found again once up."""

from __future__ import annotations

from itertools import pairwise

import pytest

from scorer.limits.breaker import FIRST_PAUSE_S, LONGEST_PAUSE_S, Breaker


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def opened(clock: Clock) -> Breaker:
    breaker = Breaker(clock, threshold=3)
    for _ in range(3):
        breaker.failed(probe=breaker.send())
    assert breaker.open_since == clock.now
    return breaker


def test_breaker_opens_after_threshold_of_consecutive_failures(clock: Clock) -> None:
    breaker = Breaker(clock, threshold=3)
    for success in (True, False):  # a 429 is an answer too
        for _ in range(2):
            breaker.failed(probe=breaker.send())
        breaker.answered(success=success)
    for _ in range(2):
        breaker.failed(probe=breaker.send())
    assert (breaker.wait_s(), breaker.open_since) == (0.0, None)
    breaker.failed(probe=breaker.send())
    assert (breaker.wait_s(), breaker.open_since) == (FIRST_PAUSE_S, 100.0)


def test_breaker_sends_one_probe_at_a_time_with_pauses_doubling_up_to_30_s(clock: Clock) -> None:
    breaker, pauses = opened(clock), []
    for _ in range(20):
        pause = breaker.wait_s()
        assert pause is not None
        pauses.append(pause)
        clock.now += pause
        assert breaker.wait_s() == 0.0
        assert breaker.send() is True
        assert breaker.wait_s() is None
        breaker.failed(probe=True)
    assert pauses[0] == FIRST_PAUSE_S
    assert pauses[-1] == LONGEST_PAUSE_S
    assert all(after == min(LONGEST_PAUSE_S, 2 * before) for before, after in pairwise(pauses))
    assert sum(pauses[:6]) < 60  # who comes back after half a minute is found within the next


def test_breaker_ignores_failures_of_requests_sent_before_opening(clock: Clock) -> None:
    breaker = opened(clock)
    clock.now += 0.25
    for _ in range(50):
        breaker.failed(probe=False)
    assert breaker.wait_s() == FIRST_PAUSE_S - 0.25


@pytest.mark.parametrize("probe", [True, False])
def test_breaker_closes_on_any_answer_and_resets_pauses(clock: Clock, *, probe: bool) -> None:
    breaker = opened(clock)
    for _ in range(5):
        clock.now += breaker.wait_s() or 0.0
        breaker.failed(probe=breaker.send())
    if probe:
        clock.now += breaker.wait_s() or 0.0
        assert breaker.send()
    breaker.answered(success=True)
    assert (breaker.wait_s(), breaker.open_since) == (0.0, None)
    for _ in range(3):
        breaker.failed(probe=breaker.send())
    assert breaker.wait_s() == FIRST_PAUSE_S


def test_breaker_sends_next_probe_after_abandoned_probe(clock: Clock) -> None:
    breaker = opened(clock)
    clock.now += FIRST_PAUSE_S
    breaker.abandoned(probe=breaker.send())
    assert breaker.wait_s() == 0.0
    assert breaker.open_since == 100.0


def test_breaker_was_up_only_after_successful_answer(clock: Clock) -> None:
    breaker = Breaker(clock)
    assert not breaker.was_up(99.0)
    breaker.answered(success=False)
    assert not breaker.was_up(99.0)
    breaker.answered(success=True)
    assert breaker.was_up(99.0)


@pytest.mark.parametrize("success", [True, False])
def test_breaker_stays_open_on_late_answer_to_request_sent_before_outage(clock: Clock, success: bool) -> None:
    breaker = opened(clock)
    clock.now += 10.0
    assert breaker.send()
    breaker.answered(success=success, sent_at=99.0)
    assert breaker.open_since == 100.0
    assert breaker.wait_s() is None, "its probe is still out"
    breaker.answered(success=success, sent_at=110.0)
    assert (breaker.open_since, breaker.wait_s()) == (None, 0.0)
