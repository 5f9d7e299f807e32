"""Promise: a request in flight holds its body in memory of that size."""

from __future__ import annotations

import tracemalloc

import orjson
import pytest

from scorer.client.json_body import json_body


@pytest.mark.parametrize("value", [{}, {"a": [1, None, "ü\n"]}, {"messages": [{"content": "word " * 300}]}])
def test_json_body_is_the_json(value: dict[str, object]) -> None:
    assert json_body(value) == orjson.dumps(value)


def test_bodies_take_no_more_memory_than_they_have_bytes() -> None:
    """orjson's own results take eight times as much."""
    value = {"model": "m", "messages": [{"role": "user", "content": "word " * 300}]}
    tracemalloc.start()
    try:
        held = [json_body(value) for _ in range(100)]
        most = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert most < 1.2 * sum(map(len, held))
