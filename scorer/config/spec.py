"""Frozen models of the run file: its sections, their keys, types and defaults.

build/plan.py checks the options of each kind of judge; loader.py reads the file; fingerprint.py says which keys are
fixed on resume. Annotations are no strings here: pydantic evaluates them, and compiling 110 strings takes 3 ms of each
start. Over 300 lines: one list of all keys.
"""

import os
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from scorer.config.addresses import names_fleet
from scorer.config.moments import is_moment
from scorer.config.stop_question import is_question
from scorer.frozen import dataclass

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Text = Annotated[str, Field(min_length=1)]
Path = Annotated[Text, Field(pattern=r"^[^\x00]*$"), AfterValidator(os.path.expanduser)]
"""A path in which a leading ~ is the home folder, as in a shell."""


def _moment(text: str) -> str:
    """The text of a moment; ValueError where it is none. A moment that has passed is one: a run resumes after it."""
    if not is_moment(text):
        raise ValueError('is no time: give "07:00" (the next one) or ISO 8601, "2026-12-01T07:00"')
    return text


def _no_switch(given: Any) -> Any:
    """The value; ValueError for true and false, which pydantic would take for 1 and 0."""
    if isinstance(given, bool):
        raise ValueError('is no switch; give "none", "minimal", "low", "medium", "high" or a number of tokens')
    return given


def _listed(given: Any) -> Any:
    """A single text as a list of one."""
    return [given] if isinstance(given, str) else given


Value = str | int | float | bool
FLEX_TIMEOUT_S = 900.0
"""`model.timeout_s` at the tier "flex". Source: OpenAI, "Flex processing"."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, hide_input_in_errors=True)


class Input(_Section):
    """`[input]`: which shards, which of their rows (`where`), and which of their columns go into the output."""

    shards: tuple[Path, ...] = Field(min_length=1)
    id: Text | None = None
    keep: tuple[Text, ...] = ()
    where: Text | None = None


class JudgeOptions(BaseModel):
    """`[judge]`: the kind, and the options of that kind, which the judge's class checks."""

    model_config = ConfigDict(frozen=True, extra="allow", hide_input_in_errors=True)
    kind: Text = "rating"
    prompt_file: Path | None = None
    dedupe: bool = False

    @property
    def options(self) -> dict[str, Any]:
        """The options of this kind of judge, as given."""
        return dict(self.model_extra or {})


class TierPrice(_Section):
    """`price`, and a price in it for a service tier: USD per million tokens.

    Without `cached_input`, cached tokens cost the same as others. Without `cache_write`, tokens written to a cache cost
    the same as others; at Anthropic 1.25 times that.
    """

    input: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    output: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    cached_input: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    cache_write: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None


class Price(TierPrice):
    """`price`: that of the standard tier, those of others, and that of batches.

    What has no price of its own costs a share of the standard one.
    """

    flex: TierPrice | None = None
    priority: TierPrice | None = None
    batch: TierPrice | None = None


class TierFallback(_Section):
    """`tier_fallback`: after how many seconds without an answer a request leaves the tier, and how many may."""

    to: Literal["standard"] = "standard"
    after_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 900.0
    share: Annotated[float, Field(gt=0, le=1)] = 1.0


class BatchOptions(_Section):
    """`batch`: how requests are cut into provider batches, and how often the batches are asked after.

    `enqueued_tokens` are the most prompt tokens in all batches that are out, 0 for no limit.
    """

    max_requests: Count = 20_000
    max_bytes: Annotated[int, Field(ge=1000)] = 100_000_000
    enqueued_tokens: Annotated[int, Field(ge=0)] = 0
    poll_s: Positive = 60.0
    grace_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 600.0
    min_requests: Count = 100


class Rates(_Section):
    """Limits of one endpoint; None is no limit."""

    requests_per_minute: Positive | None = None
    tokens_per_minute: Positive | None = None
    input_tokens_per_minute: Positive | None = None
    output_tokens_per_minute: Positive | None = None
    concurrency: Count | Literal["auto"] | None = None


