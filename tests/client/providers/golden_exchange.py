"""Golden exchanges: what a provider sends byte by byte, reply by reply, and what it makes of the last one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import orjson

from scorer.errors import ScorerError, TransientError
from scorer.types import Call, Classify, Completion, Message, Prefix, Provider, Reply, Request

FOLDER = Path(__file__).parent / "golden"


def talk(provider: Provider, request: Request, replies: Iterable[Reply]) -> tuple[list[Call], Completion | ScorerError]:
    """The calls made and what came of them; one reply for each call."""
    conversation = provider.converse(request)
    calls, waiting = [next(conversation)], list(reversed(list(replies)))
    try:
        while True:
            calls.append(conversation.send(waiting.pop()))
    except StopIteration as end:
        return calls, end.value
    except ScorerError as error:
        return calls, error


def check(path: Path, make: Callable[..., Provider], own_headers: Mapping[str, str]) -> None:
    """The provider that `make` makes does as the file says; `own_headers` stand beside those of its settings."""
    golden = orjson.loads(path.read_bytes())
    asked = golden["request"]
    made: dict[str, Any] = {"messages": tuple(Message(**one) for one in asked.get("messages", ()))}
    if "prefixes" in asked:
        made["prefixes"] = tuple(Prefix(**{**one, "key": bytes.fromhex(one["key"])}) for one in asked["prefixes"])
    if "classify" in asked:
        made["classify"] = Classify(**asked["classify"])
    request = Request(**asked | made)
    answers = [one["reply"] for one in golden["exchange"]]
    replies = [Reply(one["status"], one["headers"], one["body"].encode()) for one in answers]

    calls, result = talk(make(**golden["provider"]), request, replies)

    assert [(call.url, call.body.decode()) for call in calls] == [
        (one["url"], one["body"]) for one in golden["exchange"]
    ]
    headers = {**own_headers, **golden["provider"].get("headers", {})}
    assert all(call.headers == headers for call in calls)
    if isinstance(result, Completion):
        assert golden["completion"] == _fields(result, golden["completion"])
        assert result.body == replies[-1].body
        choices = [one.text if isinstance(one, Completion) else {"error": one.name} for one in result.choices]
        assert choices == golden.get("choices", [])
    else:
        fault: dict[str, Any] = {"name": type(result).__name__, "text": str(result)}
        if isinstance(result, TransientError):
            fault |= {"billed": result.billed, "retry_after_s": result.retry_after_s}
        assert golden["error"] == fault


def _fields(result: Completion, wanted: Mapping[str, Any]) -> dict[str, Any]:
    usage = result.usage
    body = {
        "text": result.text,
        "finish_reason": result.finish_reason,
        "model": result.model,
        "usage": usage and [usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens],
        "tier": usage and usage.tier,
        "written": usage and [usage.written_tokens, usage.written_1h_tokens],
        "reasoning_tokens": usage and usage.reasoning_tokens,
        "logprobs": result.logprobs and [[t.token, t.logprob, [list(one) for one in t.top]] for t in result.logprobs],
    }
    return {name: value for name, value in body.items() if name in wanted}
