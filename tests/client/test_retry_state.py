"""Promise: an outage uses up no retry; a request that fails while others are answered ends after `retries`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scorer.client.retry import LONGEST_BACKOFF_S, THROTTLES_PER_RETRY, RetryState
from scorer.client.settlement import Settlement
from scorer.config.cost import Price
from scorer.errors import ServerFault, Throttled, TransientError, Unavailable, Unreachable, Unreadable
from scorer.limits import Asked, Billing, Demand
from scorer.limits.breaker import Breaker
from scorer.usage import Usage

FAULT = ServerFault("500", billed=False)


class Endpoint:
    """A breaker on a clock that the test turns."""

    def __init__(self) -> None:
        self.now = 0.0
        self.breaker = Breaker(lambda: self.now)

    def fails(self, state: RetryState, error: TransientError = FAULT, *, others: bool) -> float:
        """One attempt of a second's length; `others` were sent and answered within it."""
        sent_at, self.now = self.now, self.now + 0.5
        if others:
            self.breaker.answered(success=True, sent_at=self.now - 0.25)
        self.now += 0.5
        state.failed(error, self.breaker, sent_at)
        return sent_at


def test_retry_state_gives_up_after_retries_while_others_are_answered() -> None:
    endpoint, state = Endpoint(), RetryState(3)
    for _ in range(2):
        endpoint.fails(state, others=True)
        state.check(FAULT, 1)
    endpoint.fails(state, others=True)
    with pytest.raises(Unavailable, match="3 attempts"):
        state.check(FAULT, 3)


def test_retry_state_asks_for_probe_and_never_gives_up_in_outage() -> None:
    endpoint, state = Endpoint(), RetryState(3)
    for tried in range(1, 50):
        sent_at = endpoint.fails(state, others=False)
        assert state.needs_probe is (tried >= 3)
        if state.needs_probe:
            state.probed(endpoint.breaker, sent_at, answered=False)
        state.check(FAULT, tried)


def test_retry_state_counts_failure_between_two_answered_probes() -> None:
    endpoint, state = Endpoint(), RetryState(1)
    for answered, counted in ((True, 0), (False, 0), (True, 0), (True, 1)):
        sent_at = endpoint.fails(state, others=False)
        if answered:
            endpoint.breaker.answered(success=True, sent_at=endpoint.now)
        state.probed(endpoint.breaker, sent_at, answered=answered)
        assert state.counted == counted


def test_retry_state_weighs_many_429_as_one_failure() -> None:
    endpoint, state = Endpoint(), RetryState(1)
    slow = Throttled("429", retry_after_s=None)
    for _ in range(THROTTLES_PER_RETRY - 1):
        endpoint.fails(state, slow, others=True)
        state.check(slow, 1)
    endpoint.fails(state, slow, others=True)
    with pytest.raises(Unavailable):
        state.check(slow, 1)


def test_retry_state_raises_unreadable_at_second_garbled_reply_while_others_are_answered() -> None:
    endpoint, state = Endpoint(), RetryState(9)
    garbled = ServerFault("no JSON", billed=True, garbled=True)
    endpoint.fails(state, garbled, others=True)
    with pytest.raises(Unreadable, match="twice"):
        endpoint.fails(state, garbled, others=True)


@given(failures=st.integers(1, 10**6), draw=st.floats(0, 1))
def test_retry_state_pause_grows_to_longest_backoff(failures: int, draw: float) -> None:
    pause_s = RetryState(6, failures=failures).pause_s(draw)
    assert 0.25 <= pause_s <= min(LONGEST_BACKOFF_S, 0.5 * 2.0 ** min(failures - 1, 10))


# --- what an attempt cost ---------------------------------------------------------------------------------------------

NEED = Demand(tokens=10, output_tokens=4, worst_tokens=100, asked=Asked(prompt=90, limit=4))


def fault_with(usage: Usage) -> ServerFault:
    """A reply that is no answer and says what it took."""
    error = ServerFault("no answer", billed=True)
    error.usage = usage
    return error


@pytest.mark.parametrize(
    ("error", "too_soon", "bill"),
    [
        (Unreachable("reset", billed=True), False, Billing.UNKNOWN),
        (Unreachable("refused", billed=False), False, Billing.NOTHING),
        (ServerFault("502", billed=True, if_late=True), False, Billing.UNKNOWN),
        (ServerFault("502", billed=True, if_late=True), True, Billing.NOTHING),
        (fault_with(Usage(9, 1)), True, Billing.KNOWN),
        (fault_with(Usage(10**9, 1)), False, Billing.UNKNOWN),
        (Throttled("429", retry_after_s=2.0), False, Billing.NOTHING),
    ],
)
def test_settlement_outcome_of_failure_is_known_unknown_or_free(
    error: TransientError, too_soon: bool, bill: Billing
) -> None:
    settlement = Settlement(Price(1.0, 2.0), window=1000)
    outcome = settlement.outcome_of(error, None, NEED, too_soon=too_soon)
    assert (outcome.bill, outcome.throttled) == (bill, isinstance(error, Throttled))
    assert outcome.alive is (None if outcome.throttled else False)
    assert outcome.cost_pico == (11_000_000 if bill is Billing.KNOWN else None)
