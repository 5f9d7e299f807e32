"""Promise: what is reserved for a request is never less than what it may cost."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.clock import run
from support.scripted_client import (
    PRICE,
    Strict,
    Wire,
    asks,
    client,
    needed,
)

from scorer.client.providers.openai import OpenAI
from scorer.types import (
    Message,
    Request,
)
from scorer.usage import (
    Usage,
)


@given(text=st.text(max_size=200), system=st.text(max_size=50))
@settings(max_examples=30)
def test_reservation_bounds_token_count_of_any_tokeniser(text: str, system: str) -> None:
    async def scenario() -> None:
        limits = Strict()
        request = Request(messages=(Message("system", system), Message("user", text)), max_output_tokens=7)
        judge = client(Wire([200]), limits)
        worst = needed(judge, request).worst_tokens
        assert worst >= len(text.encode()) + len(system.encode()) + 7

    run(scenario())


def test_reservation_grows_by_prompt_tokens_added_by_server() -> None:
    async def scenario() -> None:
        limits = Strict()
        judge = client(Wire([200]), limits, usage=Usage(1000, 5))
        before = needed(judge, asks()).worst_tokens
        assert before < 1000
        await judge.complete(asks())
        assert needed(judge, asks()).worst_tokens >= 1000 + 20

    run(scenario())


@pytest.mark.parametrize(
    ("extra", "output"),
    [
        ({}, 20),
        ({"max_tokens": 900}, 900),
        ({"max_completion_tokens": 900}, 900),
        ({"max_output_tokens": 900, "max_tokens": 30}, 900),
        ({"n": 7}, 140),
        ({"n": 2, "best_of": 7}, 140),
        ({"max_tokens": 900, "n": 7}, 6300),
        ({"options": {"num_predict": 900}}, 900),
        ({"generationConfig": {"thinkingConfig": {"thinkingBudget": 900}}}, 900),
        ({"max_tokens": -1}, 20),  # no limit at all: bills tell
        ({"max_tokens": "900", "n": True}, 20),
    ],
)
def test_reservation_covers_body_sent(extra: dict[str, Any], output: int) -> None:
    async def scenario() -> None:
        judge = client(Wire([200]), Strict())
        provider = OpenAI(name="m", base_url="http://h/v1", max_output_tokens=20, extra=extra)
        request = asks('a text that names "max_tokens": 5000000, and n: 9')
        body = next(provider.converse(request)).body
        need = needed(judge, request, body)
        assert need.output_tokens == output
        assert need.worst_tokens >= len(body) + output
        assert need.worst_pico == PRICE.worst_pico(need.worst_tokens - output, output)

    run(scenario())


def test_reservation_counts_schema_in_extra() -> None:
    async def scenario() -> None:
        judge = client(Wire([200]), Strict())
        schema = {"type": "json_schema", "json_schema": {"schema": {"description": "x" * 15_000}}}
        provider = OpenAI(name="m", base_url="http://h/v1", extra={"response_format": schema})
        body = next(provider.converse(asks())).body
        assert needed(judge, asks(), body).worst_tokens > 15_000

    run(scenario())


def test_reservation_of_choices_counts_each_reply_and_prompt_once() -> None:
    async def scenario() -> None:
        judge = client(Wire([200]), Strict())
        one, five = needed(judge, asks()), needed(judge, asks(choices=5))
        assert (one.output_tokens, five.output_tokens) == (20, 100)
        assert five.worst_tokens - one.worst_tokens == 4 * 20
        assert five.worst_pico - one.worst_pico == PRICE.worst_pico(0, 80)
        assert five.tokens == one.tokens

    run(scenario())


def test_reservation_of_continuation_counts_its_length_and_no_reply() -> None:
    async def scenario() -> None:
        need = needed(client(Wire([200]), Strict()), Request(prompt="p" * 300, continuation="c" * 100, tokens=90))
        assert (need.tokens, need.output_tokens, need.first) == (90, 1, True)
        assert need.worst_tokens >= 401

    run(scenario())
