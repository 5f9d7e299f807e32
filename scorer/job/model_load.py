"""What a run asks of each of its models: requests and tokens; and the time that this takes at the model's limits."""

from __future__ import annotations

from scorer.build.endpoints import concurrency
from scorer.build.model_provider import make_provider
from scorer.client.providers import PROVIDERS
from scorer.client.providers.reasoning import room_for
from scorer.client.request_body import asked_output
from scorer.config.spec import Model, Rates, Spec
from scorer.frozen import dataclass
from scorer.types import Message, Request


@dataclass(slots=True)
class ModelLoad:
    """The requests to one model, and their tokens: of prompts, and of replies at least, as expected and at most.

    One choice of a reply has at most `reply_limit` tokens, and as many as `reasoning_tokens` of reasoning beside it. A
    request asks for `choices`, which `model.extra` may set. `schema_in_prompt`: the server counts the schema of a reply
    as a part of the prompt, as OpenAI, Anthropic and Bedrock do; servers that make a grammar of it do not.
    """

    model: Model
    reply_limit: int
    reasoning_tokens: int = 0
    choices: int = 1
    schema_in_prompt: bool = False
    requests: int = 0
    prompt_tokens: int = 0
    shortest: int = 0
    completion_tokens: int = 0
    longest: int = 0

    @property
    def most_a_request(self) -> int:
        """The output tokens that a provider reserves for one request."""
        return (self.reply_limit + self.reasoning_tokens) * self.choices

    def add(self, prompt: int, low: int, expected: int, most: int) -> None:
        """Adds one request with the tokens of its prompt and of one choice."""
        self.requests += 1
        self.prompt_tokens += prompt
        self.shortest += low * self.choices
        self.completion_tokens += expected * self.choices
        self.longest += most * self.choices


def loads(spec: Spec) -> dict[str, ModelLoad]:
    """The models of a run by alias, without requests so far. The first one is also the one of a request without alias.

    The limits of replies are read from a request body as the provider makes it, with `model.extra` in it. Raises
    SpecError where a provider of the user's own cannot be made.
    """
    return {model.alias: _load(model) for model in spec.all_models}


def _load(model: Model) -> ModelLoad:
    if model.provider == "recorded":
        return ModelLoad(model, model.max_output_tokens)
    reasoning = room_for(model.reasoning, model.name or "")
    plain = model.model_copy(update={"query": {}})  # its variables need not be set for a plan
    conversation = make_provider(plain, "http://127.0.0.1/v1", {}).converse(Request(messages=(Message("user", "?"),)))
    limit, choices = asked_output(next(conversation).body)
    conversation.close()
    most = 0 if model.classifies else model.max_output_tokens
    reply = most if limit is None else max(1, limit - reasoning)
    in_prompt = model.provider in PROVIDERS and model.dialect not in ("vllm", "llamacpp")
    return ModelLoad(model, reply, reasoning, choices, in_prompt)


def seconds_at_limits(
    load: ModelLoad, limits: Rates, prompt: float, output: float, requests: int, seconds_a_request: float
) -> tuple[float, str]:
    """Seconds at the slowest limit of a model's endpoints together, and its name, where limits charge `output`."""
    endpoints = [endpoint.limits for endpoint in load.model.all_endpoints(limits)]
    amounts = {
        "requests_per_minute": requests,
        "tokens_per_minute": prompt + output,
        "input_tokens_per_minute": prompt,
        "output_tokens_per_minute": output,
    }
    times = {}
    for name, amount in amounts.items():
        rates = [getattr(rate, name) for rate in endpoints]
        if rates and None not in rates:
            times[name] = amount / sum(rates) * 60
    places = sum(concurrency(rate, load.model.provider) for rate in endpoints) or concurrency(limits, "recorded")
    times["concurrency"] = max(requests / places, min(requests, 1)) * seconds_a_request  # one takes its time, too
    binding = max(times, key=lambda name: times[name])
    return times[binding], binding
