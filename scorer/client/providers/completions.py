"""Reads text, usage and log-probabilities from the JSON of a completion. A malformed part counts as missing.

`read_plain` decodes an ordinary reply in one step; for any other reply, errors included, it returns None.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Annotated, Any

import msgspec

from scorer.client.providers.tiers import named_tier, our_word
from scorer.errors import RowError, TransientError
from scorer.types import (
    Completion,
    TokenLogprob,
)
from scorer.usage import (
    Usage,
)

_LARGEST_COUNT = 2**53

_Count = Annotated[int, msgspec.Meta(ge=0, le=_LARGEST_COUNT)]

# gc=False: what JSON decodes to has no cycles, and the collector need not know of it.


class _Message(msgspec.Struct, gc=False):
    content: str
    refusal: None = None


class _Choice(msgspec.Struct, gc=False):
    message: _Message
    finish_reason: str
    logprobs: None = None
    error: None = None


class _Details(msgspec.Struct, gc=False):
    cached_tokens: _Count = 0
    cache_write_tokens: _Count | None = None


class _OutputDetails(msgspec.Struct, gc=False):
    reasoning_tokens: _Count | None = None


class _Usage(msgspec.Struct, gc=False):
    prompt_tokens: _Count
    completion_tokens: _Count
    total_tokens: _Count | None = None
    prompt_tokens_details: _Details | None = None
    completion_tokens_details: _OutputDetails | None = None
    cache_creation_input_tokens: _Count | None = None
    extra_properties: Any = None


class _Plain(msgspec.Struct, gc=False):
    """A reply that complains of nothing: a field that must be null here is one that somebody has to look at."""

    choices: list[_Choice]
    usage: _Usage
    model: str = ""
    object: str = ""
    service_tier: str | None = None
    system_fingerprint: str | None = None
    error: None = None


_decode = msgspec.json.Decoder(_Plain).decode


def read_plain(body: bytes) -> Completion | None:
    """The completion in a chat reply without error, refusal or log-probabilities; None where it is not so plain.

    Gives what the other functions here give for such a reply, five times as fast (docs/project/log.md); of the fields
    that is not read, it does not even look at the encoding.
    """
    try:
        reply = _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    if not reply.choices or reply.object == "error":
        return None
    choice, counted = reply.choices[0], reply.usage
    text = choice.message.content
    prompt, output = counted.prompt_tokens, counted.completion_tokens
    if not text or not prompt or not output:
        return None
    if counted.total_tokens is not None and counted.total_tokens != prompt + output:
        return None
    of_output = counted.completion_tokens_details
    reasoning = None if of_output is None else of_output.reasoning_tokens
    if reasoning is not None and reasoning > output:
        return None
    details = counted.prompt_tokens_details
    if counted.cache_creation_input_tokens or (details is not None and details.cache_write_tokens):
        return None
    if counted.extra_properties is not None:
        return None
    cached = 0 if details is None else details.cached_tokens
    if cached > prompt:
        cached = prompt
    tier = None if reply.service_tier is None else our_word(reply.service_tier)
    usage = Usage(prompt, output, cached, 0, 0, reasoning, tier)
    fingerprint = reply.system_fingerprint or None
    return Completion(text, choice.finish_reason, reply.model, usage, None, body, system_fingerprint=fingerprint)


def read_fingerprint(value: Mapping[str, Any]) -> str | None:
    """The `system_fingerprint` of a reply; None where it has none."""
    found = value.get("system_fingerprint")
    return found if isinstance(found, str) and found else None


def read_text(choice: Mapping[str, Any]) -> tuple[str | None, str]:
    """A choice's text, None where it has none that can be read, and its refusal, "" where there is none."""
    message = choice.get("message")
    if not isinstance(message, dict):
        text = choice.get("text")
        return (text if isinstance(text, str) else None), ""
    refusal = message.get("refusal")
    refused = refusal if isinstance(refusal, str) else ""
    content = message.get("content")
    if content is None:
        return "", refused
    if isinstance(content, str):
        return content, refused
    if not isinstance(content, list):
        return None, refused
    texts = []
    for part in content:
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, dict) and isinstance(part.get("text"), str) and part.get("type", "text") == "text":
            texts.append(part["text"])
        elif isinstance(part, dict) and isinstance(part.get("refusal"), str):
            refused = refused or part["refusal"]
    return "".join(texts), refused


@contextmanager
def billed(value: Mapping[str, Any]) -> Iterator[None]:
    """Whatever error is raised in the block is of a reply with this value: it is billed, at the usage that it tells."""
    try:
        yield
    except (RowError, TransientError) as error:
        if error.usage is None:
            error.usage = read_bill(value)
        error.billed = True
        raise