class EndpointSpec(_Section):
    """One of `endpoints`: an address with limits of its own."""

    base_url: Text
    api_key_env: Text | None = None
    limits: Rates = Rates()


@dataclass(frozen=True, slots=True)
class ModelEndpoint:
    """One endpoint of a model: its address (None: the provider's own), the variable of its key, and its rate limits."""

    base_url: str | None
    api_key_env: str | None
    limits: Rates


class Model(_Section):
    """`[model]`, or one of `[[models]]`: a judge model, its address and its parameters."""

    alias: str = ""
    provider: Text = "openai"
    dialect: Literal["auto", "openai", "vllm", "llamacpp"] = "auto"
    api: Literal["chat", "responses", "classify", "score", "pooling", "predict"] = "chat"
    name: str | None = None
    path: Text | None = None  # as it is written, for the fingerprint covers it; `place` is where it leads
    base_url: Text | None = None
    base_urls: Annotated[tuple[Text, ...], BeforeValidator(_listed), Field(min_length=1)] = ()
    api_key_env: Text | None = None
    api_key_command: Annotated[tuple[Text, ...], Field(min_length=1)] = ()
    headers: dict[str, str] = {}
    query: dict[str, str] = {}
    extra: dict[str, Any] = {}
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    max_output_tokens: Count = 64
    reasoning: Annotated[
        Literal["none", "minimal", "low", "medium", "high"] | Count | None, BeforeValidator(_no_switch)
    ] = None
    tier: Literal["standard", "flex", "priority"] = "standard"
    tier_fallback: TierFallback | None = None
    cache: Literal["none", "auto"] = "none"
    mode: Literal["online", "batch"] = "online"
    batch: BatchOptions = BatchOptions()
    timeout_s: Positive = 120.0
    retries: Count = 6
    endpoints: Annotated[tuple[EndpointSpec, ...], Field(min_length=1)] = ()
    price: Price | None = None
    price_file: Path | None = None
    keys: tuple[Text, ...] = ()
    replies: Text | None = None
    where: dict[str, Value] = {}

    @model_validator(mode="before")
    @classmethod
    def _flex_takes_minutes(cls, given: Any) -> Any:
        """The default of `timeout_s` at the tier "flex"."""
        if isinstance(given, Mapping) and given.get("tier") == "flex":
            return {"timeout_s": FLEX_TIMEOUT_S, **given}
        return given

    @property
    def fleet(self) -> str | None:
        """The source of the replicas' addresses, which may change while a run goes on; None where they are fixed."""
        return next((url for url in self.base_urls if names_fleet(url)), None)

    @property
    def section(self) -> str:
        """The name of its table in messages: model, or models.ALIAS."""
        return f"models.{self.alias}" if self.alias else "model"

    @property
    def classifies(self) -> bool:
        """Whether its API is one of classifiers, which write no text."""
        return self.api not in ("chat", "responses")

    @property
    def place(self) -> str | None:
        """`path` with a leading ~ as the home folder."""
        return None if self.path is None else os.path.expanduser(self.path)

    def all_endpoints(self, limits: Rates) -> list[ModelEndpoint]:
        """The endpoints of this model in the order of the run file: `endpoints`, or one with `limits` of `[limits]`.

        Each of `base_urls` is one with these limits; a fleet is one, with its source as its address and the limits of
        each replica. None for stored replies; one for an embedded judge.
        """
        if self.provider == "recorded":
            return []
        if self.base_urls:
            return [ModelEndpoint(url, self.api_key_env, limits) for url in self.base_urls]
        if self.provider == "embedded" or not self.endpoints:
            return [ModelEndpoint(self.base_url, self.api_key_env, limits)]
        return [ModelEndpoint(e.base_url, e.api_key_env or self.api_key_env, e.limits) for e in self.endpoints]


