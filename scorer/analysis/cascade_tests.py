"""Exact p-values of the errors among labelled rows that a cheap judge keeps, and the labels that they take.

Source: Clopper and Pearson (1934), Biometrika 26(4), for rows to come; Thatcher (1964), "Relationships between Bayesian
and confidence limits for predictions", JRSS B 26(2), for the rest of a table.
"""

from __future__ import annotations

import math
from collections.abc import Iterable


def errors_p(errors: int, n: int, alpha: float) -> float:
    """P(Binomial(n, alpha) <= errors), exactly: the p-value of "the risk exceeds alpha" with so many errors of n.

    errors_p(0, 29, .1) = .9^29 = .047.
    """
    if errors >= n:
        return 1.0
    log_alpha, log_rest = math.log(alpha), math.log1p(-alpha)
    return _total(_log_choose(n, k) + k * log_alpha + (n - k) * log_rest for k in range(errors + 1))


def errors_left_p(errors: int, n: int, rest: int, alpha: float) -> float:
    """The p-value of "more than alpha of `rest` rows are errors" with so many errors of `n` rows drawn from both.

    The n rows are a simple random sample of the n + rest. With L the fewest errors of the rest that exceed alpha, it is
    P(H <= errors), H the errors in n rows drawn from n + rest of which errors + L are errors. Proof that the event
    "p <= delta and the rest exceeds alpha" has probability delta at most: of K errors in all, the rest exceeds alpha
    where errors <= K - L. p grows with errors, so p <= delta where errors <= c for some c. The event is thus
    errors <= m with m = min(c, K - L), and its probability falls in K >= m + L, where it is p at m <= c. As `rest`
    grows, p becomes `errors_p`.

    errors_left_p(0, 29, 101, .1) = .055: 29 labels without an error say less of 101 rows than of rows to come.
    """
    everything, wrong = n + rest, errors + math.floor(alpha * rest + 1e-9) + 1
    if wrong > everything:
        return 0.0
    log_all = _log_choose(everything, n)
    return _total(
        _log_choose(wrong, k) + _log_choose(everything - wrong, n - k) - log_all
        for k in range(max(0, n - (everything - wrong)), min(errors, n) + 1)
    )


def labels_needed(alpha: float, delta: float, errors: int = 0) -> int:
    """The fewest kept labels of which so many may be errors: 14, 29 and 59 without an error, for .2, .1, .05 at .05."""
    low, high = errors + 1, errors + 2
    while errors_p(errors, high, alpha) > delta:
        low, high = high, 2 * high
    while high - low > 0:
        middle = (low + high) // 2
        low, high = (low, middle) if errors_p(errors, middle, alpha) <= delta else (middle + 1, high)
    return high


def errors_allowed(labels: int, alpha: float, delta: float, rest: int | None = None) -> int | None:
    """The most errors of so many kept labels; None where even none would not do: 60 labels allow 6, 1 and 0.

    `rest` is the number of rows that the promise is about; None for rows to come.
    """
    allowed = None
    for errors in range(labels):
        p = errors_p(errors, labels, alpha) if rest is None else errors_left_p(errors, labels, rest, alpha)
        if p > delta:
            break
        allowed = errors
    return allowed


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def _total(logs: Iterable[float]) -> float:
    return min(1.0, math.fsum(map(math.exp, logs)))
