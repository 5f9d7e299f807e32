"""Converts the reply of a failed request to a typed error: of the row, of the moment (retried) or of the set-up.

Knows the error bodies of OpenAI, Azure, vLLM, SGLang, TGI, Ollama, llama.cpp and OpenRouter. Statuses and error codes
decide first; words of a message only where a dialect has nothing better.
"""

from __future__ import annotations

import re
from dataclasses import field

from scorer.client.providers.complaints import Complaint, complaint, parse
from scorer.client.providers.headers import renews_s, retry_after_s
from scorer.client.providers.tiers import tier_refused
from scorer.errors import (
    NoCapacity,
    Refused,
    Rejected,
    RowError,
    ServerFault,
    SetupError,
    Throttled,
    TooLong,
    TransientError,
)
from scorer.escapes import printable_line
from scorer.frozen import dataclass
from scorer.patterns import pattern
from scorer.types import Reply

MESSAGE_LENGTH = 500

_QUOTA = frozenset(
    {
        "insufficient_quota",
        "billing_hard_limit_reached",
        "billing_not_active",
        "insufficient_funds",
        "account_deactivated",
    }
)
_KEY = frozenset({"invalid_api_key", "invalid_authentication", "authentication_error"})
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
# A service tier that is full: OpenAI's and Azure's flex (429), Groq's (498).
_NO_CAPACITY = frozenset({"resource_unavailable", "capacity_exceeded"})
_NO_CAPACITY_WORDS = pattern(r"\bresource unavailable\b|flex \w* ?capacity", re.IGNORECASE)
_UNSUPPORTED = frozenset({"unsupported_parameter", "unsupported_value"})

# A quota for a day or longer: OpenAI's and Groq's RPD and TPD, Gemini's quotaId, OpenRouter's free-models-per-day,
# GitHub's UserByModelByDay, Bedrock's "too many tokens per day", Anthropic's "daily rate limit", Cerebras, Cohere.
_LONG_QUOTA = pattern(
    r"(?:per|by|[a-z0-9]/|/ )[ _-]?(?:day|month|week|24 ?h|86400 ?s)|\b(?:daily|monthly|weekly)\b|\b[RT]PD\b",
    re.IGNORECASE,
)
_SHORT_QUOTA = pattern(r"per[ _-]?(?:min|sec)|/ ?(?:min(?:ute)?|sec(?:ond)?)\b|\b[RT]PM\b|\b[RT]PS\b", re.IGNORECASE)
_ITS_QUOTA = pattern(r"exceeded your (?:current|monthly|daily) quota", re.IGNORECASE)
LONGEST_QUOTA_S = 48 * 3600.0
"""A quota that renews later than this is not waited for."""
# Not "quota" or "billing" alone: plain rate limits of OpenAI and Gemini mention both.
_QUOTA_WORDS = pattern(r"credit balance|insufficient (?:credits?|balance|quota|funds)", re.IGNORECASE)
_LARGER_THAN_A_MINUTE = pattern(r"^request too large\b", re.IGNORECASE)
_NO_MODEL_WORDS = pattern(
    r"\bmodel\b.{0,200}?(?:does not exist|not found|not exist|is not available|is not a valid model)"
    r"|not a valid model|unknown model|invalid model|no such model|model not found",
    re.IGNORECASE | re.DOTALL,
)
_TOO_LONG_WORDS = pattern(
    r"context (?:length|window|size)|maximum (?:model|input|allowed|prompt) length|max_model_len"
    r"|`?inputs`? tokens \+ `?max_new_tokens`? must be|`?inputs`? must have less than"
    r"|(?:prompt|input|request|message)s? (?:is|are) too (?:long|large)|too many (?:input )?tokens|reduce the length",
    re.IGNORECASE,
)
_FILTERED_WORDS = pattern(r"content management policy|content.filter|was flagged|is flagged", re.IGNORECASE)


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


def fault(reply: Reply, place: Place, url: str) -> TransientError | RowError | SetupError:
    """The typed error of a reply that holds no completion: what its words tell, else what its status does."""
    value = parse(reply.body)
    said = complaint(value)
    if said is None:
        # A page of HTML does not help; a short plain text may.
        text = reply.body[:MESSAGE_LENGTH].decode("utf-8", "replace").strip()
        said = Complaint(message="" if text.startswith("<") or value is not None else text)
    status = reply.status
    if 200 <= status < 300 and said.status is not None:
        status = said.status
    words = place.quote(said.message) or "no message"
    refusal = _Refusal(reply, said, status, words, f"{url} answered {status}: {words.rstrip('. ')}", url, place)
    return _account_fault(refusal) or _request_fault(refusal) or _status_fault(refusal)


