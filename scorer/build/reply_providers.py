"""The providers that parse whole stored replies (`output.keep_raw = "full"`). They send nothing."""

from __future__ import annotations

from scorer.build.model_provider import make_provider
from scorer.config.spec import Spec
from scorer.types import Provider


class ReplyProviders:
    """The provider of each model of a spec, by its alias; the first model's for an alias that it does not have."""

    def __init__(self, spec: Spec) -> None:
        self._models = spec.all_models
        self._made: dict[str, Provider] = {}

    def __call__(self, alias: str) -> Provider:
        if alias not in self._made:
            model = next((m for m in self._models if m.alias == alias), self._models[0])
            # Nothing is sent, so neither the address nor secrets in the query are needed. Whole replies of `recorded`
            # are of OpenAI's dialect.
            dialect = "openai" if model.provider == "recorded" else model.provider
            unsent = model.model_copy(update={"query": {}, "provider": dialect})
            self._made[alias] = make_provider(unsent, "http://stored.invalid", {})
        return self._made[alias]
