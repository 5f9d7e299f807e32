"""A quantile of the latest values of a stream."""

from __future__ import annotations

from collections import deque

KEPT = 512
FEWEST = 16
EVERY = 32


class RunningQuantile:
    """The `share` quantile of the last 512 values. None before the first 16.

    It is computed when it is read, and again after 32 further values: where it is not read, a value costs an append.
    """

    def __init__(self, share: float) -> None:
        self._share = share
        self._last: deque[float] = deque(maxlen=KEPT)
        self._new = 0  # values since it was computed
        self._value: float | None = None

    def add(self, value: float) -> None:
        """Adds a value."""
        self._last.append(value)
        self._new += 1

    @property
    def value(self) -> float | None:
        """The quantile."""
        if self._new >= (FEWEST if self._value is None else EVERY):
            ordered = sorted(self._last)
            self._value = ordered[min(len(ordered) - 1, int(self._share * len(ordered)))]
            self._new = 0
        return self._value
