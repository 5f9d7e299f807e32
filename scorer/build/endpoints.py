"""The endpoints of a checked spec: their addresses and rate limits, in the order of the run file. Keys: keys.py."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

from scorer.config.spec import Rates, Spec
from scorer.limits import RateLimits
from scorer.processes.file_limit import LEAST, file_limit


def concurrency(rates: Rates, provider: str) -> int:
    """The most requests in flight: as given, else the requests of 10 s at the request rate, between 8 and 1,024.

    64 without a request rate. "auto" adapts the number, up to 1,024, or to what this process may have open.
    """
    if isinstance(rates.concurrency, int):
        return rates.concurrency
    if rates.concurrency == "auto":
        return min(1024, max(1, file_limit() - LEAST))
    if provider == "embedded":
        return 2  # the server has one slot; a second request waits in its queue
    if rates.requests_per_minute is not None:
        return int(min(1024, max(8, rates.requests_per_minute / 60 * 10)))
    return 64


def rate_limits(rates: Rates, burst_s: float, most: int) -> RateLimits:
    """The rate limits of one endpoint with at most `most` requests in flight."""
    return RateLimits(
        requests_per_minute=rates.requests_per_minute,
        tokens_per_minute=rates.tokens_per_minute,
        input_tokens_per_minute=rates.input_tokens_per_minute,
        output_tokens_per_minute=rates.output_tokens_per_minute,
        burst_s=burst_s,
        concurrency=None if rates.concurrency == "auto" else most,
        most=most,
    )


def all_rate_limits(spec: Spec) -> list[RateLimits]:
    """The rate limits of every endpoint, in the order in which `make_client` makes their limiters."""
    return [
        rate_limits(endpoint.limits, spec.limits.burst_s, concurrency(endpoint.limits, model.provider))
        for model in spec.all_models
        for endpoint in model.all_endpoints(spec.limits)
    ]


def most_workers(spec: Spec, wished: int) -> int:
    """As many workers as wished, but none without a place for a request in flight."""
    return max(1, min([wished, *(limits.most for limits in all_rate_limits(spec))]))


def on_this_machine(url: str) -> bool:
    """True for a loopback address (localhost, 127.0.0.0/8, ::1), which needs no proxy."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


PATHS = ("/chat/completions", "/completions", "/responses", "/messages")
"""Paths that providers append to a base URL; users often copy addresses with one of them."""


def base_of(url: str) -> str:
    """The base URL in an address that may end in one of PATHS."""
    plain = url.rstrip("/")
    return next((plain.removesuffix(path) for path in PATHS if plain.endswith(path)), plain)
