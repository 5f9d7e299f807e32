"""May this request go now? Requests, tokens, money, concurrency: reserve, then settle."""

from scorer.limits.budget import Caps
from scorer.limits.limiter import Local, Rates
from scorer.limits.types import Admission, Asked, Bill, Need, Outcome, Permit, TurnedAway

__all__ = ["Admission", "Asked", "Bill", "Caps", "Local", "Need", "Outcome", "Permit", "Rates", "TurnedAway"]
