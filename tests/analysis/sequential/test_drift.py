"""Promise: a judge within its band raises an alarm in at most 1 % of runs, and one that leaves it is found soon.

The whole study is benchmarks/canary_coverage.py; here is a part with a fixed seed.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scorer.analysis.sequential.drift import STAKES, Drift, delays, stakes_of, upper_bound
from scorer.analysis.sequential.drift_watch import DriftWatch


def capital_by_definition(losses: list[float], band: float, n: int) -> float:
    total = 0.0
    for start in range(len(losses)):
        total += np.mean([math.prod(1 + b * (loss - band) for loss in losses[start:]) for b in stakes_of(band)]) / n
    return total + (n - len(losses)) / n


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.floats(0.01, 0.9), st.integers(30, 60))
def test_capital_is_the_mixture_over_starts_and_stakes(losses: list[float], band: float, n: int) -> None:
    watch = Drift(band, n)
    for loss in losses:
        watch.add(loss)
    assert watch.capital == pytest.approx(capital_by_definition(losses, band, n))


@given(st.floats(0, 0.95), st.sampled_from([0.0, -1.0]))
def test_no_loss_makes_the_capital_negative(band: float, least: float) -> None:
    assert all(1 + stake * (least - band) > 0 for stake in stakes_of(band, least))


@pytest.mark.parametrize(
    ("name", "draw"),
    [
        ("binary", lambda rng, n, band: (rng.random(n) < band).astype(float)),
        ("skewed", lambda rng, n, band: rng.beta(0.3, 0.3 * (1 - band) / band, n)),
    ],
)
def test_quiet_runs_at_the_edge_of_the_band_raise_few_alarms(name: str, draw: object) -> None:
    """At most 8 of 300: 99 % of Binomial(300, .01)."""
    rng = np.random.default_rng(7)
    alarms = 0
    for _ in range(300):
        watch = Drift(0.15, 300)
        alarms += any(watch.add(float(loss)) for loss in draw(rng, 300, 0.15))  # type: ignore[operator]
    assert alarms <= 8, name


def test_drift_is_found_within_160_canaries_in_95_percent() -> None:
    found = delays(0.15, 1000, 0.10, 0.35, runs=300)
    assert np.quantile(found, 0.95) <= 160
    assert np.median(found) <= 80
    assert len(found) >= 295


def test_simulated_delays_are_those_of_the_watch() -> None:
    rng = np.random.default_rng(3)
    watch = Drift(0.15, 200)
    for number in range(1, 201):
        if watch.add(float(rng.random((1, 1))[0, 0] < (0.1 if number <= 100 else 0.6))):
            break
    assert watch.alarm is not None
    assert delays(0.15, 200, 0.1, 0.6, runs=1, seed=3).tolist() == [watch.alarm - 100]


def test_starts_of_a_drift_lie_around_it() -> None:
    likeliest, earliest = [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        watch = Drift(0.15, 1000)
        for number in range(1, 1001):
            if watch.add(float(rng.random() < (0.05 if number <= 400 else 0.45))):
                break
        likeliest.append(watch.likeliest_start)
        earliest.append(watch.earliest_start)
    assert abs(np.median(likeliest) - 401) <= 8
    assert all(one <= other for one, other in zip(earliest, likeliest, strict=True))
    assert np.mean(np.array(earliest) <= 401) > 0.9


def test_signed_errors_show_a_lenient_judge_whose_loss_stays_in_the_band() -> None:
    rng = np.random.default_rng(1)
    plain, signed = DriftWatch(0.15, 600), DriftWatch(0.15, 600, 0.02)
    errors = [*rng.normal(0.0, 0.1, 200), *rng.normal(0.1, 0.1, 400)]
    assert not any(plain.add(n, min(1.0, abs(one)), one) for n, one in enumerate(errors))
    found = [alarm for n, one in enumerate(errors) if (alarm := signed.add(n, min(1.0, abs(one)), one))]
    assert [alarm.kind for alarm in found] == ["up"]
    assert 100 < found[0].first <= 215
    assert found[0].mean > 0.04


def test_quiet_signed_errors_raise_few_alarms() -> None:
    """Both signed tests at once: at most 8 of 300."""
    rng = np.random.default_rng(9)
    alarms = 0
    for _ in range(300):
        watch = DriftWatch(0.99, 200, 0.05)
        alarms += any(watch.add(n, 0.0, one) for n, one in enumerate(rng.choice([-1.0, 1.0], 200, p=[0.4, 0.6])))
    assert alarms <= 8


def test_answer_without_a_score_counts_for_the_loss_alone() -> None:
    watch = DriftWatch(0.1, 50, 0.05)
    found = [alarm for n in range(50) if (alarm := watch.add(n, 1.0, None))]
    assert [(alarm.kind, alarm.mean) for alarm in found] == [("loss", 1.0)]


@pytest.mark.parametrize(
    ("losses", "errors", "within"),
    [([0.1] * 9, [0.0] * 9, True), ([0.3] * 9, [0.0] * 9, False), ([0.1] * 9, [0.1] * 9, False), ([], [], False)],
)
def test_round_is_within_the_bounds_by_both_means(losses: list[float], errors: list[float], within: bool) -> None:
    assert DriftWatch(0.2, 9, 0.05).within(losses, errors) is within


def test_upper_bound_covers_the_mean_at_its_level() -> None:
    rng = np.random.default_rng(2)
    covered = [upper_bound((rng.random(100) < 0.1).astype(float), 0.05) >= 0.1 for _ in range(500)]
    assert np.mean(covered) >= 0.95
    assert upper_bound(np.zeros(0), 0.05) == 1.0
    assert upper_bound(np.zeros(100), 0.05) == pytest.approx(1 - 0.05 ** (1 / 100))


@pytest.mark.parametrize(("band", "n"), [(1.0, 10), (-0.1, 10), (0.1, 0), (math.nan, 5)])
def test_band_that_leaves_nothing_to_bet_is_refused(band: float, n: int) -> None:
    with pytest.raises(ValueError, match="band"):
        Drift(band, n)


def test_band_of_zero_has_finite_stakes() -> None:
    assert max(stakes_of(0.0)) == 20 * max(STAKES)
