"""Response bodies of an OpenAI-compatible server: completions and errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

JSON = "application/json"
_HTML = b"<!doctype html>\n<html><head><title>502</title></head><body><h1>502 Bad Gateway</h1></body></html>\n"


def error(message: str, kind: str, code: str | None = None, param: str | None = None) -> bytes:
    """The body of an error, as OpenAI words it."""
    return orjson.dumps({"error": {"message": message, "type": kind, "param": param, "code": code}})


_SERVER = error("The server had an error while processing your request. Sorry about that!", "server_error")
_OVERLOADED = error("The engine is currently overloaded, please try again later.", "server_error", "overloaded")
FAILURES: dict[str, tuple[int, str, bytes]] = {  # status, content type, body
    "500": (500, JSON, _SERVER),
    "503": (503, JSON, _OVERLOADED),
    "html": (200, "text/html", _HTML),
    "error_200": (200, JSON, error("Provider returned error.", "upstream_error", "502")),
}

_NO_MODEL = "The model does not exist or you do not have access to it."
_QUOTA = "You exceeded your current quota, please check your plan and billing details."
ALWAYS: dict[str, tuple[int, bytes]] = {
    "401": (401, error("Incorrect API key provided.", "invalid_request_error", "invalid_api_key")),
    "402": (402, error("Insufficient credits. Add more and retry.", "payment_required", "402")),
    "403": (403, error("You are not allowed to sample from this model.", "invalid_request_error", "forbidden")),
    "404": (404, error("Invalid URL (POST).", "invalid_request_error")),
    "404_model": (404, error(_NO_MODEL, "invalid_request_error", "model_not_found", "model")),
    "insufficient_quota": (429, error(_QUOTA, "insufficient_quota", "insufficient_quota")),
    "500": (500, _SERVER),
    "503": (503, _OVERLOADED),
    "529": (529, error("Overloaded.", "overloaded_error")),
}  # fmt: skip


_NO_CAPACITY = "Flex capacity is not available right now. Try again later."
NO_CAPACITY: dict[str, tuple[int, bytes]] = {
    "429": (429, error(_NO_CAPACITY, "resource_unavailable", "429")),
    "498": (498, error(_NO_CAPACITY, "invalid_request_error", "capacity_exceeded")),
}


def too_long(context: int, prompt: int) -> bytes:
    """The error body for a prompt of so many tokens, beyond the context window."""
    message = (
        f"This model's maximum context length is {context} tokens. However, your messages resulted in {prompt} tokens."
    )
    return error(message, "invalid_request_error", "context_length_exceeded", "messages")


def usage(prompt: int, completion: int, reasoning: int, cached: int | None) -> dict[str, Any]:
    """The tokens of a request; without `cached` where the server does not tell."""
    fields: dict[str, Any] = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }
    if reasoning:
        fields["completion_tokens_details"] = {"reasoning_tokens": reasoning}
    if cached is not None:
        fields["prompt_tokens_details"] = {"cached_tokens": cached}
    return fields


def chat(
    identity: str, created: int, model: str, choices: Sequence[Mapping[str, Any]], usage: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The envelope of a chat completion; `choices` as `chat_choice` gives them."""
    body = {"id": identity, "object": "chat.completion", "created": created, "model": model, "choices": choices}
    return body if usage is None else {**body, "usage": usage}


def chat_choice(
    index: int, content: str | None, finish_reason: str, logprobs: list[dict[str, Any]] | None
) -> dict[str, Any]:
    return {
        "index": index,
        "message": {"role": "assistant", "content": content, "refusal": None},
        "logprobs": None if logprobs is None else {"content": logprobs, "refusal": None},
        "finish_reason": finish_reason,
    }


def text(
    identity: str, created: int, model: str, choices: Sequence[Mapping[str, Any]], usage: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The envelope of a text completion; `choices` as `text_choice` gives them."""
    body = {"id": identity, "object": "text_completion", "created": created, "model": model, "choices": choices}
    return body if usage is None else {**body, "usage": usage}


def text_choice(
    index: int, content: str | None, finish_reason: str, logprobs: list[dict[str, Any]] | None
) -> dict[str, Any]:
    """As llama.cpp writes it: its log-probabilities have the shape of the chat ones."""
    return {
        "text": content or "",
        "index": index,
        "logprobs": None if logprobs is None else {"content": logprobs},
        "finish_reason": finish_reason,
    }
