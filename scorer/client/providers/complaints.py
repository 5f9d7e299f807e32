"""What the error body of a reply complains of: its message, codes, parameter and quotas, in any dialect.

Knows the bodies of OpenAI, Azure, vLLM, SGLang, TGI, Ollama, llama.cpp, OpenRouter and Google; not what follows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import field
from typing import Any

import orjson

from scorer.errors import whole
from scorer.frozen import dataclass

_HEARD_LENGTH = 10_000  # of a message; keeps the searches below cheap whatever the server sends


@dataclass(frozen=True, slots=True)
class Complaint:
    """What an error body says: its message, and its codes and types in lower case."""

    message: str = ""
    codes: frozenset[str] = frozenset()
    param: str = ""
    status: int | None = None
    """A status that the body names, as OpenRouter does under 200."""
    quotas: str = ""
    """The names of quotas that the body calls exceeded, as Google does."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """What the body says beside its words that headers would: OpenRouter's, and Google's time to wait."""


def parse(body: bytes) -> Any:
    """The JSON value of a body; None where it is none (a JSON null is no answer either).

    Half of a surrogate pair, which JSON can escape and no text can hold, is read as U+FFFD: models do write it.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        pass
    try:
        return orjson.loads(whole(json.dumps(json.loads(body), ensure_ascii=False)))
    except (ValueError, RecursionError):
        return None


def complaint(value: Any) -> Complaint | None:
    """The error that a parsed body reports; None where it reports none."""
    if isinstance(value, list) and value:
        value = value[0]  # Gemini's OpenAI-compatible address wraps its errors in a list
    if not isinstance(value, dict):
        return None
    error = value.get("error")
    if isinstance(error, str) and error:  # Ollama, TGI
        return Complaint(
            message=error[:_HEARD_LENGTH], codes=_codes(value.get("error_type"), value.get("type"), value.get("code"))
        )
    if isinstance(error, dict):
        return _from_dict(error)
    if value.get("object") == "error":  # vLLM before 0.10, SGLang
        return _from_dict(value)
    if "choices" in value:
        return None
    for name in ("detail", "message"):  # FastAPI; gateways
        if said := value.get(name):
            words = said if isinstance(said, str) else orjson.dumps(said).decode()
            return Complaint(message=words[:_HEARD_LENGTH], codes=_codes(value.get("code"), value.get("type")))
    return None


def _from_dict(error: Mapping[str, Any]) -> Complaint:
    inner = error.get("innererror")
    metadata = error.get("metadata")
    message = error.get("message")
    code = error.get("code")
    param = error.get("param")
    named = isinstance(code, int) and not isinstance(code, bool) and 400 <= code < 600
    words = message if isinstance(message, str) else orjson.dumps(error).decode()
    return Complaint(
        message=words[:_HEARD_LENGTH],
        codes=_codes(
            code,
            error.get("type"),
            inner.get("code") if isinstance(inner, dict) else None,
            "content_filter" if isinstance(metadata, dict) and "flagged_input" in metadata else None,  # OpenRouter
        ),
        param=param if isinstance(param, str) else "",
        status=code if named else None,
        quotas=_quotas(error.get("details")),
        headers=_said_headers(metadata, error.get("details")),
    )


def _quotas(details: Any) -> str:
    """The ids of the quotas that Google's `QuotaFailure` names."""
    found: list[str] = []
    for detail in details if isinstance(details, list) else ():
        violations = detail.get("violations") if isinstance(detail, dict) else None
        for violation in violations if isinstance(violations, list) else ():
            named = violation.get("quotaId") if isinstance(violation, dict) else None
            found += [named] if isinstance(named, str) else []
    return " ".join(found)[:_HEARD_LENGTH]


def _said_headers(metadata: Any, details: Any) -> dict[str, str]:
    headers = metadata.get("headers") if isinstance(metadata, dict) else None
    found = {name.lower(): str(value) for name, value in headers.items()} if isinstance(headers, dict) else {}
    for detail in details if isinstance(details, list) else ():
        delay = detail.get("retryDelay") if isinstance(detail, dict) else None  # "37s", Google's `RetryInfo`
        if isinstance(delay, str):
            found.setdefault("retry-after", delay.removesuffix("s"))
    return found


def _codes(*named: Any) -> frozenset[str]:
    return frozenset(name.lower() for name in named if isinstance(name, str))
