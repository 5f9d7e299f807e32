"""Estimates a run before anything is sent: rows, tokens, cost, time, and the limit that determines the time."""

from __future__ import annotations

import math
from collections import Counter as Tally
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from scorer.build.assemble import concurrency
from scorer.build.plan import RunPlan, dedupe_problems
from scorer.client.tokens import Counter, encoding_for
from scorer.config.prices import Price
from scorer.config.tariffs import tariff
from scorer.engine.dedupe import AnswerCache, question_of
from scorer.errors import RowError, ScorerError
from scorer.files.files import Files
from scorer.inputs.shard_reader import Batch
from scorer.inputs.source import Columns, Reader, find, first_look, linked
from scorer.output.layout import Layout
from scorer.output.lost_ledger import stored
from scorer.output.manifest import load
from scorer.types import (
    Completion,
    Judge,
    Request,
    Row,
    Shard,
    Work,
)
from scorer.usage import (
    Usage,
)

EXACT_ROWS = 100_000
SAMPLE_ROWS = 20_000
SECONDS_A_REQUEST = 1.0
"""Assumed where only concurrency binds; a run learns the truth."""
LEARNED_ROWS = 20
"""From so many finished rows on, what their replies took is the estimate of what all will take."""
SHORT_EXPLANATION = 20
"""Tokens of the shortest explanation of a first turn, as far as a plan supposes any."""
REASONS = 20
"""So many different reasons for bad rows are told one by one."""
PER_MESSAGE = 4
"""Tokens that a chat template adds for a message."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run would need.

    `prompt_tokens_low` and `_high` are a 95 % interval, equal where every row was counted. `exact` is True where every
    row was counted with the model's own tokeniser. `cost_usd` is None where the price is unknown. `seconds` is the time
    at these limits, of which `binding_limit` is the slowest. Samples are counted as requests of their own, as they are
    where the server gives one choice a request. `advice` is what could be better, in sentences.

    `shared_prefix_tokens` of the prompt tokens begin a request as they began that of the row before (of the sample):
    about what a server with a prefix cache need not read again. `repeated_rows` ask what a row before them asks, and
    `repeated_tokens` are their prompts; None where not every row was looked at. With `judge.dedupe` nothing else counts
    them.

    `price` is that of the first model in USD per million tokens, as `price_source` said on `price_date` (ISO 8601; None
    where the run file says it); prompts of more than `long_from` tokens cost the `long_` ones.

    `rows_bad` counts by reason the rows that can ask nothing: they will end as the error that the reason begins with.
    `completion_tokens_estimate` is what `learned_rows` finished rows of this run took; where there are none, each reply
    is the geometric mean of the shortest readable one and of the most that it may be. `cost_low` has the shortest,
    `cost_worst` the longest; `cost_expected` is `cost_usd`. Nothing is asked twice in any of them.
    """

    rows: int
    shards: int
    requests: int
    prompt_tokens: int
    prompt_tokens_low: int
    prompt_tokens_high: int
    completion_tokens_estimate: int
    cost_usd: float | None
    seconds: float
    binding_limit: str
    exact: bool
    tokeniser: str
    max_usd: float | None = None
    max_tokens: int | None = None
    advice: tuple[str, ...] = ()
    shared_prefix_tokens: int = 0
    repeated_rows: int | None = None
    repeated_tokens: int | None = None
    price: dict[str, float | None] | None = None
    price_source: str | None = None
    price_date: str | None = None
    rows_bad: dict[str, int] = field(default_factory=dict)
    cost_low: float | None = None
    cost_expected: float | None = None
    cost_worst: float | None = None
    learned_rows: int = 0


