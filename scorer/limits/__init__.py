"""May this request go now? Requests, tokens, money, concurrency: reserve, then settle."""

from scorer.limits.budget import Budget
from scorer.limits.limiter import LocalLimiter, RateLimits
from scorer.limits.types import Admission, Asked, Billing, Demand, EndpointDown, Outcome, Permit

__all__ = [
    "Admission",
    "Asked",
    "Billing",
    "Budget",
    "Demand",
    "EndpointDown",
    "LocalLimiter",
    "Outcome",
    "Permit",
    "RateLimits",
]