def read_bill(value: Mapping[str, Any], *, said: bool = False) -> Usage | None:
    """The bill of a whole reply: its usage, and the tier that it names. As `read_usage`."""
    usage = read_usage(value.get("usage"), said=said)
    tier = named_tier(value)
    return usage if usage is None or tier is None else replace(usage, tier=tier)


def read_usage(usage: Any, *, said: bool = False) -> Usage | None:
    """The bill of a reply; None where it is missing or makes no sense. `said`: the reply holds a text.

    A server that counts no token for a prompt, or none for a text, tells no bill. `total_tokens` gives a count that is
    missing, and what it holds beyond the prompt was generated: some gateways count reasoning only there. Where more
    tokens are reasoning than were generated in all, the reasoning comes on top.
    """
    if not isinstance(usage, dict):
        return None
    prompt, completion, total = (
        None if (value := usage.get(name)) is None else _count(value, nonsense=-1)
        for name in ("prompt_tokens", "completion_tokens", "total_tokens")
    )
    if prompt == -1 or completion == -1:
        return None
    if total is None or total == -1:
        total = 0
    if prompt is None:
        prompt = total - (completion or 0) if completion is not None else 0
    if prompt <= 0 or (completion is None and total <= prompt):
        return None
    completion = max(completion or 0, total - prompt)
    of_output = usage.get("completion_tokens_details")
    counted = isinstance(of_output, dict) and _count(of_output.get("reasoning_tokens"), nonsense=-1) >= 0
    reasoning = _within(of_output, "reasoning_tokens")
    if reasoning > completion:
        completion += reasoning
    if said and not completion:
        return None
    cached = min(_within(usage.get("prompt_tokens_details"), "cached_tokens"), prompt)
    written = max(
        _within(usage.get("prompt_tokens_details"), "cache_write_tokens"),  # OpenRouter
        _within(usage, "cache_creation_input_tokens"),  # LiteLLM
    )
    return Usage(prompt, completion, cached, min(written, prompt - cached), 0, reasoning if counted else None)


def _within(details: Any, name: str) -> int:
    """A count of a part; 0 where there is none that can be read."""
    return max(0, _count(details.get(name), nonsense=0)) if isinstance(details, dict) else 0


def read_logprobs(logprobs: Any) -> tuple[TokenLogprob, ...] | None:
    """The tokens of OpenAI's chat shape, of a bare list of the same, or of the legacy parallel lists.

    None where one token is unreadable: half a list would be read at the wrong place.
    """
    if isinstance(logprobs, dict) and isinstance(logprobs.get("tokens"), list):
        return _legacy_logprobs(logprobs)
    entries = logprobs.get("content") if isinstance(logprobs, dict) else logprobs
    if not isinstance(entries, list):
        return None
    read = []
    for entry in entries:
        pair = _pair(entry)
        if pair is None:
            return None
        top = entry.get("top_logprobs")
        pairs = [_pair(alternative) for alternative in top] if isinstance(top, list) else []
        read.append(TokenLogprob(*pair, _likeliest_first(pairs)))
    return tuple(read)


def _legacy_logprobs(logprobs: Mapping[str, Any]) -> tuple[TokenLogprob, ...] | None:
    tokens, values, tops = logprobs["tokens"], logprobs.get("token_logprobs"), logprobs.get("top_logprobs")
    if not isinstance(values, list) or len(values) != len(tokens):
        return None
    if not isinstance(tops, list) or len(tops) != len(tokens):
        tops = [None] * len(tokens)
    read = []
    for token, value, top in zip(tokens, values, tops, strict=True):
        logprob = finite(value)
        if not isinstance(token, str) or logprob is None:
            return None
        pairs = [(name, finite(one)) for name, one in top.items()] if isinstance(top, dict) else []
        read.append(TokenLogprob(token, logprob, _likeliest_first([(n, p) for n, p in pairs if p is not None])))
    return tuple(read)


def _pair(entry: Any) -> tuple[str, float] | None:
    if not isinstance(entry, dict):
        return None
    token = entry.get("token", entry.get("text"))  # TGI's own shape says text
    logprob = finite(entry.get("logprob"))
    return (token, logprob) if isinstance(token, str) and logprob is not None else None


def _likeliest_first(pairs: Iterable[tuple[str, float] | None]) -> tuple[tuple[str, float], ...]:
    return tuple(sorted((pair for pair in pairs if pair is not None), key=lambda pair: -pair[1]))


def read_model(value: Mapping[str, Any]) -> str:
    """The model as the server names it, "" where it does not."""
    model = value.get("model")
    return model if isinstance(model, str) else ""


def _count(value: Any, *, nonsense: int) -> int:
    """A whole number of tokens; `nonsense` for anything else."""
    return value if type(value) is int and 0 <= value <= _LARGEST_COUNT else nonsense


def finite(value: Any) -> float | None:
    """The number as a float; None for anything else, booleans and infinities among it."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None
