"""`model.tier` in each dialect's words, and the tier that a reply names in ours: standard, flex, priority.

Sources: OpenAI, "Flex processing" and "Priority processing"; Azure OpenAI, "Priority processing"; Groq, "Service tiers"
and "Flex processing"; Google, "Flex inference" (Gemini API) and "Flex PayGo" (Vertex AI); Anthropic, "Service tiers";
Amazon Bedrock, "Service tiers".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from scorer.client.providers.complaints import Complaint
from scorer.patterns import pattern

Tier = Literal["standard", "flex", "priority"]

_OURS = {
    "default": "standard",
    "standard": "standard",
    "on_demand": "standard",
    "flex": "flex",
    "on_demand_flex": "flex",
    "priority": "priority",
    "performance": "priority",
    "on_demand_priority": "priority",
}
_WORD_LENGTH = 32
_NAMED = pattern(r"service[_ ]?tier|\b(?:flex|priority) (?:api|tier|processing|inference)\b", re.IGNORECASE)
_REFUSED = pattern(
    r"not supported|unsupported|unrecognized|unknown|unexpected|not (?:permitted|allowed|available|valid)|invalid|"
    r"extra (?:inputs?|fields?)|must be|should be|does not support|not (?:enabled|eligible)|no access",
    re.IGNORECASE,
)


def our_word(word: Any) -> str | None:
    """A server's name of a tier as ours; its own where we have none. None for no name, and for "auto"."""
    if not isinstance(word, str) or not word:
        return None
    word = word.lower()
    return None if word == "auto" else _OURS.get(word, word[:_WORD_LENGTH])


def named_tier(value: Any) -> str | None:
    """The tier that the JSON value of a reply names: `service_tier`, or Vertex AI's type of traffic."""
    if not isinstance(value, Mapping):
        return None
    if (found := our_word(value.get("service_tier"))) is not None:
        return found
    inner: Any = value.get("usage")
    for name in ("extra_properties", "google"):
        inner = inner.get(name) if isinstance(inner, Mapping) else None
    return our_word(inner.get("traffic_type")) if isinstance(inner, Mapping) else None


def tier_refused(said: Complaint) -> bool:
    """Whether a refused request's complaint is of the service tier."""
    return bool(_NAMED.search(said.param or said.message)) and bool(_REFUSED.search(said.message))


def _host(base_url: str) -> str:
    return base_url.partition("://")[2].partition("/")[0].partition(":")[0].lower()


class OpenAITiers:
    """A tier as servers with OpenAI's API take it, by host: `fields` of the body and `headers` of the request.

    Each has two keys: "" for the tier of the model, "standard" for a request that leaves it. Both are empty where the
    model's tier is the standard one.
    """

    __slots__ = ("fields", "headers", "sheds")

    def __init__(self, tier: Tier, base_url: str) -> None:
        host = _host(base_url)
        google = host.endswith("googleapis.com")
        self.sheds = google and tier == "flex"
        """503 means that the tier has no capacity."""
        self.fields: dict[str, Mapping[str, str]] = {"": {}, "standard": {}}
        self.headers: dict[str, Mapping[str, str]] = {"": {}, "standard": {}}
        if tier == "standard":
            return
        if host.endswith("aiplatform.googleapis.com"):
            self.headers[""] = {"x-vertex-ai-llm-shared-request-type": tier}
            return
        groq = host == "api.groq.com"
        standard = "on_demand" if groq else "standard" if google else "default"
        word = "performance" if groq and tier == "priority" else tier
        self.fields = {"": {"service_tier": word}, "standard": {"service_tier": standard}}
