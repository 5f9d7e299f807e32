"""Stops a run whose first rows all fail alike: further rows would fail the same way."""

from __future__ import annotations

from scorer.errors import TooManyFailed, advice_on
from scorer.types import Result


class UniformFailureGuard:
    """Stops a run whose first `most` rows all fail with the same error. None: never."""

    def __init__(self, most: int | None) -> None:
        self._most = most
        self._name = ""
        self._rows = 0
        self.over = most is None
        """No further result can stop the run."""

    def look(self, result: Result) -> None:
        if self.over:
            return
        name = result.error.name if result.error is not None else None
        if name is None or self._name not in ("", name):
            self.over = True
            return
        self._name = name
        self._rows += 1
        if self._most is not None and self._rows >= self._most:
            assert result.error is not None
            raise TooManyFailed(
                f"The first {self._rows} rows all ended in {name}; the last one says: "
                f"{result.error.detail.rstrip('.')}. What is finished is kept. {advice_on([name])}"
            )
