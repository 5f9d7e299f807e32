"""Counts what rows would ask, from all rows or from a sample: requests, prompt and reply tokens, duplicates."""

from __future__ import annotations

import math
from collections import Counter as Tally
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field

import numpy as np
import numpy.typing as npt
import orjson

from scorer.build.plan import RunPlan
from scorer.client.tokens import Counter
from scorer.config.spec import Limits
from scorer.engine.dedupe import AnswerCache, question_of
from scorer.errors import RowError
from scorer.files.files import Files
from scorer.frozen import dataclass
from scorer.inputs.pieces import Batch
from scorer.inputs.source import Columns, Reader
from scorer.job.cache_estimate import CacheEstimate
from scorer.job.model_load import ModelLoad, loads, seconds_at_limits
from scorer.types import Completion, Judge, Mask, Request, Row, Shard, Work

SHORTEST_EXPLANATION = 20
"""Tokens assumed for the shortest first turn of a judge with two turns."""
BAD_ROW_REASONS = 20
"""Number of different reasons for bad rows that are listed one by one."""
TOKENS_PER_MESSAGE = 4
"""Tokens that a chat template adds for each message."""


@dataclass(slots=True)
class PromptSample:
    """Sums over the rows that were read, and the sizes of all rows in characters of the judged columns.

    `models` have the sums of each model by alias, and `caches` those of its prompt cache, where requests can name one.
    `reply_tokens` is the shortest readable reply. `choice_tokens` are those of prompts that a server may take once for
    several samples. Duplicates are rows
    whose request a row before them made; with `dedupe` they add to `duplicate_rows` and `duplicate_tokens` only.
    """

    judge: Judge
    counter: Counter
    cache: AnswerCache
    dedupe: bool
    models: Mapping[str, ModelLoad]
    reply_tokens: int
    explanation: str = ""
    explanation_tokens: int = 0
    turns: int = 1
    rows: int = 0
    bad: Tally[str] = field(default_factory=Tally)
    all_size: int = 0
    sizes: list[int] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    duplicate_rows: int = 0
    duplicate_tokens: int = 0
    choice_tokens: int = 0
    bytes: int = 0
    shared_bytes: int = 0
    caches: Mapping[str, CacheEstimate] = field(default_factory=dict)
    _schemas: dict[str, int] = field(default_factory=dict)
    _previous: list[npt.NDArray[np.uint8]] = field(default_factory=list)

    def add(self, row: Row) -> None:
        """Counts one row, whose `tokens` are the characters of its judged columns."""
        self.rows += 1
        self.sizes.append(row.tokens)
        if row.problem is not None:
            self._count_bad(row.problem)
            self.tokens.append(0)
            return
        requests = self._requests_of(row)
        prompt_tokens = self._prompt_tokens_of(requests)
        question = question_of(self.judge, row)
        if question is not None and self.cache.met(question):
            self.duplicate_rows += 1
            self.duplicate_tokens += sum(prompt_tokens)
            if self.dedupe:
                self.tokens.append(0)
                return
        self._count_tokens(requests, prompt_tokens)
        self.tokens.append(sum(prompt_tokens))
        self._count_shared_prefix(requests)

    def prompt_tokens(self, rows: int) -> tuple[float, float]:
        """The total over `rows` rows, and half the width of its 95 % interval (0 where every row was counted).

        Source: Cochran, Sampling Techniques (1977), eq. 7.1, the regression estimator, with row sizes as the covariate.
        """
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

    def _requests_of(self, row: Row) -> list[Request]:
        """The requests of a row where every reply can be read, those of the second turn included."""
        requests: list[Request] = []
        every: Callable[[Row], list[Request]] | None = getattr(self.judge, "every_request", None)
        try:
            if every is not None:
                return every(row)
            conversation = self.judge(row)
            requests += next(conversation)
            if self.turns == 2:
                requests += conversation.send([Completion(self.explanation)] * len(requests))
        except RowError as error:
            if not requests:
                self._count_bad(error)
        except StopIteration:  # the judge makes no request, or no second turn
            pass
        return requests

    def _prompt_tokens_of(self, requests: Sequence[Request]) -> list[int]:
        texts = [_texts(request) for request in requests]
        counts = iter(self.counter.count([text for some in texts for text in some]))
        return [
            sum(next(counts) for _ in some) + TOKENS_PER_MESSAGE * len(some) + self._schema_tokens(request)
            for some, request in zip(texts, requests, strict=True)
        ]

    def _schema_tokens(self, request: Request) -> int:
        """The tokens of the reply's schema where the server counts it as a part of the prompt."""
        if request.schema is None or not self._load(request).schema_in_prompt:
            return 0
        text = orjson.dumps(request.schema).decode()
        if text not in self._schemas:
            self._schemas[text] = self.counter.count([text])[0]
        return self._schemas[text]

    def _load(self, request: Request) -> ModelLoad:
        return self.models.get(request.model) or next(iter(self.models.values()))

    def _count_tokens(self, requests: Sequence[Request], prompt_tokens: Sequence[int]) -> None:
        first_turn = len(requests) // 2 if self.turns == 2 else 0
        for place, (request, prompt) in enumerate(zip(requests, prompt_tokens, strict=True)):
            load = self._load(request)
            if place and request.alike and request.messages == requests[place - 1].messages:
                self.choice_tokens += prompt
            if request.continuation is not None:
                low = most = expected = self.counter.count([request.continuation])[0]
            elif place < first_turn:
                low, most = min(SHORTEST_EXPLANATION, load.reply_limit), load.reply_limit
                expected = min(self.explanation_tokens, most)
            else:
                most = load.reply_limit
                if request.max_output_tokens is not None:
                    most = min(most, request.max_output_tokens)
                low = min(self.reply_tokens, most)
                expected = round(math.sqrt(low * most))
            if request.continuation is None and load.reasoning_tokens:
                most += load.reasoning_tokens
                expected = round(math.sqrt(low * most))
            load.add(prompt, low, expected, most)
            if (cache := self.caches.get(load.model.alias)) is not None:
                cache.add(request, prompt)

    def _count_shared_prefix(self, requests: Sequence[Request]) -> None:
        """Adds the length of the prefix that each request shares with one before it.

        It is the same request of the row before, or the last one about the same row that asks something else; samples
        ask the same.
        """
        texts = ["\0".join(_texts(request)).encode("utf-8", "replace") for request in requests]
        parts = [np.frombuffer(text, dtype=np.uint8) for text in texts]
        other = -1
        for place, part in enumerate(parts):
            if place and texts[place] != texts[place - 1]:
                other = place - 1
            own = _shared(part, parts[other]) if other >= 0 else 0
            self.shared_bytes += max(own, _shared(part, self._previous[place]) if place < len(self._previous) else 0)
        self.bytes += sum(map(len, texts))
        self._previous = parts

    def _count_bad(self, error: RowError) -> None:
        reason = f"{error.name}: {error.detail}"
        self.bad[reason if reason in self.bad or len(self.bad) < BAD_ROW_REASONS else "other reasons"] += 1


