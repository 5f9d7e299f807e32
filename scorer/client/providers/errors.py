"""A reply that is no answer -> the typed error that says who is at fault: the row, the moment or the set-up.

Knows the error bodies of OpenAI, Azure, vLLM, SGLang, TGI, Ollama, llama.cpp and OpenRouter. Statuses and error codes
decide first; words of a message only where a dialect has nothing better.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from scorer.client.providers.headers import renews_s, retry_after_s
from scorer.errors import (
    Refused,
    Rejected,
    RowError,
    ServerFault,
    SetupError,
    Throttled,
    TooLong,
    TransientError,
    whole,
)
from scorer.escapes import printable_line
from scorer.types import Reply

MESSAGE_LENGTH = 500
_HEARD_LENGTH = 10_000  # of a message; keeps the searches below cheap whatever the server sends

_QUOTA = frozenset(
    {
        "insufficient_quota",
        "billing_hard_limit_reached",
        "billing_not_active",
        "insufficient_funds",
        "account_deactivated",
    }
)
_KEY = frozenset({"invalid_api_key", "invalid_authentication", "authentication_error", "permission_error"})
_NO_MODEL = frozenset(
    {"model_not_found", "invalid_model", "deploymentnotfound", "unknown_model", "model_not_available"}
)
_TOO_LONG = frozenset(
    {"context_length_exceeded", "exceed_context_size_error", "string_above_max_length", "request_too_large"}
)
_FILTERED = frozenset(
    {
        "content_filter",
        "content_policy_violation",
        "responsibleaipolicyviolation",
        "contentfilter",
        "data_inspection_failed",
    }
)
_GATEWAYS = frozenset({502, 504, *range(520, 528), 598, 599})
"""Bad gateway, gateway timeout, Cloudflare's words for both, and those of other proxies for a timeout."""
_UNSUPPORTED = frozenset({"unsupported_parameter", "unsupported_value"})

# A quota for a day or longer: OpenAI's and Groq's RPD and TPD, Gemini's quotaId, OpenRouter's free-models-per-day,
# GitHub's UserByModelByDay, Bedrock's "too many tokens per day", Anthropic's "daily rate limit", Cerebras, Cohere.
_LONG_QUOTA = re.compile(
    r"(?:per|by|[a-z0-9]/|/ )[ _-]?(?:day|month|week|24 ?h|86400 ?s)|\b(?:daily|monthly|weekly)\b|\b[RT]PD\b",
    re.IGNORECASE,
)
_SHORT_QUOTA = re.compile(r"per[ _-]?(?:min|sec)|/ ?(?:min(?:ute)?|sec(?:ond)?)\b|\b[RT]PM\b|\b[RT]PS\b", re.IGNORECASE)
_ITS_QUOTA = re.compile(r"exceeded your (?:current|monthly|daily) quota", re.IGNORECASE)
LONGEST_QUOTA_S = 48 * 3600.0
"""A quota that renews later than this is not waited for."""
# Not "quota" or "billing" alone: plain rate limits of OpenAI and Gemini mention both.
_QUOTA_WORDS = re.compile(r"credit balance|insufficient (?:credits?|balance|quota|funds)", re.IGNORECASE)
_LARGER_THAN_A_MINUTE = re.compile(r"^request too large\b", re.IGNORECASE)
_NO_MODEL_WORDS = re.compile(
    r"\bmodel\b.{0,200}?(?:does not exist|not found|not exist|is not available|is not a valid model)"
    r"|not a valid model|unknown model|invalid model|no such model|model not found",
    re.IGNORECASE | re.DOTALL,
)
_TOO_LONG_WORDS = re.compile(
    r"context (?:length|window|size)|maximum (?:model|input|allowed|prompt) length|max_model_len"
    r"|`?inputs`? tokens \+ `?max_new_tokens`? must be|`?inputs`? must have less than"
    r"|(?:prompt|input|request|message)s? (?:is|are) too (?:long|large)|too many (?:input )?tokens|reduce the length",
    re.IGNORECASE,
)
_FILTERED_WORDS = re.compile(r"content management policy|content.filter|was flagged|is flagged", re.IGNORECASE)


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


@dataclass(frozen=True, slots=True)
class Place:
    """Where a request went, for messages: `base_url`, and the secrets that no message may repeat."""

    base_url: str
    secrets: tuple[str, ...] = field(default=(), repr=False)

    def quote(self, message: str) -> str:
        """The server's words, at most MESSAGE_LENGTH of them, without the secrets."""
        for secret in self.secrets:
            message = message.replace(secret, "***")
        message = printable_line(message)
        return message if len(message) <= MESSAGE_LENGTH else message[: MESSAGE_LENGTH - 1] + "…"


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


