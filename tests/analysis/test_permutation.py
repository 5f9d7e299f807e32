"""PERM-BOTH finds a difference that is there, none where there is none, and forgets the scale of a score."""

import numpy as np
import pytest

from scorer.analysis.permutation import perm_both


@pytest.fixture
def judges():
    rng = np.random.default_rng(0)
    human = rng.normal(size=240)
    good, poor = human + 0.5 * rng.normal(size=240), human + 3 * rng.normal(size=240)
    return good, poor, human, np.arange(240) // 6, np.arange(240) % 6


@pytest.mark.parametrize("statistic", ["pearson", "spearman", "kendall", "pairwise_accuracy"])
def test_perm_both_finds_a_better_judge_over_rows_and_within_items(judges, statistic):
    good, poor, human, item, _ = judges
    for group in (None, item):
        verdict = perm_both(good, poor, human, item=group, statistic=statistic, permutations=60)
        assert verdict.difference > 0.1
        assert verdict.p == pytest.approx(1 / 61)


def test_perm_both_changes_only_its_sign_when_the_judges_are_exchanged(judges):
    good, poor, human, item, _ = judges
    one = perm_both(good, poor, human, item=item, permutations=40)
    other = perm_both(poor, good, human, item=item, permutations=40)
    assert one.difference == pytest.approx(-other.difference)
    assert one.p == other.p


def test_perm_both_does_not_depend_on_the_scale_of_a_score(judges):
    good, poor, human, _, _ = judges
    plain = perm_both(good, poor, human, permutations=40)
    scaled = perm_both(good * 100 - 7, poor, human, permutations=40)
    assert scaled.difference == pytest.approx(plain.difference)
    assert scaled.p == plain.p


def test_perm_both_finds_no_difference_of_a_judge_to_itself():
    rng = np.random.default_rng(0)
    score, human = rng.normal(size=(2, 50))
    verdict = perm_both(score, score, human, permutations=20)
    assert (verdict.difference, verdict.p) == (0.0, 1.0)


@pytest.mark.slow
def test_perm_both_has_a_uniform_p_where_nothing_differs():
    """At 10 % it rejects about 10 % of tables; slow: fewer than 300 tables would let a wrong test pass."""
    rng = np.random.default_rng(5)
    rejected = 0
    for seed in range(300):
        human = rng.normal(size=20)
        a, b = human + rng.normal(size=(2, 20))
        rejected += perm_both(a, b, human, permutations=19, seed=seed, statistic="pearson").p <= 0.1
    assert rejected / 300 == pytest.approx(0.1, abs=0.052)


def test_perm_both_reproduces_the_published_example():
    """nlpstats, the authors' package, gives p = .536 for this table (9,999 permutations, Pearson, all rows)."""
    np.random.seed(1234)
    a, b, human = (np.random.random((9, 5)).ravel() for _ in range(3))
    verdict = perm_both(a, b, human, permutations=400)
    assert verdict.p == pytest.approx(0.536, abs=0.075)


def test_perm_both_over_systems_uses_their_means_alone(judges):
    good, _, human, _, system = judges
    verdict = perm_both(good, -good, human, system=system, statistic="kendall", permutations=30)
    means = [[v[system == s].mean() for s in range(6)] for v in (good, human)]
    tau = np.mean(
        [np.sign((means[0][i] - means[0][j]) * (means[1][i] - means[1][j])) for i in range(6) for j in range(i)]
    )
    assert verdict.difference == pytest.approx(2 * tau)


def test_perm_both_is_none_for_a_constant_score():
    rows = np.arange(5.0)
    verdict = perm_both(np.ones(5), rows, rows, permutations=10)
    assert (verdict.difference, verdict.p) == (None, None)