def read_sample(
    plan: RunPlan,
    files: Files,
    shards: Sequence[Shard],
    asked: Callable[[Shard], Mask | None],
    counter: Counter,
    share: float,
    cache: AnswerCache,
) -> PromptSample:
    """Counts what a `share` of the rows `asked` for would ask, drawn with a fixed seed. 1.0: all of them.

    `asked` gives the rows of a shard, None for all.
    """
    models = loads(plan.spec)
    most = next(iter(models.values())).reply_limit
    specimen = getattr(plan.judge, "specimen", None)
    reply = counter.count([specimen(0)])[0] + 2 if specimen is not None else max(1, most // 2)
    turns = plan.spec.judge.options.get("turns", 1)
    explanation = "word " * (most // 2)  # half the longest allowed one; the second turn's prompt repeats it
    dedupe = plan.spec.judge.dedupe
    sample = PromptSample(plan.judge, counter, cache, dedupe, models, reply, explanation, most // 2, turns)
    sample.caches = _caches(models, plan.spec.limits, share)
    rng = np.random.default_rng(0)
    reader = Reader(files, plan.columns, count=_characters, constant_tokens=0)
    judged = plan.columns.judged
    sizes = Reader(files, Columns(judged, judged, ()), count=_characters, constant_tokens=0)
    for shard in shards:
        todo = asked(shard)
        if share < 1.0:
            sample.all_size += _total_size(sizes, shard, todo)
            drawn: Mask = rng.random(shard.rows) < share
            todo = drawn if todo is None else drawn & todo
        for batch in reader.read(Work(shard, todo)):
            for row in batch:
                sample.add(row)
    return sample


def _caches(models: Mapping[str, ModelLoad], limits: Limits, share: float) -> dict[str, CacheEstimate]:
    """A prompt cache for each model that has asked for one, or whose provider has one that must be asked for."""
    return {
        alias: CacheEstimate(load.model, seconds_at_limits(load, limits, 0.0, 0.0, 1, 1.0)[0] / share)
        for alias, load in models.items()
        if load.model.cache == "auto" or (load.model.provider in ("anthropic", "bedrock") and not load.model.classifies)
    }


def _texts(request: Request) -> list[str]:
    return [message.content for message in request.messages] or [request.prompt]


def _shared(one: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8]) -> int:
    """The number of bytes with which both begin."""
    length = min(len(one), len(other))
    differs = np.flatnonzero(one[:length] != other[:length])
    return int(differs[0]) if len(differs) else length


def _characters(texts: Sequence[str]) -> list[int]:
    """A reader's token counter that counts characters; tokens are counted of whole prompts."""
    return [len(text) for text in texts]


def _total_size(reader: Reader, shard: Shard, chosen: Mask | None) -> int:
    """The characters of the judged columns over the readable `chosen` rows of a shard, in Arrow where they are text."""
    total = 0
    for piece in reader.read_shard(shard, chosen):
        if isinstance(piece, Batch):
            rows = piece.rows if chosen is None else piece.rows.take(np.flatnonzero(chosen[piece.first : piece.stop]))
            for name in reader.columns.judged:
                total += rows.characters(name)
            total -= rows.num_rows
    return total
