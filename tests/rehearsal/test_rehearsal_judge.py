"""The rehearsal judge in virtual time: declared limits, declared pace, and counters that balance."""

from __future__ import annotations

import json
import math
from random import Random
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.rehearsal_questions import AT_ONCE, STORM, ask, question

from scorer.rehearsal.config import FAULTS, RehearsalConfig
from scorer.rehearsal.limits import Bucket, SimulatedLimits, Window, duration
from scorer.rehearsal.request_log import Fate
from scorer.rehearsal.simulator import Outcome, RehearsalJudge

arrivals = st.lists(st.tuples(st.sampled_from([0.0, 0.001, 0.3, 1.0, 7.0, 59.9, 60.0, 61.0]), st.integers(1, 90)))


@given(arrivals, st.sampled_from([1.0, 5.0, 60.0]), st.sampled_from([None, 30, 120]), st.sampled_from([None, 90, 600]))
@settings(deadline=None, max_examples=60)
def test_simulated_bucket_admits_at_most_burst_and_rate_in_any_window(
    steps: list[tuple[float, int]], burst_s: float, rpm: float | None, tpm: float | None
) -> None:
    config = AT_ONCE.changed({"requests_per_minute": rpm, "tokens_per_minute": tpm, "burst_s": burst_s})
    for admitted, limit, amount_of in _night(config, steps):
        largest = max((amount_of(a) for a in admitted), default=0)
        capacity = max(1.0, limit / 60 * burst_s, largest)
        for i, (first, _) in enumerate(admitted):
            total = 0.0
            for at, tokens in admitted[i:]:
                total += amount_of((at, tokens))
                assert total <= capacity + limit / 60 * (at - first) + 1e-3


@given(arrivals, st.sampled_from([None, 3, 30]), st.sampled_from([None, 90, 200]))
@settings(deadline=None, max_examples=60)
def test_simulated_sliding_window_never_exceeds_limit(
    steps: list[tuple[float, int]], rpm: float | None, tpm: float | None
) -> None:
    config = AT_ONCE.changed({"requests_per_minute": rpm, "tokens_per_minute": tpm, "window": "sliding"})
    for admitted, limit, amount_of in _night(config, steps):
        for end, _ in admitted:
            assert sum(amount_of(a) for a in admitted if a[0] <= end < a[0] + 60) <= limit


def _night(config: RehearsalConfig, steps: list[tuple[float, int]]) -> list[tuple[list[tuple[float, int]], float, Any]]:
    """What was admitted, as (time, tokens), for each limit there is, with how that limit counts it."""
    judge, now = RehearsalJudge(config), 0.0
    admitted = []
    for gap, tokens in steps:
        now += gap
        outcome = ask(judge, question("[row:a] ", max_tokens=tokens), now)  # a prompt of 2 tokens
        if outcome.fate == "ok":
            admitted.append((now, tokens + 2))
    assert judge.request_log.charged_tokens == sum(tokens for _, tokens in admitted)
    counts = [(config.requests_per_minute, lambda a: 1), (config.tokens_per_minute, lambda a: a[1])]
    return [(admitted, limit, amount_of) for limit, amount_of in counts if limit is not None]


@given(arrivals, st.sampled_from(["bucket", "sliding"]), st.integers(1, 90))
def test_simulated_limits_admit_request_after_announced_wait(
    steps: list[tuple[float, int]], window: str, tokens: int
) -> None:
    limits = SimulatedLimits(
        RehearsalConfig().changed({"requests_per_minute": 5, "tokens_per_minute": 90, "window": window}), 0
    )
    now = 0.0
    for gap, taken in steps:
        now += gap
        limits.admit(taken, now)
    refusal = limits.admit(tokens, now)
    if refusal:
        # Both limits may hold it back: the longer wait is the one reported.
        assert limits.admit(tokens, now + refusal.wait_s + 1e-6) is None


