"""Takes items one by one, in random order, and says when the question is answered.

The error probability is shared out: half for the answer, half for the intervals that are shown beside it, so that both
hold together. `mean` has no other answer than its intervals, which have all of it.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from scorer.analysis.sequential import normal
from scorer.analysis.sequential.bets import TOLERANCE, Bets, Floats, Moments
from scorer.analysis.sequential.hedged import lower, upper
from scorer.analysis.sequential.normal import NormalTests
from scorer.analysis.sequential.rules import Best, Compare, MakeTests, Ranking, Rule, Top
from scorer.config.stop_question import Question
from scorer.frozen import dataclass
from scorer.types import Mask


@dataclass(frozen=True, slots=True)
class Bound:
    """`low` <= mean of `a` less mean of `b` <= `high`, by places of systems; `b` is None for the mean of `a` itself."""

    a: int
    b: int | None
    low: float
    high: float


class Decision:
    """Whether a question about systems is answered, after the items that `add` was given.

    Scores are in [0, 1], and so are `margin` and `width`. `items` is the number of items that each two systems share,
    systems x systems; None for the population *future*. For a comparison the systems are its two, in its order. For
    `mean` a "system" is each mean that is asked for, and `items` has one number for each. `asymptotic`: see
    scorer/analysis/sequential/normal.py.
    """

    def __init__(
        self,
        question: Question,
        systems: int,
        *,
        alpha: float,
        items: NDArray[np.int64] | None = None,
        margin: float = 0.0,
        width: float = 0.0,
        allowed: float = 0.0,
        asymptotic: bool = False,
    ) -> None:
        self.question = question
        self._k, self._alpha, self._items = systems, alpha, items
        self._margin, self._allowed = margin, allowed
        self._lower = normal.lower if asymptotic else lower
        self._pairs = Moments((systems, systems) if question.kind != "mean" else (0, 0), items)
        self._total, self._seen = np.zeros(systems), np.zeros(systems, dtype=np.int64)
        self._low: list[Floats] = []
        self._high: list[Floats] = []
        self._means = _Widths(systems, alpha, width, items) if question.kind == "mean" else None
        tests: MakeTests = NormalTests if asymptotic else Bets
        self.rule = _rule(question, self._pairs, systems, alpha / 2, margin, allowed, tests)
        self._needed = self._still_needed()

    @property
    def taken(self) -> int:
        """The number of items that were taken."""
        return len(self._low)

    def add(self, low: Sequence[float] | Floats, high: Sequence[float] | Floats) -> None:
        """The next item: the least and the greatest score that each system can have; NaN where it has no such item.

        What is given of a system that is not `needed` is not looked at.
        """
        needed = self._needed
        low = np.where(needed, np.asarray(low, dtype=np.float64), np.nan)
        high = np.where(needed, np.asarray(high, dtype=np.float64), np.nan)
        self._low.append(low)
        self._high.append(high)
        if self.rule is not None:
            places = np.flatnonzero(needed)
            at = np.ix_(places, places)
            differences = low[places][:, None] - high[places][None, :]
            self.rule.add(low, high, differences, at, self.means)
            self._pairs.add(differences, at)
            self.rule.settle()
        seen = ~np.isnan(low)
        self._total += np.where(seen, (low + high) / 2, 0.0)
        self._seen += seen
        if self._means is not None:
            self._means.look(self._low, self._high)
        self._needed = self._still_needed()

    @property
    def asked(self) -> int:
        """The number of scores that were taken, over all systems."""
        return int(self._seen.sum())

    @property
    def means(self) -> Floats:
        """The mean score of each system over the items so far, for their order; .5 where there are none."""
        return np.where(self._seen > 0, self._total / np.maximum(self._seen, 1), 0.5)

    def needed(self) -> Mask:
        """The systems whose next item is needed; none once the question is answered."""
        return self._needed

    def _still_needed(self) -> Mask:
        if self._means is not None:
            return self._means.open.copy()
        assert self.rule is not None
        if self.rule.found(self.means) is not None or self.equal():
            return np.zeros(self._k, dtype=bool)
        return self.rule.needed()

    def answer(self) -> list[int] | None:
        """The places of the systems that answer the question, best first; None while it is open.

        More of them than were asked for are exactly `equal`. For a comparison see `rule.yes`.
        """
        if self._means is not None:
            return None if self._means.open.any() else list(range(self._k))
        assert self.rule is not None
        found = self.rule.found(self.means)
        if found is None and self.equal():
            return [int(place) for place in np.argsort(-self.means, kind="stable") if self.rule.left()[place]]
        return found

    def equal(self) -> bool:
        """Whether all items were taken and the systems that remain in question have exactly the same mean."""
        if self._items is None or self.rule is None or self.rule.found(self.means) is not None:
            return False
        open_ = np.flatnonzero(self.rule.needed())
        at = np.ix_(open_, open_)
        if (self._pairs.count[at] < self._items[at]).any():
            return False
        unequal = np.abs(self._pairs.sum[at]) > TOLERANCE * self._items[at]
        proven = getattr(self.rule, "better", np.zeros((self._k, self._k), dtype=bool))[at]
        return not (unequal & ~proven & ~proven.T).any()

    def left(self) -> Mask:
        """The systems that can still be among those asked for."""
        return np.ones(self._k, dtype=bool) if self.rule is None else self.rule.left()

    def bounds(self) -> list[Bound]:
        """Intervals to show beside the answer; all of them and the answer hold together with probability 1 - alpha.

        `best`: the first system against each other one. Once the best is known only these k - 1 pairs can be wrong.
        `top K`: the last one taken against each one left out, of K (k - K) such pairs. `ranking`: neighbours, of all
        pairs. A comparison: its pair. `mean`: each mean.
        """
        if self._means is not None:
            return [Bound(place, None, *bound) for place, bound in enumerate(self._means.bounds(self._low, self._high))]
        order = [int(place) for place in np.argsort(-self.means, kind="stable")]
        kind, k, top = self.question.kind, self._k, self.question.top
        left = self.left()
        ordered = [place for place in order if left[place]] + [place for place in order if not left[place]]
        if found := self.answer():
            ordered = [*found, *(place for place in ordered if place not in found)]
        if kind == "compare":
            pairs, of = [(0, 1)], 1
        elif kind == "ranking":
            pairs, of = list(pairwise(ordered)), k * (k - 1) // 2
        else:
            last = ordered[min(top, k) - 1]
            pairs, of = [(last, place) for place in ordered[top:]], top * (k - top)
        return [self._as_answered(bound) for bound in self._between(pairs, self._alpha / 2 / (2 * max(of, 1)))]

    def _as_answered(self, bound: Bound) -> Bound:
        """The interval without what the answer rules out: both hold together."""
        low, high = bound.low, bound.high
        match self.rule:
            case Compare(yes=True):
                low = max(low, -self._allowed)
            case Compare(yes=False):
                high = min(high, -self._allowed)
            case Ranking(better=better) if better[bound.a, bound.b]:
                low = max(low, 0.0)
            case Ranking(better=better) if better[bound.b, bound.a]:
                high = min(high, 0.0)
            case _ if self.answer() is not None:
                low = max(low, -self._margin)
        return Bound(bound.a, bound.b, low + 0.0, max(low, high) + 0.0)

    def _between(self, pairs: Sequence[tuple[int, int]], level: float) -> list[Bound]:
        """The intervals of differences; each side fails with probability `level` at most."""
        if not pairs or not self._low:
            return [Bound(a, b, -1.0, 1.0) for a, b in pairs]
        a, b = (list(side) for side in zip(*pairs, strict=True))
        low, high = np.array(self._low), np.array(self._high)
        sizes = None if self._items is None else self._items[a, b]
        least = 2 * self._lower((low[:, a] - high[:, b] + 1) / 2, level, sizes) - 1
        most = 1 - 2 * self._lower((low[:, b] - high[:, a] + 1) / 2, level, sizes)
        return [Bound(a[n], b[n], float(least[n]), float(most[n])) for n in range(len(pairs))]


class _Widths:
    """Means that are each known to within `width` on both sides; looked at after each item, later after each 1 %."""

    def __init__(self, means: int, alpha: float, width: float, items: NDArray[np.int64] | None) -> None:
        self._level = alpha / (2 * means)
        self._width = width
        self._sizes = items
        self.open: Mask = np.ones(means, dtype=bool)
        self._next = 1

    def look(self, low: list[Floats], high: list[Floats]) -> None:
        n = len(low)
        last = self._sizes is not None and n >= self._sizes.max()
        if not last and (n < self._next or not self._near(low, high)):
            return
        self._next = n + 1 + n // 100
        bounds = self.bounds(low, high)
        self.open &= np.array([(most - least) / 2 > self._width + TOLERANCE for least, most in bounds])

    def _near(self, low: list[Floats], high: list[Floats]) -> bool:
        """Whether an interval for this item alone, which is narrower than one for all items, has the width."""
        x = (np.array(low)[:, self.open] + np.array(high)[:, self.open]) / 2
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # a mean without an item yet
            error = np.nanstd(x, axis=0) * np.sqrt(-2 * np.log(self._level) / len(x))
        if self._sizes is not None:
            error = error * np.sqrt(np.maximum(1 - len(x) / np.maximum(self._sizes[self.open], 1), 0))
        return bool((error <= self._width).any())

    def bounds(self, low: list[Floats], high: list[Floats]) -> list[tuple[float, float]]:
        if not low:
            return [(0.0, 1.0)] * len(self.open)
        least = lower(np.array(low), self._level, self._sizes)
        most = upper(np.array(high), self._level, self._sizes)
        return [(float(a), float(b)) for a, b in zip(least, most, strict=True)]


def _rule(
    question: Question, pairs: Moments, systems: int, level: float, margin: float, allowed: float, tests: MakeTests
) -> Rule | None:
    match question.kind:
        case "best":
            return Best(pairs, systems, level, margin, tests)
        case "top":
            return Top(pairs, systems, question.top, level, margin, tests)
        case "ranking":
            return Ranking(pairs, systems, level, margin, tests)
        case "compare":
            return Compare(pairs, level, allowed, strict=question.strict, tests=tests)
        case "mean":
            return None
