"""The rate at equal length leaves out what length won and nothing else; a text against itself has .5."""

import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scorer.analysis.bootstrap import Bootstrap
from scorer.analysis.win_rate import win_rate, win_rates
from scorer.errors import SpecError


def contest(n, *, effect, longer, strength=0.0, seed=0):
    rng = np.random.default_rng(seed)
    base = rng.integers(100, 300, n)
    size = np.maximum(base + rng.normal(longer, 80, n).astype(int), 1)
    gap = (size - base) / (size - base).std()
    wins = rng.random(n) < 1 / (1 + np.exp(-strength - effect * np.tanh(gap)))
    columns = {
        "preference": wins.astype(float),
        "text": ["x" * int(k) for k in size],
        "base": ["x" * int(k) for k in base],
    }
    return pl.LazyFrame(columns)


def test_win_rate_at_equal_length_removes_the_effect_of_length_alone():
    lengthy = win_rate(contest(1500, effect=2, longer=100), "preference", "text", "base", bootstrap=Bootstrap(200))
    assert lengthy.raw > 0.7
    assert lengthy.equal_length == pytest.approx(0.5, abs=0.07)
    assert lengthy.equal_length_interval[0] < 0.5 < lengthy.equal_length_interval[1]
    assert lengthy.length_effect == pytest.approx(2, abs=0.5)
    strong = win_rate(
        contest(1500, effect=0, longer=100, strength=1), "preference", "text", "base", bootstrap=Bootstrap(200)
    )
    assert strong.equal_length == pytest.approx(1 / (1 + np.exp(-1)), abs=0.07)
    json.dumps(strong.json(), allow_nan=False)


def test_win_rate_of_one_sided_verdicts_is_finite():
    frame = contest(60, effect=0, longer=50).with_columns(preference=pl.lit(1.0))
    found = win_rate(frame, "preference", "text", "base", bootstrap=Bootstrap(50))
    assert found.raw == 1.0
    assert 0.99 < found.equal_length < 1.0
    for low, high in (found.raw_interval, found.equal_length_interval):
        assert low == pytest.approx(60 / (60 + 1.96**2), abs=0.001)
        assert high == 1.0


def test_win_rate_of_texts_of_one_length_is_the_raw_rate():
    frame = pl.LazyFrame({"preference": [1.0, 0, 1, 1] * 50, "text": ["ab"] * 200, "base": ["cd"] * 200})
    found = win_rate(frame, "preference", "text", "base", bootstrap=Bootstrap(20))
    assert found.equal_length == pytest.approx(found.raw, abs=0.01)
    assert found.length_effect == 0.0


def test_win_rate_has_the_value_computed_by_hand():
    """Longer texts win three of four, shorter ones one of four; three in four texts are longer."""
    n = 4000
    far = np.arange(n) % 4 < 3  # longer
    wins = np.where(far, np.arange(n) // 4 % 4 < 3, np.arange(n) // 4 % 4 < 1)
    texts = {"text": np.where(far, "x" * 900, "x"), "base": np.where(far, "x", "x" * 900)}
    frame = pl.LazyFrame({"preference": wins.astype(float), **texts})
    found = win_rate(frame, "preference", "text", "base", bootstrap=Bootstrap(0))
    assert found.raw == pytest.approx(0.75 * 0.75 + 0.25 * 0.25)
    # tanh is not quite 1 at these lengths: the difference is 2.31 standard deviations when short, 2.31 when long.
    assert found.equal_length == pytest.approx(0.5, abs=0.003)
    spread = np.where(far, 899, -899).std(ddof=1)
    assert found.length_effect == pytest.approx(np.log(3) / np.tanh(899 / spread), abs=0.01)


SIDES = st.lists(
    st.tuples(
        st.floats(0, 1), st.integers(0, 60), st.integers(0, 60), st.integers(-20, 20).map(lambda tenths: tenths / 10)
    ),
    min_size=3,
    max_size=25,
)


@settings(max_examples=5, deadline=None)
@given(SIDES)
def test_win_rate_is_one_minus_itself_when_the_sides_are_exchanged(rows):
    p, size, base, hard = (list(column) for column in zip(*rows, strict=True))
    texts = {"text": ["x" * k for k in size], "base": ["x" * k for k in base], "hard": hard}
    frame = pl.LazyFrame({"preference": p, **texts})
    turned = pl.LazyFrame({"preference": [1 - q for q in p], **texts})
    for difficulty in (None, "hard"):
        there = win_rate(frame, "preference", "text", "base", difficulty=difficulty, bootstrap=Bootstrap(0))
        back = win_rate(turned, "preference", "base", "text", difficulty=difficulty, bootstrap=Bootstrap(0))
        assert there.equal_length == pytest.approx(1 - back.equal_length, abs=1e-6)
        assert there.length_effect == pytest.approx(back.length_effect, abs=1e-6)
        assert 0 <= there.equal_length <= 1


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 60), min_size=3, max_size=20))
def test_win_rate_of_a_text_against_itself_is_one_half(sizes):
    same = ["x" * k for k in sizes]
    frame = pl.LazyFrame({"preference": [0.5] * len(same), "text": same, "base": same})
    found = win_rate(frame, "preference", "text", "base", bootstrap=Bootstrap(0))
    assert (found.raw, found.equal_length, found.length_effect) == (0.5, 0.5, 0.0)


def test_win_rate_fit_equals_scikit_learns():
    from sklearn.linear_model import LogisticRegression  # a second of CPU, in each process that collects

    frame = contest(3000, effect=1.5, longer=60, strength=0.5, seed=4).collect()
    hard = np.random.default_rng(5).normal(size=3000)
    size, base = (frame[name].str.len_chars().to_numpy().astype(float) for name in ("text", "base"))
    design = np.stack([np.tanh((size - base) / (size - base).std(ddof=1)), hard], axis=1)
    fit = LogisticRegression(C=np.inf).fit(design, frame["preference"].to_numpy().astype(int))
    expected = 1 / (1 + np.exp(-fit.intercept_[0] - fit.coef_[0][1] * hard))
    rows = frame.with_columns(hard=pl.Series(hard)).lazy()
    found = win_rate(rows, "preference", "text", "base", difficulty="hard", bootstrap=Bootstrap(200))
    assert found.equal_length == pytest.approx(expected.mean(), abs=0.001)
    assert found.length_effect == pytest.approx(fit.coef_[0][0], abs=0.02)
    assert found.difficulty_effect == pytest.approx(fit.coef_[0][1], abs=0.01)
    assert found.equal_length_interval[0] < found.equal_length < found.equal_length_interval[1]


def test_win_rates_fit_each_system_by_itself():
    parts = [
        contest(300, effect=1, longer=k * 40, strength=k, seed=k).with_columns(system=pl.lit(f"s{k}")) for k in range(2)
    ]
    found = win_rates(pl.concat(parts), "preference", "text", "base", "system", bootstrap=Bootstrap(0)).systems
    for name, part in zip(found, parts, strict=True):
        assert found[name] == win_rate(part, "preference", "text", "base", bootstrap=Bootstrap(0))
    with pytest.raises(SpecError, match="2 rows of s1 have preference and both texts; a win rate needs three"):
        win_rates(pl.concat([parts[0], parts[1].head(2)]), "preference", "text", "base", "system")
