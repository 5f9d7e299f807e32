"""May this request go now? Requests, tokens, money, concurrency: reserve, then settle."""

from scorer.limits.caps import Caps
from scorer.limits.local import Local, Rates
from scorer.limits.permit import Admission, Asked, Bill, Need, Outcome, Permit, TurnedAway

__all__ = ["Admission", "Asked", "Bill", "Caps", "Local", "Need", "Outcome", "Permit", "Rates", "TurnedAway"]
