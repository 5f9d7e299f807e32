"""The error probability is shared out over all events in which an answer, or an interval beside it, can be wrong.

Simulations do not see a missing share: Ville's inequality is far from sharp, and most wrong claims need several errors.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from scorer.analysis.sequential import decision, rules
from scorer.analysis.sequential.bets import Bets
from scorer.analysis.sequential.decision import Decision
from scorer.analysis.sequential.elimination import Elimination, PairwiseElimination
from scorer.config.stop_question import parse_question

ALPHA, K = 0.08, 5
PAIRS = K * (K - 1)


class Levels:
    """The levels at which tests, the elimination and intervals were made."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tests: list[float] = []
        self.elimination: list[float] = []
        self.intervals: list[float] = []
        levels = self

        class KnownBets(Bets):
            def __init__(self, moments: Any, null: float, level: float, *, strict: bool = True) -> None:
                levels.tests.append(level)
                super().__init__(moments, null, level, strict=strict)

        class KnownElimination(Elimination):
            def __init__(self, moments: Any, systems: int, level: float) -> None:
                levels.elimination.append(level)
                super().__init__(moments, systems, level)

        def bound(x: Any, level: float, sizes: Any) -> Any:
            levels.intervals.append(level)
            return np.zeros(x.shape[1])

        for module in (decision, rules):
            monkeypatch.setattr(module, "Bets", KnownBets)
        monkeypatch.setattr(rules, "Elimination", KnownElimination)
        for name in ("lower", "upper"):
            monkeypatch.setattr(decision, name, bound)


def shares(question: str, monkeypatch: pytest.MonkeyPatch, systems: int = K, **asked: Any) -> Levels:
    levels = Levels(monkeypatch)
    made = Decision(parse_question(question), systems, alpha=ALPHA, **asked)
    made.add(np.full(systems, 0.5), np.full(systems, 0.5))
    levels.intervals.clear()
    made.bounds()
    return levels


@pytest.mark.parametrize(
    ("question", "margin", "elimination", "tests", "sides"),
    [
        # one best system can be lost; each other one may be taken as close; intervals have two sides
        ("best", 0.0, ALPHA / 2, [], 2 * (K - 1)),
        ("best", 0.1, ALPHA / 4, [ALPHA / 4 / (K - 1)], 2 * (K - 1)),
        # one outside may be taken as better than one inside
        ("top 2", 0.0, None, [ALPHA / 2 / (2 * 3)], 2 * 2 * 3),
        ("top 2", 0.1, None, [ALPHA / 4 / (2 * 3)] * 2, 2 * 2 * 3),
        # of the four claims about two systems two are false
        ("ranking", 0.1, None, [ALPHA / 2 / PAIRS] * 2, PAIRS),
    ],
)
def test_questions_share_out_their_error(
    monkeypatch: pytest.MonkeyPatch,
    question: str,
    margin: float,
    elimination: float | None,
    tests: list[float],
    sides: int,
) -> None:
    found = shares(question, monkeypatch, margin=margin)
    assert found.elimination == ([] if elimination is None else pytest.approx([elimination]))
    assert found.tests == pytest.approx(tests)
    assert found.intervals == pytest.approx([ALPHA / 2 / sides] * 2)


def test_of_yes_and_no_one_can_be_claimed_falsely(monkeypatch: pytest.MonkeyPatch) -> None:
    found = shares("a >= b - 0.1", monkeypatch, systems=2, allowed=0.1)
    assert found.tests == pytest.approx([ALPHA / 2] * 2)
    assert found.intervals == pytest.approx([ALPHA / 2 / 2] * 2)


def test_means_have_the_whole_error_between_them(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shares("mean", monkeypatch, width=0.1).intervals == pytest.approx([ALPHA / (2 * K)] * 2)


def test_an_asymptotic_best_system_is_one_of_all_pairs_with_one_system(monkeypatch: pytest.MonkeyPatch) -> None:
    levels = []

    class Known(PairwiseElimination):
        def __init__(self, tests: Any, systems: int) -> None:
            levels.append(tests._level)
            super().__init__(tests, systems)

    monkeypatch.setattr(rules, "PairwiseElimination", Known)
    Decision(parse_question("best"), K, alpha=ALPHA, asymptotic=True)
    assert levels == pytest.approx([ALPHA / 2 / (K - 1)])


def played(scores: np.ndarray, alpha: float, *, these: bool) -> tuple[list[int], int]:
    """The rule for `best` written out: who is left, and after how many items."""
    items, k = scores.shape
    alive, capital, total = np.ones(k, dtype=bool), np.zeros(k), np.zeros(k)
    sums, squares = np.zeros((k, k)), np.zeros((k, k))
    for t in range(items):
        left = np.flatnonzero(alive)
        if len(left) == 1:
            return left.tolist(), t
        order = left[np.argsort(-total[left], kind="stable")]
        for i in left:
            j = order[1] if i == order[0] else order[0]
            mean = sums[j, i] / (t + 1)
            variance = max((squares[j, i] + 0.25) / (t + 1) - mean**2, 1e-3)
            c = -sums[j, i] / (items - t) if these else 0.0
            if c < -1:
                continue
            stake = np.clip((mean - c) / (variance + (mean - c) ** 2), 0, 0.75 / (1 + c))
            capital[i] += np.log1p(stake * (scores[t, j] - scores[t, i] - c))
        differences = scores[t][:, None] - scores[t][None, :]
        sums, squares, total = sums + differences, squares + differences**2, total + scores[t]
        surely = sums - (items - t - 1) > 1e-9 * items if these else np.zeros((k, k), dtype=bool)
        alive &= (capital < -np.log(alpha)) & ~surely[alive].any(axis=0)
    return np.flatnonzero(alive).tolist(), items


@pytest.mark.parametrize("these", [False, True])
def test_best_bets_as_the_rule_written_out(these: bool) -> None:
    for seed in range(6):
        rng = np.random.default_rng(seed)
        scores = rng.beta(2, 2, (150, 4)) * 0.8 + np.array([0.0, 0.06, 0.0, 0.12])
        sizes = np.full((4, 4), 150) if these else None
        made = Decision(parse_question("best"), 4, alpha=2 * ALPHA, items=sizes)
        for row in scores:
            if not made.needed().any():
                break
            made.add(row, row)
        assert (np.flatnonzero(made.left()).tolist(), made.taken) == played(scores, ALPHA, these=these)