def test_simulated_bucket_takes_request_above_its_size_but_not_above_one_minute() -> None:
    bucket = Bucket(per_minute=600, burst_s=1, now=0)
    assert bucket.wait_s(600, 0) == 0
    bucket.take(600, 0)
    assert bucket.wait_s(1, 0) == pytest.approx(59.1)
    assert bucket.wait_s(601, 1000) == math.inf
    assert Window(600).wait_s(601, 0) == math.inf
    refused = ask(RehearsalJudge(AT_ONCE.changed({"tokens_per_minute": 600})), question(max_tokens=600))
    assert refused.status == 429
    assert "retry-after" not in refused.headers
    assert "Request too large" in refused.body.decode()


@pytest.mark.parametrize(("charge", "charged"), [("reserve", 2 + 3 * 50), ("actual", 2 + 3 * 4)])
def test_rehearsal_judge_charges_reserved_maximum_or_actual_tokens(charge: str, charged: int) -> None:
    judge = RehearsalJudge(AT_ONCE.changed({"charge": charge}))
    outcome = ask(judge, question(n=3, max_tokens=50))
    assert judge.request_log.charged_tokens == charged
    assert outcome.bill.completion_tokens == 12
    assert len(json.loads(outcome.body)["choices"]) == 3


def test_rehearsal_judge_keeps_usage_when_limits_change() -> None:
    for window in ("bucket", "sliding"):
        judge = RehearsalJudge(AT_ONCE.changed({"requests_per_minute": 2, "window": window, "burst_s": 60}))
        assert [ask(judge, question()).status for _ in range(3)] == [200, 200, 429]
        judge.configure(judge.config.changed({"requests_per_minute": 3}), 0)
        assert ask(judge, question()).status == (200 if window == "sliding" else 429)
        assert ask(judge, question()).status == 429
        judge.reset(0)
        assert ask(judge, question()).status == 200


def test_rehearsal_judge_sends_rate_headers_of_openai() -> None:
    judge = RehearsalJudge(
        AT_ONCE.changed({"requests_per_minute": 600, "tokens_per_minute": 6000, "burst_s": 60}), epoch=1e9
    )
    assert ask(judge, question(max_tokens=98)).headers == {
        "x-ratelimit-limit-requests": "600",
        "x-ratelimit-remaining-requests": "599",
        "x-ratelimit-reset-requests": "100ms",
        "x-ratelimit-limit-tokens": "6000",
        "x-ratelimit-remaining-tokens": "5900",
        "x-ratelimit-reset-tokens": "1s",
    }
    assert ask(RehearsalJudge(AT_ONCE), question()).headers == {}
    assert [duration(s) for s in (0, 0.0001, 0.12, 1.5, 59.9999, 123)] == [
        "0ms",
        "1ms",
        "120ms",
        "1.5s",
        "1m0s",
        "2m3s",
    ]


def test_rehearsal_judge_capacity_queues_first_come_first_served() -> None:
    config = RehearsalConfig(latency_median_s=1, latency_sigma=0, capacity=2)
    judge = RehearsalJudge(config)
    assert [ask(judge, question()).delay_s for _ in range(5)] == [1, 1, 2, 2, 3]
    assert ask(judge, question(), now=2.5).delay_s == 1.0  # one place is free at 2.0, the other at 3.0
    assert ask(judge, question(), now=2.5).delay_s == 1.5


def test_rehearsal_judge_capacity_mode_429_refuses() -> None:
    config = RehearsalConfig(latency_median_s=1, latency_sigma=0, capacity=2, capacity_mode="429", retry_after_s=0.25)
    judge = RehearsalJudge(config)
    outcomes = [ask(judge, question()) for _ in range(3)]
    assert [outcome.status for outcome in outcomes] == [200, 200, 429]
    assert (outcomes[2].headers["retry-after"], outcomes[2].headers["retry-after-ms"]) == ("1", "250")
    assert judge.request_log.charged_tokens == sum(o.bill.prompt_tokens + o.bill.completion_tokens for o in outcomes)
    assert ask(judge, question(), now=1.0).status == 200


