"""Kappa equals scikit-learn's; alpha equals its definition by coincidences and Krippendorff's own example."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scorer.analysis.kappa_alpha import alpha, kappa

labels = st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), min_size=1, max_size=40)
ratings = st.lists(st.lists(st.one_of(st.none(), st.integers(1, 4)), min_size=3, max_size=3), min_size=1, max_size=12)


@settings(max_examples=50, deadline=None)
@given(labels, st.sampled_from([(0, None), (1, "linear"), (2, "quadratic")]))
def test_kappa_equals_scikit_learns(pairs, weighting):
    from sklearn.metrics import cohen_kappa_score  # a second of CPU, in each process that collects

    power, name = weighting
    x, y = (np.array(side, dtype=float) for side in zip(*pairs, strict=True))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = cohen_kappa_score(x, y, weights=name)
    found = kappa(x, y, power=power)
    if len(np.unique([x, y])) == 1:
        assert found is None
    else:
        assert found == pytest.approx(expected, abs=1e-9)


def alpha_by_coincidences(table, measure):
    """Krippendorff (2011), section D, step by step."""
    units = [[v for v in row if not np.isnan(v)] for row in table]
    units = [unit for unit in units if len(unit) > 1]
    values = sorted({v for unit in units for v in unit})
    if len(values) < 2:
        return None
    place = {v: i for i, v in enumerate(values)}
    coincidences = np.zeros((len(values), len(values)))
    for unit in units:
        for i, a in enumerate(unit):
            for j, b in enumerate(unit):
                if i != j:
                    coincidences[place[a], place[b]] += 1 / (len(unit) - 1)
    n_c = coincidences.sum(axis=0)
    observed = expected = 0.0
    for c in range(len(values)):
        for k in range(len(values)):
            low, high = min(c, k), max(c, k)
            distance = {
                "nominal": float(c != k),
                "ordinal": (n_c[low : high + 1].sum() - (n_c[c] + n_c[k]) / 2) ** 2 if c != k else 0.0,
                "interval": (values[c] - values[k]) ** 2,
            }[measure]
            observed += coincidences[c, k] * distance
            expected += n_c[c] * n_c[k] * distance
    return 1 - (n_c.sum() - 1) * observed / expected


@settings(max_examples=50, deadline=None)
@given(ratings, st.sampled_from(["nominal", "ordinal", "interval"]))
def test_alpha_equals_that_of_the_coincidence_matrix(rows, measure):
    table = np.array(rows, dtype=float)
    found, expected = alpha(table, measure), alpha_by_coincidences(table, measure)
    assert (found is None) == (expected is None)
    if expected is not None:
        assert found == pytest.approx(expected, abs=1e-9)


def test_alpha_reproduces_krippendorffs_own_table():
    # Krippendorff (2011), section C: four observers, twelve units, values missing; .743, .815, .849.
    nan = np.nan
    observers = [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, nan, nan, nan],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, nan, 3],
        [nan, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, nan],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, nan],
    ]
    table = np.array(observers, dtype=float).T
    assert alpha(table, "nominal") == pytest.approx(0.743, abs=5e-4)
    assert alpha(table, "ordinal") == pytest.approx(0.815, abs=5e-4)
    assert alpha(table, "interval") == pytest.approx(0.849, abs=5e-4)


def test_kappa_and_alpha_are_none_without_variation():
    assert kappa(np.array([]), np.array([])) is None
    assert alpha(np.array([[1.0, np.nan], [np.nan, 2.0]]), "nominal") is None
