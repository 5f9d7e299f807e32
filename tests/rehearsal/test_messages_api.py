"""The rehearsal judge's Messages API, asked and read by the real client for Anthropic."""

from __future__ import annotations

from random import Random
from typing import Any

import orjson
import pytest

from scorer.client.providers.anthropic import Anthropic
from scorer.client.providers.openai import OpenAI
from scorer.errors import NoCapacity, Refused, Rejected, ServerFault, SetupError, Throttled, TooLong, TransientError
from scorer.rehearsal.config import RehearsalConfig
from scorer.rehearsal.reply_writer import ReplyWriter
from scorer.rehearsal.simulator import RehearsalJudge
from scorer.types import Completion, Message, Reply, Request
from scorer.usage import Usage

PROMPT = "[row:r7] Rate it."
SCHEMA = {
    "type": "object",
    "properties": {"score": {"type": "integer", "enum": [1, 2, 3]}, "reason": {"type": "string"}},
    "required": ["score", "reason"],
}


def judged(prompt: str = PROMPT, schema: Any = None, forms: int = 0, **config: Any) -> tuple[Completion, Reply]:
    """What the client reads of the judge's reply to one prompt, and the reply."""
    judge = RehearsalJudge(RehearsalConfig(latency_median_s=0.0, **config), epoch=1_790_000_000.0)
    provider = Anthropic(name="claude-x", max_output_tokens=64)
    for _ in range(forms):
        provider.learned.schema.move_on(provider.learned.schema.place, "no")
    talk = provider.converse(Request((Message("system", "Judge."), Message("user", prompt)), schema=schema))
    call = next(talk)
    outcome = judge.ask("messages", orjson.loads(call.body), 0.0, Random(0))
    judge.settle(outcome, 0.0, delivered=True)
    reply = Reply(outcome.status, outcome.headers, outcome.body)
    try:
        talk.send(reply)
    except StopIteration as done:
        return done.value, reply
    raise AssertionError("the client asked again")


def verdict(row: str = "r7", **config: Any) -> str:
    return ReplyWriter(RehearsalConfig(**config)).verdict(row).label


def test_messages_api_gives_the_rows_verdict_and_its_bill() -> None:
    found, _ = judged()
    tokens = -(-len("Judge.\n" + PROMPT) // 4)
    assert (found.text, found.finish_reason) == (f"Score: {verdict()}", "stop")
    assert found.usage == Usage(tokens, 4)


def test_messages_api_counts_cached_tokens_beside_the_input() -> None:
    found, reply = judged(cached_share=0.5)
    assert found.usage is not None
    assert found.usage.cached_tokens == found.usage.prompt_tokens // 2
    value = orjson.loads(reply.body)["usage"]
    assert value["input_tokens"] + value["cache_read_input_tokens"] == found.usage.prompt_tokens


@pytest.mark.parametrize("form", [0, 1], ids=["output_config", "tool"])
def test_messages_api_follows_a_schema(form: int) -> None:
    found, _ = judged(schema=SCHEMA, forms=form)
    assert orjson.loads(found.text).keys() == {"score", "reason"}
    assert orjson.loads(found.text)["score"] in (1, 2, 3)


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        ({"poison": "Rate"}, TooLong),
        ({"refuse": "Rate"}, Refused),
        ({"refuses": ["max_tokens"]}, (Rejected, SetupError)),
        ({"tokens_per_minute": 1}, (Throttled, TooLong)),
        ({"fault_429": 1.0}, Throttled),
        ({"fault_500": 1.0}, ServerFault),
        ({"fault_503": 1.0}, ServerFault),
        ({"fault_truncate": 1.0}, TransientError),
        ({"fault_html": 1.0}, TransientError),
        ({"always": "401"}, SetupError),
        ({"always": "529"}, ServerFault),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else None,
)
def test_messages_api_words_each_failure_as_anthropic_does(config: dict[str, Any], kind: type[Exception]) -> None:
    config = {name: tuple(value) if isinstance(value, list) else value for name, value in config.items()}
    with pytest.raises(kind):
        judged(**config)


def test_messages_api_tells_its_limits_in_anthropics_headers() -> None:
    _, reply = judged(requests_per_minute=60, tokens_per_minute=6000)
    hint = Anthropic(name="claude-x").rate({**reply.headers, "date": "Mon, 21 Sep 2026 13:33:20 GMT"})
    assert hint.gauges["requests"].limit == 60
    assert hint.gauges["requests"].remaining == 0
    assert hint.gauges["tokens"].limit == 6000
    assert hint.gauges["tokens"].reset_s is not None


@pytest.mark.parametrize("status", ["429", "498"])
def test_full_flex_tier_is_no_capacity_by_either_status(status: Any) -> None:
    judge = RehearsalJudge(RehearsalConfig(latency_median_s=0.0, flex_refused=1.0, flex_refused_by=status))
    talk = OpenAI(name="m", base_url="http://judge.test/v1", tier="flex").converse(Request((Message("user", "?"),)))
    outcome = judge.ask("chat", orjson.loads(next(talk).body), 0.0, Random(0))
    assert (outcome.status, outcome.bill.prompt_tokens) == (int(status), 0)
    with pytest.raises(NoCapacity):
        talk.send(Reply(outcome.status, outcome.headers, outcome.body))