def no_logprobs(provider: str) -> SetupError:
    """The error of a request for log-probabilities at a provider that gives none."""
    return SetupError(
        f'{provider} gives no log-probabilities. Ask a provider that does, or judge by kind = "rating" with read = '
        '"number", "label" or "json".'
    )


@dataclass(frozen=True, slots=True)
class _Refusal:
    """A reply that holds no completion: what it complains of, its status, and its `words` as messages may show them."""

    reply: Reply
    said: Complaint
    status: int
    words: str
    heard: str
    url: str
    place: Place

    def says(self, codes: frozenset[str], statuses: tuple[int, ...], words: re.Pattern[str]) -> bool:
        """Whether it has one of the codes, or under one of the statuses such words."""
        return bool(self.said.codes & codes) or (self.status in statuses and bool(words.search(self.said.message)))


def _account_fault(refusal: _Refusal) -> TransientError | RowError | SetupError | None:
    """A proxy, the account or its limits."""
    status, said = refusal.status, refusal.said
    if status == 407:
        return SetupError(
            f"{refusal.heard}. It was a proxy that answered: check HTTPS_PROXY, HTTP_PROXY and ALL_PROXY (name and "
            "password included), or except this host by NO_PROXY."
        )
    if status == 402 or refusal.says(_QUOTA, (400, 403, 429), _QUOTA_WORDS):
        return SetupError(
            f"{refusal.heard}. The account's quota or credit is used up; top it up and run the same command again."
        )
    if status == 498 or (status == 429 and refusal.says(_NO_CAPACITY, (429,), _NO_CAPACITY_WORDS)):
        return NoCapacity(refusal.heard, retry_after_s=retry_after_s(refusal.reply.headers, said.message))
    if status == 429:
        if _LARGER_THAN_A_MINUTE.search(said.message):  # OpenAI: one request beyond a whole minute's tokens
            return TooLong(refusal.words)
        return _throttled(refusal.reply, said, refusal.heard)
    return None


def _request_fault(refusal: _Refusal) -> RowError | SetupError | None:
    """What the words say of the request: its text, the key, the address, the model or a setting."""
    status, said, heard = refusal.status, refusal.said, refusal.heard
    if status in (400, 403, 404, 422) and tier_refused(said):
        return SetupError(f"{heard}. Change model.tier, or leave it out.")
    if refusal.says(_FILTERED, (400, 403), _FILTERED_WORDS):
        return Refused(refusal.words)
    if status == 401 or said.codes & _KEY:
        return SetupError(
            f"{heard}. {refusal.place.base_url} does not accept the key: check the key of api_key_env or "
            "api_key_command."
        )
    if status == 403:
        return SetupError(
            f"{heard}. {refusal.place.base_url} does not allow this: check the key of api_key_env or api_key_command, "
            "and whether its account may use model.name from this place."
        )
    if status == 413 or refusal.says(_TOO_LONG, (400, 422), _TOO_LONG_WORDS):
        return TooLong(refusal.words)
    if status in (404, 405, 410):
        return SetupError(f"{heard}. Check model.base_url ({refusal.place.base_url}) and model.name.")
    if refusal.says(_NO_MODEL, (400, 422), _NO_MODEL_WORDS):
        return SetupError(f"{heard}. Check model.name.")
    if status in (400, 422) and said.codes & _UNSUPPORTED:
        return SetupError(f"{heard}. Change or remove {said.param or 'that setting'} in [model].")
    return None


def _status_fault(refusal: _Refusal) -> TransientError | RowError | SetupError:
    """The error by the status alone, where nothing else says more."""
    status, reply = refusal.status, refusal.reply
    if 300 <= status < 400:
        if "location" not in reply.headers:
            return SetupError(f"{refusal.heard}. Check model.base_url ({refusal.place.base_url}).")
        target = refusal.place.quote(reply.headers["location"])
        return SetupError(f"{refusal.url} redirects ({status}) to {target}; write the final address in model.base_url.")
    if status in (408, 409, 425) or status >= 500:
        # 408 may come after the model has begun, what a gateway says of its upstream also after it was done; any other
        # 5xx is not charged.
        late = status in _GATEWAYS
        wish = retry_after_s(reply.headers, refusal.said.message)
        return ServerFault(refusal.heard, billed=status == 408 or late, if_late=late, retry_after_s=wish)
    if 400 <= status < 500:
        return Rejected(refusal.words)
    return ServerFault(
        f"{refusal.url} answered {status} without a completion: {refusal.words}", billed=True, garbled=True
    )


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
