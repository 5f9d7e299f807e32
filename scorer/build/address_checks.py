"""Checks that an address which names an API is that of the API which the model is asked by."""

from __future__ import annotations

from scorer.config.spec import Model, Spec

_ASKED_BY = {
    "/chat/completions": ("the Chat Completions API", 'model.provider = "openai" without model.api'),
    "/responses": ("OpenAI's Responses API", 'model.provider = "openai" and model.api = "responses"'),
    "/messages": ("Anthropic's Messages API", 'model.provider = "anthropic"'),
    "/converse": ("Bedrock's Converse API", 'model.provider = "bedrock" and an address that ends before /model/'),
}
"""By the end of an address: which API has it, and the keys that ask it."""


def address_problems(spec: Spec) -> list[str]:
    """The addresses of another API than that of their model, each as a sentence that says what to set."""
    problems = []
    for model in spec.all_models:
        own = _ending(model)
        for endpoint in model.all_endpoints(spec.limits) if own is not None else ():
            url = (endpoint.base_url or "").rstrip("/")
            given = next((ending for ending in _ASKED_BY if url.endswith(ending)), None)
            if given is not None and (given != own or given == "/converse"):
                api, keys = _ASKED_BY[given]
                problems.append(
                    f'model.base_url = "{url}" is an address of {api}. To ask it, set {keys}; else leave '
                    f"{given} out of the address."
                )
    return problems


def _ending(model: Model) -> str | None:
    """The path that the model's provider appends; None where it is not one of these."""
    if model.provider == "openai":
        return {"chat": "/chat/completions", "responses": "/responses"}.get(model.api)
    return {"anthropic": "/messages", "bedrock": "/converse"}.get(model.provider)