def estimate(plan: RunPlan, files: Files, *, exact: bool = False) -> Estimate:
    """Reads the input and sends nothing. Raises InputError.

    Up to 100,000 rows (or with `exact`, all of them) every request is made and its tokens are counted. Beyond that,
    20,000 rows drawn with a fixed seed are, and the rest is inferred from its length. Source: Cochran, Sampling
    Techniques (1977), eq. 7.1, the regression estimator.
    """
    found = find(files, plan.spec.input.shards)
    before = _before(plan, files)
    found = [stat for stat in found if not before.forgotten & {stat.path, *stat.also}]
    shards = first_look(files, found, {stat.path: stat.path for stat in found}, plan.columns.all)
    rows = sum(shard.rows for shard in shards)
    model = plan.spec.all_models[0]
    name = encoding_for(model.name or "") if model.provider not in ("embedded", "recorded") else None
    counter = Counter(name)
    everything = exact or rows <= EXACT_ROWS
    share = 1.0 if everything else SAMPLE_ROWS / rows
    with closing(AnswerCache()) as window:
        seen = _look_at(plan, files, shards, counter, share, window)
    prompt, half_width = seen.prompt_tokens(rows)
    requests = round(seen.requests / max(1, seen.rows) * rows)
    scale = rows / max(1, seen.rows)
    low, most = round(seen.shortest * scale), round(seen.longest * scale)
    output = round(seen.completion_tokens * scale)
    if before.rows >= LEARNED_ROWS:
        output = round(before.completion_tokens / before.rows * (seen.rows - sum(seen.bad.values())) * scale)
    known = tariff(model)
    cost = _cost(known.price, round(prompt), output, requests) if known is not None else None
    half = round(half_width)
    costs = [
        _cost(known.price, max(0, round(prompt) + width), tokens, requests) if known is not None else None
        for width, tokens in ((-half, low), (half, most))
    ]
    seconds, binding = _time(plan, requests, prompt, output)
    return Estimate(
        rows=rows,
        shards=len(shards),
        requests=requests,
        prompt_tokens=round(prompt),
        prompt_tokens_low=max(0, math.floor(prompt - half_width)),
        prompt_tokens_high=math.ceil(prompt + half_width),
        completion_tokens_estimate=output,
        cost_usd=cost,
        seconds=seconds,
        binding_limit=binding,
        exact=everything and counter.exact,
        tokeniser=name or "estimate: 4 bytes a token",
        max_usd=plan.spec.limits.max_usd,
        max_tokens=plan.spec.limits.max_tokens,
        advice=(*filter(None, [linked(found)]), *_fences(plan.judge), *(_dedupe(plan, seen) if everything else ())),
        shared_prefix_tokens=round(prompt * seen.shared_bytes / max(1, seen.bytes)),
        repeated_rows=seen.repeated if everything else None,
        repeated_tokens=seen.repeated_tokens if everything else None,
        price=_shown(known.price) if known is not None else None,
        price_source=known.source if known is not None else None,
        price_date=(known.date or None) if known is not None else None,
        rows_bad={reason: round(count * scale) for reason, count in seen.bad.most_common()},
        cost_low=costs[0],
        cost_expected=cost,
        cost_worst=costs[1],
        learned_rows=before.rows if before.rows >= LEARNED_ROWS else 0,
    )


@dataclass(frozen=True, slots=True)
class _Before:
    """What the output folder says of this run: shards that left it, finished rows and what their replies took."""

    forgotten: frozenset[str] = frozenset()
    rows: int = 0
    completion_tokens: int = 0


def _before(plan: RunPlan, files: Files) -> _Before:
    """Nothing where there is no run yet, or none that can be read: a plan needs none."""
    layout = Layout(plan.spec.output.path)
    try:
        manifest = load(files, layout)
        if manifest is None:
            return _Before()
        forgotten = frozenset(shard.path for shard in manifest.forgotten)
        if manifest.fingerprint != plan.fingerprint:
            return _Before(forgotten)
        counts = stored(files, layout, manifest)
    except (ScorerError, OSError):
        return _Before()
    asked = counts.rows - counts.errors.get("BadRow", 0) - counts.errors.get("Damaged", 0) - counts.copied
    return _Before(forgotten, asked, counts.completion_tokens)


def _cost(price: Price, prompt: int, output: int, requests: int) -> float:
    """USD for so many tokens in all, each request taken to have an equal part of the prompts."""
    long = price.long is not None and price.long_from is not None and prompt > price.long_from * max(1, requests)
    at = price.long if long and price.long is not None else replace(price, long=None, long_from=None)
    return at.cost_pico(Usage(prompt, output)) / 10**12


def _shown(price: Price) -> dict[str, float | None]:
    told = {"input": price.input, "output": price.output, "cached_input": price.cached_input}
    if price.long is None:
        return told
    more = {"long_input": price.long.input, "long_output": price.long.output}
    return {**told, "long_from": price.long_from, **more, "long_cached_input": price.long.cached_input}


