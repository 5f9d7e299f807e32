"""Promise: every endpoint is counted once, by the limits that its limiter gets, wherever endpoints are enumerated."""

from __future__ import annotations

from typing import Any

from scorer.build.endpoints import all_rate_limits, most_workers
from scorer.config.spec import Spec

TWO = [
    {"base_url": "http://a/v1", "limits": {"requests_per_minute": 100.0, "concurrency": 3}},
    {"base_url": "http://b/v1", "api_key_env": "KEY", "limits": {"requests_per_minute": 20.0}},
]


def spec(*models: dict[str, Any], **limits: Any) -> Spec:
    return Spec.model_validate(
        {"input": {"shards": ["x"]}, "models": models, "limits": limits, "output": {"path": "out"}}
    )


def test_a_models_endpoints_come_in_order_with_the_models_key_where_they_have_none() -> None:
    model = spec({"alias": "m", "name": "m", "api_key_env": "OURS", "endpoints": TWO}).all_models[0]
    found = model.all_endpoints(spec().limits)
    assert [(e.base_url, e.api_key_env) for e in found] == [("http://a/v1", "OURS"), ("http://b/v1", "KEY")]


def test_declared_limits_sum_up_what_the_limiters_of_all_models_allow() -> None:
    """A second model without endpoints has a limiter of its own with the limits of [limits]."""
    run = spec({"alias": "m", "endpoints": TWO}, {"alias": "n", "name": "n"}, requests_per_minute=7.0, max_usd=1.0)
    assert [limits.requests_per_minute for limits in all_rate_limits(run)] == [100.0, 20.0, 7.0]
    assert run.declared_limits == {"requests_per_minute": 127.0, "max_usd": 1.0}
    assert most_workers(run, 10) == 3


def test_a_limit_that_one_endpoint_lacks_is_no_limit_of_the_run() -> None:
    run = spec({"alias": "m", "endpoints": [*TWO, {"base_url": "http://c/v1"}]}, requests_per_minute=7.0)
    assert run.declared_limits == {}


def test_stored_replies_have_no_endpoint_and_an_embedded_judge_has_one() -> None:
    stored = {"alias": "r", "provider": "recorded", "path": "x", "keys": ["id"], "replies": "r"}
    run = spec(stored, {"alias": "e", "provider": "embedded"}, tokens_per_minute=9.0)
    assert [limits.tokens_per_minute for limits in all_rate_limits(run)] == [9.0]
    assert run.declared_limits == {"tokens_per_minute": 9.0}
    assert all_rate_limits(spec(stored)) == []
    assert spec(stored, requests_per_minute=5.0).declared_limits == {}
