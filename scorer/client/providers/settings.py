"""The settings of a built-in provider as one value: model, address, headers, sampling, output limit, reasoning."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field
from typing import Any, Required, TypedDict
from urllib.parse import urlencode

from scorer.client.providers.errors import Place
from scorer.client.providers.logprobs import Dialect
from scorer.client.providers.reasoning import Reasoning, room_for
from scorer.client.providers.tiers import Tier
from scorer.frozen import dataclass
from scorer.patterns import pattern
from scorer.types import Request

_SECRET_NAME = pattern(r"key|token|secret|sig", re.IGNORECASE)


class ProviderOptions(TypedDict, total=False):
    """What a provider is made with, by the names of the run file."""

    name: Required[str]
    base_url: str
    headers: Mapping[str, str] | None
    query: Mapping[str, str] | None
    extra: dict[str, Any] | None
    temperature: float | None
    max_output_tokens: int
    dialect: Dialect
    reasoning: Reasoning
    tier: Tier


@dataclass(frozen=True, slots=True)
class ProviderSettings:
    """`headers` already hold the key and, like `query`, are never shown. `extra` is merged into the body last.

    `temperature` None leaves it to the server, as `reasoning` None does. `max_output_tokens` is the room for the text
    of the reply; what the model may reason comes on top.
    """

    name: str
    base_url: str = ""
    headers: Mapping[str, str] | None = field(default=None, repr=False)
    query: Mapping[str, str] | None = field(default=None, repr=False)
    extra: dict[str, Any] | None = None
    temperature: float | None = None
    max_output_tokens: int = 64
    dialect: Dialect = "auto"
    reasoning: Reasoning = None
    tier: Tier = "standard"
    room: int = 0
    """The output tokens that are set aside for reasoning, beside `max_output_tokens`."""

    @classmethod
    def of(cls, options: ProviderOptions, base_url: str) -> ProviderSettings:
        """The settings out of the options of a provider whose own address is `base_url`."""
        given: dict[str, Any] = {**options}
        room = room_for(options.get("reasoning"), options["name"])
        return cls(**{"base_url": base_url, **given, "room": room})

    def sent(self, request: Request, *, reasons: bool = False) -> tuple[bool, bool, bool, bool]:
        """Whether a request has a temperature, a reasoning, a schema, and a prefix to cache.

        One that `reasons` has no temperature.
        """
        tempered = self.temperature is not None or request.temperature is not None
        return tempered and not reasons, self.reasoning is not None, request.schema is not None, bool(request.prefixes)

    @property
    def url_query(self) -> str:
        """The query with its question mark, "" where there is none."""
        return f"?{urlencode(self.query)}" if self.query else ""

    @property
    def place(self) -> Place:
        """Where requests go, with the secrets that no message may repeat."""
        named = [value for name, value in (self.query or {}).items() if _SECRET_NAME.search(name)]
        values = [*(self.headers or {}).values(), *named]
        words = {word for value in values for word in (value, value.rpartition(" ")[2])}  # with and without "Bearer"
        secrets = sorted((word for word in words if len(word) >= 8), key=len, reverse=True)
        return Place(self.base_url.rstrip("/"), secrets=tuple(secrets))
