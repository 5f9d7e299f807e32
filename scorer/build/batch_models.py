"""Makes the models whose requests go in provider batches: their APIs, keys, prices and bounds."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

from scorer.batch.anthropic import AnthropicBatches
from scorer.batch.http import BatchHttp
from scorer.batch.mistral import MistralBatches
from scorer.batch.model import BatchModel
from scorer.batch.openai import OpenAIBatches, without_deployment
from scorer.batch.together import TogetherBatches
from scorer.batch.types import BatchApi, Bounds
from scorer.build.assemble import prompt_cache
from scorer.build.endpoints import base_of, on_this_machine
from scorer.build.keys import asked_key, key_header, key_of, resolved, secrets_of
from scorer.build.model_provider import make_provider, most_output, provider_of
from scorer.client.blanking import Secrets
from scorer.client.providers.anthropic import VERSION
from scorer.client.providers.settings import ProviderSettings
from scorer.client.reservation import Reservation
from scorer.client.settlement import Settlement
from scorer.config.model_prices import batch_price, online_times, window
from scorer.config.price_table import on_host
from scorer.config.spec import Model, Spec
from scorer.types import Offload

MakeApi = Callable[[Model, BatchHttp], BatchApi]
"""Makes the API of a model; a test passes its own."""


async def batch_models(
    spec: Spec, offload: Offload, stack: AsyncExitStack, make_api: MakeApi | None = None
) -> dict[str, BatchModel]:
    """The models of a spec that batches can serve, by alias. Their connections end with `stack`. Raises SetupError."""
    make = make_api or _api
    return {model.alias: await _made(model, offload, stack, make) for model in spec.all_models if can_batch(model)}


def _api(model: Model, http: BatchHttp) -> BatchApi:
    if model.provider == "anthropic":
        return AnthropicBatches(http)
    others = (("mistral", MistralBatches), ("together", TogetherBatches))
    kind = next((kind for name, kind in others if on_host(http.base_url, name)), OpenAIBatches)
    return kind(http)


def can_batch(model: Model) -> bool:
    """Whether the provider of a model has a batch API that is spoken here, at one address."""
    return model.provider in ("openai", "anthropic") and not model.classifies and len(_urls(model)) == 1


def _urls(model: Model) -> list[str]:
    default: str = getattr(provider_of(model), "default_base_url", "")
    return [base_of(one.base_url or default) for one in model.all_endpoints(Spec.model_fields["limits"].default)]


def _gives_choices(model: Model, url: str) -> bool:
    """Whether a server is known to give several choices, or is one's own. Of others some may refuse a whole batch."""
    if model.provider != "openai" or model.api != "chat":
        return False
    return model.dialect == "vllm" or on_this_machine(url) or any(on_host(url, name) for name in ("openai", "azure"))


async def _made(model: Model, offload: Offload, stack: AsyncExitStack, make_api: MakeApi) -> BatchModel:
    (url,) = _urls(model)
    command = await asked_key(model, Secrets(secrets_of(model)))
    variable = model.endpoints[0].api_key_env if model.endpoints else None
    key = command.key if command is not None else key_of(variable or model.api_key_env, url)
    headers = {**key_header(model.provider, url, key), **resolved(model.headers, "model.headers")}
    account = without_deployment(url)
    settings = ProviderSettings(model.name or "", account, headers=headers, query=resolved(model.query, "model.query"))
    own = {"anthropic-version": VERSION} if model.provider == "anthropic" else {}
    http = await stack.enter_async_context(BatchHttp(settings, own, offload=offload, proxies=not on_this_machine(url)))
    api = make_api(model, http)
    price, options = batch_price(model), model.batch
    online: Any = model.model_copy(update={"tier": "standard"})  # a batch has no service tier
    return BatchModel(
        model.alias,
        api,
        make_provider(online, url, headers),
        make_provider(online, url, headers),
        make_provider(online, url, headers),
        Reservation(price, most_output(model)),
        Settlement(price, window(model)),
        model.retries,
        Bounds(min(options.max_requests, api.bounds.requests), min(options.max_bytes, api.bounds.bytes)),
        options.enqueued_tokens or None,
        options.poll_s,
        options.grace_s,
        options.min_requests,
        prompt_cache(model, lambda: 0.0, lasting=model.provider == "anthropic"),  # all of a batch are sent at once
        set() if _gives_choices(model, url) else {model.alias},
        online_times=online_times(model),
    )