def fault(reply: Reply, place: Place, url: str) -> TransientError | RowError | SetupError:
    """The typed error of a reply that holds no completion."""
    value = parse(reply.body)
    said = complaint(value)
    if said is None:
        # A page of HTML helps nobody; a short plain text may.
        text = reply.body[:MESSAGE_LENGTH].decode("utf-8", "replace").strip()
        said = Complaint(message="" if text.startswith("<") or value is not None else text)
    status = reply.status
    if 200 <= status < 300 and said.status is not None:
        status = said.status
    words = place.quote(said.message) or "no message"
    heard = f"{url} answered {status}: {words.rstrip('. ')}"

    if status == 407:
        return SetupError(
            f"{heard}. It was a proxy that answered: check HTTPS_PROXY, HTTP_PROXY and ALL_PROXY (name and password "
            "included), or except this host by NO_PROXY."
        )
    if said.codes & _QUOTA or status == 402 or (status in (400, 403, 429) and _QUOTA_WORDS.search(said.message)):
        return SetupError(
            f"{heard}. The account's quota or credit is used up; top it up and run the same command again."
        )
    if status == 429:
        if _LARGER_THAN_A_MINUTE.search(said.message):  # OpenAI: one request beyond a whole minute's tokens
            return TooLong(words)
        return _throttled(reply, said, heard)
    if status == 498:  # Groq: no capacity left for this tier at the moment
        return Throttled(heard, retry_after_s=retry_after_s(reply.headers, said.message))
    if said.codes & _FILTERED or (status in (400, 403) and _FILTERED_WORDS.search(said.message)):
        return Refused(words)
    if status in (401, 403) or said.codes & _KEY:
        return SetupError(f"{heard}. {place.base_url} does not accept the key: check the key in api_key_env.")
    if said.codes & _TOO_LONG or status == 413 or (status in (400, 422) and _TOO_LONG_WORDS.search(said.message)):
        return TooLong(words)
    if status in (404, 405, 410):
        return SetupError(f"{heard}. Check model.base_url ({place.base_url}) and model.name.")
    if said.codes & _NO_MODEL or (status in (400, 422) and _NO_MODEL_WORDS.search(said.message)):
        return SetupError(f"{heard}. Check model.name.")
    if 300 <= status < 400:
        target = place.quote(reply.headers.get("location", "nowhere"))
        return SetupError(f"{url} redirects ({status}) to {target}; write the final address in model.base_url.")
    if status in (400, 422) and said.codes & _UNSUPPORTED:
        return SetupError(f"{heard}. Change or remove {said.param or 'that setting'} in [model].")
    if status in (408, 409, 425) or status >= 500:
        # 408 may come after the model has begun, what a gateway says of its upstream also after it was done; any other
        # 5xx is not charged.
        late = status in _GATEWAYS
        wish = retry_after_s(reply.headers, said.message)
        return ServerFault(heard, billed=status == 408 or late, if_late=late, retry_after_s=wish)
    if 400 <= status < 500:
        return Rejected(words)
    return ServerFault(f"{url} answered {status} without a completion: {words}", billed=True, garbled=True)


def _throttled(reply: Reply, said: Complaint, heard: str) -> Throttled | SetupError:
    """A 429: the minute's limit, or a day's quota, which ends the run where the reply does not say when it renews."""
    words = f"{said.message} {' '.join(said.codes)}"
    long = bool(_LONG_QUOTA.search(said.quotas))
    if not (long or said.quotas):
        long = bool(_LONG_QUOTA.search(words) or _ITS_QUOTA.search(words)) and not _SHORT_QUOTA.search(words)
    if not long:
        wait = retry_after_s(reply.headers, said.message)
        return Throttled(heard, retry_after_s=wait if wait is not None else retry_after_s(said.headers))
    wait = renews_s(reply.headers, said.headers, said.message)
    if wait is None or wait > LONGEST_QUOTA_S:
        return SetupError(
            f"{heard}. This quota is used up, and "
            + ("the reply does not say when it renews" if wait is None else f"renews in {wait / 3600:.0f} h")
            + ". Raise it, or run the same command again once it has renewed; what is finished is kept."
        )
    return Throttled(heard, retry_after_s=wait, quota=True)


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
