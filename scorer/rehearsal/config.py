"""Configuration of the simulated judge: limits, latency, faults and replies."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, Literal, Self

import orjson

from scorer.errors import SpecError
from scorer.frozen import dataclass
from scorer.rehearsal.batches.config import BatchConfig
from scorer.rehearsal.replies import ALWAYS

FAULTS = (
    "429",
    "429_bare",
    "429_date",
    "500",
    "503",
    "reset",
    "cut",
    "truncate",
    "hang",
    "html",
    "error_200",
    "prose",
    "slow",
    "null",
)

WIDEST = 10_000  # of a scale: each of its whole numbers is a label in memory


@dataclass(frozen=True, slots=True)
class RehearsalConfig:
    """The behaviour of the simulated judge, as plain values.

    Limits: None is no limit. `window` "bucket" refills evenly and holds `burst_s` worth of the minute (1 is strict, 60
    lenient); "sliding" counts the last 60 s. `charge` "reserve" takes prompt + max output of a request, as OpenAI does,
    "actual" what its answer uses.
    Pace: lognormal latency, a median of 0 answers at once. Beyond `capacity` requests at work, further ones wait their
    turn ("queue") or get a 429.
    Faults: `fault_*` are probabilities of exclusive fates of an admitted request. `poison` and `refuse` are patterns in
    the prompt (400 context_length_exceeded; finish_reason content_filter), `always` one answer to everything.
    Answers: the verdict is drawn by crc32 of the row from `labels`, or from `scale`: whole numbers where both its ends
    are whole, else hundredths of it; `names` asks for one verdict each; `replies`, where given, are its only replies,
    one drawn by the row; with `endings`, one for each, a reply answers prompts that end so only. A classifier has one
    output, or one for each of `classes`. The row is group 1 of `row_regex` in the prompt, else a hash of the prompt.
    `cached_share` None leaves cached_tokens out of the usage, `usage` False all.
    With `cache_life_s` above 0, prompts are cached: a prefix of at least `cache_least_tokens` that a prompt repeats
    within that time is counted as cached (prefix_cache.py), whatever `cached_share` says.
    A chat request may name a `service_tier`, and its reply names the same. `flex_refused` is the share of requests at
    the tier "flex" that are refused for want of capacity, by `flex_refused_by`: a 429 as OpenAI's or a 498 as Groq's,
    which costs nothing and takes from no limit.
    `batch` is how it serves batches.
    Each chat reply first takes `reasoning_tokens` of its output. A request with one of the keys `refuses` is a 400.
    Raises: SpecError, with a sentence for each mistake.
    """

    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    window: Literal["bucket", "sliding"] = "bucket"
    burst_s: float = 1.0
    charge: Literal["reserve", "actual"] = "reserve"

    latency_median_s: float = 0.8
    latency_sigma: float = 0.5
    capacity: int | None = None
    capacity_mode: Literal["queue", "429"] = "queue"

    fault_429: float = 0.0
    fault_429_bare: float = 0.0
    fault_429_date: float = 0.0
    fault_500: float = 0.0
    fault_503: float = 0.0
    fault_reset: float = 0.0
    fault_cut: float = 0.0
    fault_truncate: float = 0.0
    fault_hang: float = 0.0
    fault_html: float = 0.0
    fault_error_200: float = 0.0
    fault_prose: float = 0.0
    fault_slow: float = 0.0
    fault_null: float = 0.0
    retry_after_s: float = 1.0
    hang_s: float = 300.0
    slow_s: float = 5.0
    poison: str = ""
    refuse: str = ""
    always: str = ""

    model: str = "rehearsal-judge"
    context_tokens: int | None = None
    chars_per_token: float = 4.0
    cached_share: float | None = None
    cache_life_s: float = 0.0
    cache_least_tokens: int = 1024
    usage: bool = True
    reasoning_tokens: int = 0
    refuses: tuple[str, ...] = ()
    flex_refused: float = 0.0
    flex_refused_by: Literal["429", "498"] = "429"
    row_regex: str = r"\[row:([^\]]+)\]"
    scale: tuple[float, float] = (1, 5)
    labels: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    replies: tuple[str, ...] = ()
    endings: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    answer: Literal["number", "bare", "json"] = "number"
    reason: str = "Accurate, clear and complete."
    seed: int = 0
    batch: BatchConfig = BatchConfig()

    def __post_init__(self) -> None:
        problems = [*self._numbers(), *self._texts(), *self._lists()]
        if not problems and sum(self.fault(name) for name in FAULTS) > 1 + 1e-9:
            problems.append("The fault_* probabilities add up to more than 1.")
        if problems:
            raise SpecError(problems)

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """A config from a JSON object of the keys to change. Raises: SpecError."""
        try:
            changes = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            raise SpecError([f"The rehearsal config is not JSON: {error}."]) from error
        if not isinstance(changes, dict):
            raise SpecError(["The rehearsal config must be a JSON object."])
        return cls().changed(changes)

    def to_json(self) -> str:
        return orjson.dumps(self).decode()

    def changed(self, changes: Mapping[str, Any]) -> Self:
        """The same config with these keys set; JSON lists are taken for tuples. Raises: SpecError."""
        known = {f.name for f in fields(self)}
        unknown = sorted(set(changes) - known)
        if unknown:
            raise SpecError([f"{name} is not a key of the rehearsal config." for name in unknown])
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in changes.items()}
        if isinstance(batch := values.get("batch"), Mapping):
            values["batch"] = self.batch.changed(batch)
        elif "batch" in values and not isinstance(batch, BatchConfig):
            raise SpecError([f"batch must be a table, not {batch!r}."])
        return replace(self, **values)

    def fault(self, name: str) -> float:
        """The probability of one of FAULTS."""
        share: float = getattr(self, f"fault_{name}")
        return share

    def _numbers(self) -> list[str]:
        problems = []
        for name, (low, high, whole, optional) in _NUMBERS.items():
            value = getattr(self, name)
            if value is None and optional:
                continue
            if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
                problems.append(f"{name} must be a {'whole ' if whole else ''}number, not {value!r}.")
            elif not low <= value <= high:
                problems.append(f"{name} must be {_range(low, high)}, not {value!r}.")
        return problems

    def _texts(self) -> list[str]:
        problems = []
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                words = ", ".join(repr(word) for word in allowed)
                problems.append(f"{name} must be one of {words}, not {getattr(self, name)!r}.")
        problems += [
            f"{name} must be a string." for name in ("model", "reason") if type(getattr(self, name)) is not str
        ]
        if type(self.usage) is not bool:
            problems.append(f"usage must be true or false, not {self.usage!r}.")
        for name in ("poison", "refuse", "row_regex"):
            try:
                pattern = re.compile(getattr(self, name))
            except (re.error, TypeError) as error:
                problems.append(f"{name} is no regular expression: {error}.")
            else:
                if name == "row_regex" and pattern.groups < 1:
                    problems.append("row_regex must have a group: the row.")
        return problems

    def _lists(self) -> list[str]:
        problems = []
        for name in ("labels", "names", "replies", "endings", "classes", "refuses"):
            words = getattr(self, name)
            if not isinstance(words, tuple) or not all(type(word) is str and word for word in words):
                problems.append(f"{name} must be a list of non-empty strings, not {words!r}.")
            elif len(set(words)) < len(words) and name not in ("replies", "endings"):
                problems.append(f"{name} holds a word twice.")
        if self.endings and len(self.endings) != len(self.replies):
            problems.append(f"endings must be as many as replies, {len(self.replies)}, not {len(self.endings)}.")
        if (
            not isinstance(self.scale, tuple)
            or len(self.scale) != 2
            or not all(type(end) in (int, float) and math.isfinite(end) for end in self.scale)
            or not self.scale[0] < self.scale[1]
        ):
            problems.append(f"scale must be two numbers, the lower first, not {self.scale!r}.")
        elif self.scale[1] - self.scale[0] > WIDEST:
            problems.append(f"scale may span at most {WIDEST:,}, not {self.scale!r}.")
        return problems


_ANY = math.inf
_TINY = 1e-9  # "more than nothing": a rate or a ratio of 0 would divide by zero
# name: (lowest, highest, whole, may be None)
_NUMBERS: dict[str, tuple[float, float, bool, bool]] = {
    "requests_per_minute": (_TINY, 1e12, False, True),
    "tokens_per_minute": (_TINY, 1e12, False, True),
    "burst_s": (_TINY, 3600, False, False),
    "latency_median_s": (0, 3600, False, False),
    "latency_sigma": (0, 5, False, False),
    "capacity": (1, _ANY, True, True),
    **{f"fault_{name}": (0, 1, False, False) for name in FAULTS},
    "retry_after_s": (0, 1e6, False, False),
    "hang_s": (0, 1e6, False, False),
    "slow_s": (0, 3600, False, False),
    "context_tokens": (1, _ANY, True, True),
    "chars_per_token": (_TINY, 1e6, False, False),
    "cached_share": (0, 1, False, True),
    "cache_life_s": (0, 1e6, False, False),
    "cache_least_tokens": (1, 1e9, True, False),
    "reasoning_tokens": (0, 1e6, True, False),
    "flex_refused": (0, 1, False, False),
    "seed": (-_ANY, _ANY, True, False),
}
_CHOICES: dict[str, tuple[str, ...]] = {
    "window": ("bucket", "sliding"),
    "charge": ("reserve", "actual"),
    "capacity_mode": ("queue", "429"),
    "answer": ("number", "bare", "json"),
    "flex_refused_by": ("429", "498"),
    "always": ("", *ALWAYS),
}


def _range(low: float, high: float) -> str:
    least = "more than 0" if low == _TINY else f"at least {low:g}"
    return least if high == _ANY else f"{least} and at most {high:g}"