def _dedupe(plan: RunPlan, seen: _Seen) -> tuple[str, ...]:
    wanted = plan.spec.model_copy(update={"judge": plan.spec.judge.model_copy(update={"dedupe": True})})
    if plan.spec.judge.dedupe or not seen.repeated or dedupe_problems(wanted):
        return ()
    return (
        f"{seen.repeated:,} of {seen.rows:,} rows are exact duplicates: judge.dedupe = true copies its "
        f"answer, and sends {seen.repeated_tokens:,} prompt tokens less.",
    )


def _fences(judge: Judge) -> tuple[str, ...]:
    unfenced: Sequence[str] = getattr(judge, "unfenced", ())
    if not unfenced:
        return ()
    shown = " and ".join(f"{{{name}}}" for name in unfenced)
    fenced = " and ".join(f"{{{name}:fenced}}" for name in unfenced)
    return (
        f"judge.prompt shows {shown} as it stands, so that such a text may pass for a part of the prompt. Write "
        f"{fenced} where somebody else wrote it.",
    )


@dataclass(slots=True)
class _Seen:
    """Sums over the rows looked at, and the sizes of all rows."""

    judge: Judge
    counter: Counter
    window: AnswerCache
    dedupe: bool
    output_tokens: int
    most: int
    explanation: str = ""
    explanation_tokens: int = 0
    turns: int = 1
    rows: int = 0
    requests: int = 0
    completion_tokens: int = 0
    shortest: int = 0
    longest: int = 0
    bad: Tally[str] = field(default_factory=Tally)
    all_size: int = 0
    sizes: list[int] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    repeated: int = 0
    repeated_tokens: int = 0
    bytes: int = 0
    shared_bytes: int = 0
    before: list[npt.NDArray[np.uint8]] = field(default_factory=list)

    def add(self, row: Row) -> None:
        texts: list[str] = []
        self.rows += 1
        if row.problem is not None:
            self._bad(row.problem)
            self.sizes.append(row.size)
            self.tokens.append(0)
            return
        asked = self._asked(row)
        repeated = (question := question_of(self.judge, row)) is not None and self.window.met(question)
        if repeated and self.dedupe:
            self.repeated += 1
            self.repeated_tokens += self._tokens([text for request in asked for text in _texts(request)])
            self.sizes.append(row.size)
            self.tokens.append(0)
            return
        first = len(asked) // 2 if self.turns == 2 else 0
        for place, request in enumerate(asked):
            texts += _texts(request)
            forced = request.continuation
            if forced is not None:
                low = most = expected = self.counter.count([forced])[0]
            elif place < first:
                low, most = min(SHORT_EXPLANATION, self.most), self.most
                expected = self.explanation_tokens
            else:
                most = min(request.max_output_tokens or self.most, self.most)
                low = min(self.output_tokens, most)
                expected = round(math.sqrt(low * most))
            self.shortest += low
            self.longest += most
            self.completion_tokens += expected
        self.requests += len(asked)
        tokens = self._tokens(texts)
        self.sizes.append(row.size)
        self.tokens.append(tokens)
        self._compare(asked)
        if repeated:
            self.repeated += 1
            self.repeated_tokens += tokens

    def _tokens(self, texts: Sequence[str]) -> int:
        return sum(self.counter.count(texts)) + PER_MESSAGE * len(texts)

    def _compare(self, asked: Sequence[Request]) -> None:
        """How far each request begins as the row before began its own."""
        now = [np.frombuffer("\0".join(_texts(one)).encode("utf-8", "replace"), dtype=np.uint8) for one in asked]
        for one, other in zip(now, self.before, strict=False):
            upto = min(len(one), len(other))
            differs = np.flatnonzero(one[:upto] != other[:upto])
            self.shared_bytes += int(differs[0]) if len(differs) else upto
        self.bytes += sum(map(len, now))
        self.before = now

    def _asked(self, row: Row) -> list[Request]:
        """What a row asks where every reply is readable: with two turns, the second as well."""
        asked: list[Request] = []
        try:
            conversation = self.judge(row)
            asked += next(conversation)
            if self.turns == 2:
                asked += conversation.send([Completion(self.explanation)] * len(asked))
        except RowError as error:
            if not asked:
                self._bad(error)
        except StopIteration:  # it asks nothing, or no second turn
            pass
        return asked

    def _bad(self, error: RowError) -> None:
        reason = f"{error.name}: {error.detail}"
        self.bad[reason if reason in self.bad or len(self.bad) < REASONS else "other reasons"] += 1

    def prompt_tokens(self, rows: int) -> tuple[float, float]:
        """The total over all rows and half the width of its 95 % interval."""
        if not self.tokens:
            return 0.0, 0.0
        if self.rows == rows:
            return float(sum(self.tokens)), 0.0
        x, y = np.array(self.sizes, dtype=float), np.array(self.tokens, dtype=float)
        slope = float(np.cov(x, y)[0, 1] / x.var(ddof=1)) if len(x) > 2 and x.var() > 0 else 0.0
        total = rows * (y.mean() + slope * (self.all_size / rows - x.mean()))
        residual = y - y.mean() - slope * (x - x.mean())
        error = rows * math.sqrt(residual.var(ddof=2) / len(y) * (1 - len(y) / rows)) if len(y) > 2 else total
        return float(total), 1.96 * error


