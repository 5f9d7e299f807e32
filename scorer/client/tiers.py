"""Decides when a request leaves its service tier for the standard one, and words what replies say of their tier.

Knows no wire and no clock.
"""

from __future__ import annotations


class TierFallback:
    """Lets requests leave the tier that have been asked for `after_s`: at most `share` of all that were begun.

    It counts the requests of one process since its start.
    """

    def __init__(self, after_s: float, share: float = 1.0) -> None:
        self.after_s = after_s
        self._share = share
        self._begun = self._left = 0

    def begin(self) -> None:
        """A request begins."""
        self._begun += 1

    def may_leave(self, asking_s: float) -> bool:
        """Whether a request that has been asked for so many seconds leaves the tier; it is counted where it does."""
        if asking_s < self.after_s or self._left + 1 > self._share * self._begun:
            return False
        self._left += 1
        return True

    def shorter(self, pause_s: float, asking_s: float) -> float:
        """The pause, cut where the request may leave the tier before its end."""
        return min(pause_s, self.after_s - asking_s) if asking_s < self.after_s else pause_s

    @property
    def note(self) -> str:
        """The sentence for the user where a request leaves."""
        return (
            f"After {self.after_s:g} s without capacity requests go at the standard tier, at its price: at most "
            f"{self._share:.0%} of all."
        )


def tier_note(asked: str, named: str | None) -> str | None:
    """What to tell the user where a reply names another tier than was asked for, or none. None: nothing to tell."""
    if asked == named:
        return None
    if named is None:
        return (
            f'model.tier = "{asked}": replies do not name the tier that served them. Each is counted at the dearer of '
            "its price and the standard one."
        )
    return f'model.tier = "{asked}": some replies name the tier "{named}", and are billed at its price.'