def test_rehearsal_judge_latency_has_declared_median_and_spread() -> None:
    judge, rng = RehearsalJudge(RehearsalConfig(latency_median_s=0.8, latency_sigma=0.5)), Random(1)
    logs = [math.log(judge.ask("chat", question(), 0, rng).delay_s) for _ in range(2000)]
    mean = sum(logs) / len(logs)
    spread = math.sqrt(sum((x - mean) ** 2 for x in logs) / len(logs))
    assert mean == pytest.approx(math.log(0.8), abs=0.04)  # over three standard errors of 0.011
    assert spread == pytest.approx(0.5, abs=0.03)


bodies = st.one_of(
    st.integers(0, 9).map(lambda i: question(f"[row:{i}]", max_tokens=20)),
    st.sampled_from(["poison", "refuse", "x" * 400]).map(question),
    st.none(),
)


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.01, 0.5, 3.0]), bodies, st.booleans())), st.integers(0, 99))
@settings(deadline=None, max_examples=60)
def test_rehearsal_judge_counts_balance_and_repeat_for_one_seed(
    steps: list[tuple[float, Any, bool]], seed: int
) -> None:
    assert _counters(steps, seed) == _counters(steps, seed)


def _counters(steps: list[tuple[float, Any, bool]], seed: int) -> dict[str, Any]:
    judge, rng, now = RehearsalJudge(STORM), Random(seed), 0.0
    waiting: list[tuple[float, int, Outcome, bool]] = []

    def settle_until(end: float) -> None:
        waiting.sort(key=lambda entry: entry[:2])
        while waiting and waiting[0][0] <= end:
            at, _, outcome, delivered = waiting.pop(0)
            judge.settle(outcome, at, delivered=delivered)
            balance()

    def balance() -> None:
        stats = judge.stats()
        assert stats["requests"] == sum(stats[fate] for fate in get_args(Fate)) + stats["in_flight"]
        assert stats["in_flight"] == len(waiting)

    for number, (gap, body, delivered) in enumerate(steps):
        now += gap
        settle_until(now)
        outcome = judge.ask("chat", body, now, rng)
        assert outcome.bill.completion_tokens <= 20
        waiting.append((now + outcome.delay_s, number, outcome, delivered))
        balance()
    settle_until(math.inf)

    stats, rows = judge.stats(), judge.request_log.rows
    assert stats["in_flight"] == 0
    assert sum(counts.paid for counts in rows.values()) == stats["ok"]
    assert sum(counts.lost for counts in rows.values()) == stats["lost"]
    assert all(counts.delivered <= counts.paid <= counts.recv for counts in rows.values())
    assert stats["rows_paid_twice"] == sum(counts.paid > 1 for counts in rows.values())
    assert stats["paid_again"] == sum(max(0, counts.paid - 1) for counts in rows.values())
    seconds = stats["timeline"]
    assert [sum(line[i] for line in seconds) for i in range(1, 5)] == [
        stats[name] for name in ("requests", "ok", "r429", "charged_tokens")
    ]
    return stats


def test_rehearsal_judge_faults_occur_at_declared_rate() -> None:
    config = AT_ONCE.changed({f"fault_{name}": 0.05 for name in FAULTS})
    judge, rng = RehearsalJudge(config), Random(3)
    for _ in range(4000):
        judge.settle(judge.ask("chat", question(), 0, rng), 0, delivered=True)
    assert set(judge.request_log.faults) == set(FAULTS)
    for name, count in judge.request_log.faults.items():
        assert count == pytest.approx(200, abs=62), name  # 4.5 standard deviations of 13.8
    lost = sum(judge.request_log.faults[name] for name in ("reset", "cut", "truncate", "hang"))
    assert judge.request_log.fates["lost"] == lost
    assert judge.request_log.lost["prompt_tokens"] == 2 * lost


def test_rehearsal_judge_reset_keeps_requests_in_flight() -> None:
    judge = RehearsalJudge(RehearsalConfig())
    outcome = ask(judge, question())
    judge.reset(1)
    judge.settle(outcome, 2, delivered=True)
    stats = judge.stats()
    assert (stats["requests"], stats["ok"], stats["in_flight"], stats["timeline"]) == (1, 1, 0, [[1, 0, 1, 0, 0]])
