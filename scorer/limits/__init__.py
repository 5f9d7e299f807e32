"""Decides when a request may be sent: rate limits, budget, concurrency, breaker. Reserves, then settles."""

from scorer.limits.budget import Budget
from scorer.limits.limiter import LocalLimiter
from scorer.limits.rate_limits import RateLimits
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
