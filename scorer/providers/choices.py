"""The parts of a completion out of parsed JSON: text, usage, log-probabilities. Whatever is malformed is missing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from scorer.schema import TokenLogprob, Usage

_LARGEST_COUNT = 2**53


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


def read_usage(usage: Any) -> Usage | None:
    """The bill of a reply; None where it is missing or makes no sense."""
    if not isinstance(usage, dict):
        return None
    prompt, completion = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
    if prompt is None or completion is None:
        return None
    details = usage.get("prompt_tokens_details")
    cached = _count(details.get("cached_tokens")) if isinstance(details, dict) else None
    return Usage(prompt, completion, min(cached or 0, prompt))


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


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value <= _LARGEST_COUNT else None


def finite(value: Any) -> float | None:
    """The number as a float; None for anything else, booleans and infinities among it."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None
