"""Types of a run file as a dict, for editors and type checkers: `scorer.run({"input": {...}, ...})` completes its keys.

The models in `scorer.config.spec` check the values; a test proves that the keys and types here are theirs.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Required, TypedDict


class InputDict(TypedDict, total=False):
    """`[input]`: which shards, which of their rows, and which of their columns go into the output."""

    shards: Required[Sequence[str]]
    id: str
    keep: Sequence[str]
    where: str


class JudgeDict(TypedDict, total=False):
    """`[judge]`: the kind of judge and its options; each kind takes some of them (docs/reference/run-file.md)."""

    kind: str
    prompt: str
    prompt_file: str
    rubric: str
    system: str
    scale: Sequence[float]
    labels: Sequence[str] | Mapping[str, float]
    criteria: Sequence[str | Mapping[str, Any]]
    ask_criteria: Literal["together", "apart"]
    weights: Sequence[float] | Mapping[str, float]
    samples: int
    attempts: int
    turns: int
    partial: bool
    structured: Literal["auto", "none"]
    read: Literal["number", "label", "json", "expected", "pattern"]
    pattern: str
    patterns: Sequence[str]
    graded: bool
    reason: Literal["none", "before", "after"]
    choices: Literal["auto", "separate"]
    examples: Sequence[Mapping[str, Any]]
    reference: str
    response: str
    form: Literal["chat", "text", "pair"]
    value: Literal["logit", "probability"]
    label: str | int
    versus_reference: bool
    a: str
    b: str
    baseline: Mapping[str, str]
    orders: Literal["both", "given"]
    questions: Sequence[str]
    models: Sequence[str]
    aggregate: Literal["mean", "median", "majority"]
    threshold: float
    of: Literal["rating", "pairwise"]
    last_samples: int
    prompt_function: str
    reply_function: str
    columns: Sequence[str]
    dedupe: bool


class TierPriceDict(TypedDict, total=False):
    """`price`, and a price in it for a service tier: USD per million tokens."""

    input: Required[float]
    output: Required[float]
    cached_input: float
    cache_write: float


class PriceDict(TierPriceDict, total=False):
    """`price`: that of the standard tier, those of others, and that of batches."""

    flex: TierPriceDict
    priority: TierPriceDict
    batch: TierPriceDict


class BatchOptionsDict(TypedDict, total=False):
    """`batch`: how requests are cut into provider batches, and how often the batches are asked after."""

    max_requests: int
    max_bytes: int
    enqueued_tokens: int
    poll_s: float
    grace_s: float
    min_requests: int


class TierFallbackDict(TypedDict, total=False):
    """`tier_fallback`: after how many seconds without an answer a request leaves the tier, and how many may."""

    to: Literal["standard"]
    after_s: float
    share: float


class RatesDict(TypedDict, total=False):
    """Limits of one endpoint."""

    requests_per_minute: float
    tokens_per_minute: float
    input_tokens_per_minute: float
    output_tokens_per_minute: float
    concurrency: int | Literal["auto"]


class EndpointDict(TypedDict, total=False):
    """One of `endpoints`: an address with limits of its own."""

    base_url: Required[str]
    api_key_env: str
    limits: RatesDict


class ModelDict(TypedDict, total=False):
    """`[model]`, or one of `[[models]]`: a judge model, its address and its parameters."""

    alias: str
    provider: str
    dialect: Literal["auto", "openai", "vllm", "llamacpp"]
    api: Literal["chat", "responses", "classify", "score", "pooling", "predict"]
    name: str
    path: str
    base_url: str
    base_urls: Sequence[str]
    api_key_env: str
    api_key_command: Sequence[str]
    headers: Mapping[str, str]
    query: Mapping[str, str]
    extra: Mapping[str, Any]
    reasoning: int | Literal["none", "minimal", "low", "medium", "high"]
    tier: Literal["standard", "flex", "priority"]
    tier_fallback: TierFallbackDict
    cache: Literal["none", "auto"]
    mode: Literal["online", "batch"]
    batch: BatchOptionsDict
    temperature: float
    max_output_tokens: int
    timeout_s: float
    retries: int
    endpoints: Sequence[EndpointDict]
    price: PriceDict
    price_file: str
    keys: Sequence[str]
    replies: str
    where: Mapping[str, str | int | float | bool]


class LimitsDict(RatesDict, total=False):
    """`[limits]`: the rate limits of the endpoint and the caps of the whole run."""

    burst_s: float
    max_tokens: int
    max_usd: float
    max_failed_share: float
    hedge: bool
    first_answer_s: float
    deadline: str


class StopDict(TypedDict, total=False):
    """`[stop]`: the question whose answer ends the run."""

    question: Required[str]
    by: str
    item: str
    task: str
    weights: Mapping[str, float]
    confidence: float
    margin: float
    width: float
    population: Literal["future", "these"]
    unread: float | Literal["bounds"]
    missing: Literal["unread"]
    bounds: Sequence[float]
    method: Literal["asymptotic"]
    seed: int


class MetricsDict(TypedDict, total=False):
    """`[metrics]`: automatic metrics beside the judge's score, and the columns that they compare."""

    names: Sequence[str]
    response: str
    reference: str
    options: Mapping[str, Mapping[str, Any]]


class CanaryDict(TypedDict, total=False):
    """`[canary]`: known rows that are mixed into the run, and how far the judge may be from them."""

    shards: Required[Sequence[str]]
    human: str
    score: str
    share: float
    band: float
    shift: float
    range: float


class OutputDict(TypedDict, total=False):
    """`[output]`: where results go, how often they are written, and where they are published."""

    path: Required[str]
    flush_rows: int
    flush_s: float
    keep_raw: bool | Literal["full"]
    publish: str
    partition_by: Sequence[str]


class RunFileDict(TypedDict, total=False):
    """A run file as a dict, for editors and type checkers; its keys are those of docs/reference/run-file.md."""

    input: Required[InputDict]
    judge: JudgeDict | Mapping[str, Any]
    model: ModelDict
    models: Sequence[ModelDict]
    limits: LimitsDict
    stop: StopDict
    metrics: MetricsDict
    canary: CanaryDict
    output: Required[OutputDict]
    rehearsal: Mapping[str, Any]