def _look_at(
    plan: RunPlan, files: Files, shards: Sequence[Shard], counter: Counter, share: float, window: AnswerCache
) -> _Seen:
    specimen = getattr(plan.judge, "specimen", None)
    most = plan.spec.all_models[0].max_output_tokens
    output = min(most, counter.count([specimen(0)])[0] + 2) if specimen is not None else max(1, most // 2)
    turns = plan.spec.judge.options.get("turns", 1)
    explanation = "word " * (most // 2)  # taken to be half as long as it may be; the second turn repeats it
    dedupe = plan.spec.judge.dedupe
    seen = _Seen(plan.judge, counter, window, dedupe, output, most, explanation, most // 2, turns)
    rng = np.random.default_rng(0)
    reader = Reader(files, plan.columns, count=_sizes, constant_tokens=0)
    judged = plan.columns.judged
    sizes = Reader(files, Columns(judged, judged, ()), count=_sizes, constant_tokens=0)
    for shard in shards:
        if share == 1.0:
            todo = None
        else:
            todo = rng.random(shard.rows) < share
            seen.all_size += _characters(sizes, shard)
        for batch in reader.read(Work(shard, todo)):
            for row in batch:
                seen.add(row)
    return seen


def _texts(request: Request) -> list[str]:
    return [message.content for message in request.messages] or [request.prompt]


def _sizes(texts: Sequence[str]) -> list[int]:
    return [0] * len(texts)


def _characters(reader: Reader, shard: Shard) -> int:
    """What the sizes of all readable rows add up to, without making a Python string of any."""
    total = 0
    for piece in reader.read_shard(shard, None):
        if isinstance(piece, Batch):
            for name in reader.columns.judged:
                column = piece.rows.column(name).cast(pa.large_string())
                try:
                    lengths = pc.utf8_length(column)
                except pa.ArrowInvalid:  # no UTF-8
                    lengths = pc.binary_length(column)
                total += (pc.sum(lengths).as_py() or 0) + len(column) - column.null_count
            total -= piece.rows.num_rows
    return total


def _time(plan: RunPlan, requests: int, prompt: float, output: int) -> tuple[float, str]:
    """Seconds that each limit alone would take; the slowest binds. Token limits charge prompt + max output."""
    limits, model = plan.spec.limits, plan.spec.all_models[0]
    reserved = requests * model.max_output_tokens
    paces = {
        "requests_per_minute": (requests, limits.requests_per_minute),
        "tokens_per_minute": (prompt + reserved, limits.tokens_per_minute),
        "input_tokens_per_minute": (prompt, limits.input_tokens_per_minute),
        "output_tokens_per_minute": (reserved, limits.output_tokens_per_minute),
    }
    times = {name: amount / per_minute * 60 for name, (amount, per_minute) in paces.items() if per_minute}
    times["concurrency"] = requests / concurrency(limits, model.provider) * SECONDS_A_REQUEST
    binding = max(times, key=lambda name: times[name])
    return round(times[binding], 3), binding