class Limits(Rates):
    """`[limits]`: the rate limits of the endpoint and the caps of the whole run; None is no cap."""

    burst_s: Positive = 0.3
    max_tokens: Count | None = None
    max_usd: Positive | None = None
    max_failed_share: Annotated[float, Field(ge=0, le=1)] = 0.05
    hedge: bool = False
    first_answer_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 900.0
    deadline: Annotated[Text, AfterValidator(_moment)] | None = None


class Stop(_Section):
    """`[stop]`: the question whose answer ends the run, about systems (`by`) over items (`item`) in tasks (`task`)."""

    question: Annotated[str, AfterValidator(is_question)]
    by: Text | None = None
    item: Text | None = None
    task: Text | None = None
    weights: dict[str, Positive] = {}
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = 0.95
    margin: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    width: Positive | None = None
    population: Literal["future", "these"] = "future"
    unread: Literal["bounds"] | Annotated[float, Field(allow_inf_nan=False)] = "bounds"
    missing: Literal["unread"] | None = None
    bounds: tuple[float, float] | None = None
    method: Literal["asymptotic"] | None = None
    seed: Annotated[int, Field(ge=0)] = 0


class Metrics(_Section):
    """`[metrics]`: automatic metrics beside the judge's score, and the columns that they compare."""

    names: tuple[Text, ...] = ()
    response: Text = "response"
    reference: Text = "reference"
    options: dict[str, dict[str, Any]] = {}


class Canary(_Section):
    """`[canary]`: known rows that are mixed into the run, and how far the judge may be from them.

    `human` or `score` names the column of their known values. `share` is the number of canaries for each row, `band`
    the largest mean loss (None: learned from the first canaries), `shift` the largest mean of the signed error, up or
    down (None: not watched), `range` the distance of scores that is a loss of 1
    (None: the width of the judge's scale).
    """

    shards: tuple[Path, ...] = Field(min_length=1)
    human: Text | None = None
    score: Text | None = None
    share: Annotated[float, Field(gt=0, lt=1)] = 0.01
    band: Annotated[float, Field(gt=0, lt=1)] | None = None
    shift: Annotated[float, Field(gt=0, lt=0.25)] | None = None
    range: Positive | None = None


class Output(_Section):
    """`[output]`: where results go, how often they are written, and where they are published."""

    path: Path
    flush_rows: Count = 1000
    flush_s: Positive = 1.0
    keep_raw: bool | Literal["full"] = True
    publish: Text | None = None
    partition_by: tuple[Text, ...] = ()


class Spec(_Section):
    """One run: `Spec(input={...}, judge={...}, ...)`, with the tables and keys of docs/reference/run-file.md.

    None: the key is not given. A wrong key or value raises pydantic.ValidationError, which names all of them.
    """

    input: Input
    judge: JudgeOptions = JudgeOptions()
    model: Model | None = None
    models: tuple[Model, ...] = ()
    limits: Limits = Limits()
    stop: Stop | None = None
    metrics: Metrics = Metrics()
    canary: Canary | None = None
    output: Output
    rehearsal: dict[str, Any] = {}

    @property
    def all_models(self) -> tuple[Model, ...]:
        return self.models or ((self.model,) if self.model is not None else ())

    @property
    def batched(self) -> bool:
        """Whether requests go in provider batches."""
        return any(model.mode == "batch" for model in self.all_models)

    @property
    def declared_limits(self) -> dict[str, float]:
        """The rate limits, summed over the endpoints, and the caps, by their names in [limits]."""
        endpoints = [each.limits for model in self.all_models for each in model.all_endpoints(self.limits)]
        names = [name for name in Rates.model_fields if name != "concurrency"]
        found: dict[str, float] = {}
        for name in names:
            given = [getattr(rates, name) for rates in endpoints]
            if given and None not in given:
                found[name] = sum(given)
        caps = {"max_tokens": self.limits.max_tokens, "max_usd": self.limits.max_usd}
        return {**found, **{name: value for name, value in caps.items() if value is not None}}
