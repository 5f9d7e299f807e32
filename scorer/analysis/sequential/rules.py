"""When a question about systems is answered: `best`, `top K`, `ranking`, and one system against another.

Each rule takes the items in order and shares its error probability out over the events that could make its answer
wrong, so that the answer is wrong with at most that probability. [j, i] stands for "j less i" throughout.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from scorer.analysis.sequential.bets import At, Bets, Floats, Moments
from scorer.analysis.sequential.elimination import Elimination, PairwiseElimination
from scorer.analysis.sequential.normal import NormalTests
from scorer.types import Mask

Codes = NDArray[np.int64]
Tests = Bets | NormalTests
MakeTests = Callable[..., Tests]
"""`Bets`, or `NormalTests` where the user asks for an asymptotic answer."""


class Rule(Protocol):
    """Decides from the items so far; `add` before the moments have an item, `settle` after."""

    def add(self, low: Floats, high: Floats, differences: Floats, at: At, means: Floats) -> None: ...
    def settle(self) -> None: ...
    def needed(self) -> Mask:
        """The systems whose next item can still change the answer. None is needed once it is known."""
        ...

    def left(self) -> Mask:
        """The systems that can still be (among) those asked for."""
        ...

    def found(self, means: Floats) -> list[int] | None:
        """The answer as places of systems, in the order of `means`; None while it is open."""
        ...


class Best:
    """The best system, or with `margin` > 0 one that is less than `margin` below the best.

    A system a is the answer once it is alone, or once for each other survivor j "a is at least j less `margin`" is
    proven. Wrong only if the best one b was eliminated (half of `level`), or if a is more than `margin` below b and
    "a is at least b less `margin`" was claimed: k - 1 events, so each test has `level` / (2 (k - 1)).
    """

    def __init__(self, moments: Moments, systems: int, level: float, margin: float, tests: MakeTests = Bets) -> None:
        share = level / 2 if margin else level
        self._elimination: Elimination | PairwiseElimination = (
            Elimination(moments, systems, share)
            if tests is Bets
            else PairwiseElimination(tests(moments, 0.0, share / max(systems - 1, 1)), systems)
        )
        self._close = tests(moments, -margin, share / max(systems - 1, 1), strict=False) if margin else None

    def add(self, low: Floats, high: Floats, differences: Floats, at: At, means: Floats) -> None:
        if self._close is not None:
            self._close.add(differences, at)
        self._elimination.add(low, high, means)

    def settle(self) -> None:
        if self._close is not None:
            self._close.settle()
        self._elimination.settle()

    def left(self) -> Mask:
        return self._elimination.alive

    def found(self, means: Floats) -> list[int] | None:
        alive = _ordered(self.left(), means)
        if len(alive) == 1:
            return [int(alive[0])]
        if self._close is None:
            return None
        close = self._close.won[np.ix_(alive, alive)] | np.eye(len(alive), dtype=bool)
        good = np.flatnonzero(close.all(axis=1))
        return [int(alive[good[0]])] if len(good) else None

    def needed(self) -> Mask:
        return self.left()


class Top:
    """The K best systems, or with `margin` > 0 K systems, none of which is more than `margin` below one left out.

    A system is out when K others are proven better, and in when it is proven better than k - K others. Some system of
    the true top K is out, or one outside is in, only if a system outside was falsely proven better than one inside:
    K (k - K) events. With a margin the answer a_1 ... a_K is wrong only if some j left out is more than `margin` above
    some a; then there are also such j inside the true top and a outside (take for j a better one that was left out, for
    a a worse one that was taken), so these are K (k - K) further events, with the other half of `level`.
    """

    def __init__(
        self, moments: Moments, systems: int, top: int, level: float, margin: float, tests: MakeTests = Bets
    ) -> None:
        self._k, self._top = systems, top
        each = (level / 2 if margin else level) / max(top * (systems - top), 1)
        self._better = tests(moments, 0.0, each)
        self._close = tests(moments, -margin, each, strict=False) if margin else None
        self._tests = [self._better] + ([self._close] if self._close is not None else [])

    def add(self, low: Floats, high: Floats, differences: Floats, at: At, means: Floats) -> None:
        for test in self._tests:
            test.add(differences, at)

    def settle(self) -> None:
        for test in self._tests:
            test.settle()

    def left(self) -> Mask:
        out: Mask = self._better.won.sum(axis=0) >= self._top
        return ~out if (~out).sum() >= self._top else np.ones(self._k, dtype=bool)

    def _inside(self) -> Mask:
        inside: Mask = (self._better.won.sum(axis=1) >= self._k - self._top) & self.left()
        return inside

    def found(self, means: Floats) -> list[int] | None:
        left, inside = _ordered(self.left(), means), self._inside()
        if inside.sum() == self._top:
            return [int(each) for each in _ordered(inside, means)]
        if len(left) <= self._top:
            return [int(each) for each in left]
        if self._close is None:
            return None
        chosen = sorted(left, key=lambda system: not inside[system])[: self._top]
        rest = np.setdiff1d(left, chosen)
        close = (self._close.won | self._better.won)[np.ix_(chosen, rest)]
        if (close | inside[chosen][:, None]).all():
            return [int(each) for each in chosen]
        return None

    def needed(self) -> Mask:
        left, inside = self.left(), self._inside()
        open_ = left & ~inside
        unproven = ~self._better.won & open_[None, :]
        needed: Mask = open_ | (inside & unproven.any(axis=1))
        return needed


class Ranking:
    """Which of each two systems is better, or with `margin` > 0 that they are within `margin` of each other.

    Whatever two means are, at most two of the four one-sided claims about them are false: k (k - 1) events in all.
    """

    def __init__(self, moments: Moments, systems: int, level: float, margin: float, tests: MakeTests = Bets) -> None:
        each = level / max(systems * (systems - 1), 1)
        self._better = tests(moments, 0.0, each)
        self._close = tests(moments, -margin, each, strict=False) if margin else None
        self._systems = systems

    def add(self, low: Floats, high: Floats, differences: Floats, at: At, means: Floats) -> None:
        self._better.add(differences, at)
        if self._close is not None:
            self._close.add(differences, at)

    def settle(self) -> None:
        self._better.settle()
        if self._close is not None:
            self._close.settle()

    @property
    def better(self) -> Mask:
        """[j, i] is True where j is proven better than i."""
        return self._better.won

    def _open(self) -> Mask:
        known: Mask = np.eye(self._systems, dtype=bool)
        known |= self._better.won
        known |= self._better.won.T
        if self._close is not None:
            known |= self._close.won & self._close.won.T
        return ~known

    def left(self) -> Mask:
        return np.ones(self._systems, dtype=bool)

    def found(self, means: Floats) -> list[int] | None:
        return None if self._open().any() else [int(each) for each in _ordered(self.left(), means)]

    def needed(self) -> Mask:
        needed: Mask = self._open().sum(axis=0) > 0
        return needed


class Compare:
    """Whether system 0 is above system 1 less `allowed` (`strict`), or at least that: `yes` is None while it is open.

    Of "yes" and "no" one is true, so only the other one can be claimed falsely: both tests have the whole `level`.
    """

    def __init__(
        self, moments: Moments, level: float, allowed: float, *, strict: bool, tests: MakeTests = Bets
    ) -> None:
        self._yes = tests(moments, -allowed, level, strict=strict)
        self._no = tests(moments, allowed, level, strict=not strict)

    def add(self, low: Floats, high: Floats, differences: Floats, at: At, means: Floats) -> None:
        self._yes.add(differences, at)
        self._no.add(differences, at)

    def settle(self) -> None:
        self._yes.settle()
        self._no.settle()

    @property
    def yes(self) -> bool | None:
        if self._yes.won[0, 1]:
            return True
        return False if self._no.won[1, 0] else None

    def left(self) -> Mask:
        return np.ones(2, dtype=bool)

    def found(self, means: Floats) -> list[int] | None:
        return None if self.yes is None else [0, 1]

    def needed(self) -> Mask:
        return np.full(2, self.yes is None)


def _ordered(among: Mask, means: Floats) -> Codes:
    places = np.flatnonzero(among)
    return places[np.argsort(-means[places], kind="stable")]
