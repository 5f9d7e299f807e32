"""Writes simulated replies: verdict, text around it, and log-probabilities consistent with both."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any
from zlib import crc32

import orjson

from scorer.frozen import dataclass
from scorer.rehearsal.config import WIDEST, RehearsalConfig
from scorer.rehearsal.vocabulary import pieces

_STRAY = (("\n", 0.010), (" ", 0.006), ("**", 0.004))  # what a model would rather have said, in every distribution


@dataclass(frozen=True, slots=True)
class Verdict:
    """One drawn label: the `index`-th of `labels`. `sharpness` is how fast the others' probability falls with distance.

    From 1.2 on, all other labels together are less likely than the drawn one, even where they share a first token.
    """

    labels: tuple[str, ...]
    index: int
    sharpness: float

    @property
    def label(self) -> str:
        return self.labels[self.index]

    def distribution(self) -> dict[str, float]:
        """The probability of each first token at the verdict's place; together at most 1."""
        weights = [math.exp(-self.sharpness * abs(i - self.index)) for i in range(len(self.labels))]
        whole = sum(weights) / (1 - sum(share for _, share in _STRAY))
        shares: dict[str, float] = dict(_STRAY)
        for label, weight in zip(self.labels, weights, strict=True):
            token = pieces(label)[0]
            shares[token] = shares.get(token, 0.0) + weight / whole
        return shares


@dataclass(frozen=True, slots=True)
class ReplyTokens:
    """A reply as tokens; `verdicts` holds the verdict that begins at a token's place."""

    tokens: list[str] = field(default_factory=list)
    verdicts: dict[int, Verdict] = field(default_factory=dict)

    @property
    def text(self) -> str:
        return "".join(self.tokens)

    def add(self, text: str) -> None:
        self.tokens.extend(pieces(text))

    def judge(self, verdict: Verdict) -> None:
        self.verdicts[len(self.tokens)] = verdict
        self.add(verdict.label)

    def cut(self, max_tokens: int) -> ReplyTokens:
        return ReplyTokens(self.tokens[:max_tokens], self.verdicts)

    def logprobs(self, top: int) -> list[dict[str, Any]]:
        """One entry per token in OpenAI's shape, each with up to `top` alternatives, likeliest first."""
        entries = []
        for place, token in enumerate(self.tokens):
            verdict = self.verdicts.get(place)
            if verdict:
                shares = verdict.distribution()
            else:
                share = 0.9 + 0.08 * crc32(b"%d:%b" % (place, token.encode())) / 2**32
                shares = {**dict(_STRAY), token: share}
            ranked = sorted(shares.items(), key=lambda pair: -pair[1])[:top]
            entry = _entry(token, shares[token])
            entries.append({**entry, "top_logprobs": [_entry(*pair) for pair in ranked]})
        return entries


def prose() -> ReplyTokens:
    """A reply that holds no verdict."""
    spoken = ReplyTokens()
    spoken.add("I would rather not put this into one word: the answer has its merits and its faults.")
    return spoken


class ReplyWriter:
    """Writes replies as the config says; the same row always gets the same verdicts."""

    def __init__(self, config: RehearsalConfig) -> None:
        self.config = config
        self._scale = scale_labels(*config.scale)
        self.labels = config.labels or self._scale

    def verdict(self, row: str, name: str = "", labels: Sequence[str] = ()) -> Verdict:
        """The verdict of a row; where a reply holds several, `name` tells them apart."""
        drawn = crc32(f"{row}\n{name}".encode() if name else row.encode())
        chosen = tuple(labels) or self.labels
        return Verdict(chosen, drawn % len(chosen), 1.2 + (drawn >> 16) % 11 / 10)

    def say(self, row: str, schema: Mapping[str, Any] | None = None, prompt: str = "") -> ReplyTokens:
        """The reply: as the schema asks where there is one ({} for any JSON), else as the config does."""
        spoken = ReplyTokens()
        names = self.config.names
        if replies := self._replies(prompt):
            spoken.add(replies[crc32(row.encode()) % len(replies)])
        elif schema is not None or self.config.answer == "json":
            self._fill(spoken, row, "", schema or _schema(names))
        elif names:
            for name in names:
                spoken.add(f"{name}: " if spoken.tokens == [] else f"\n{name}: ")
                spoken.judge(self.verdict(row, name if len(names) > 1 else ""))
        else:
            if self.config.answer == "number":
                spoken.add("Score: ")
            spoken.judge(self.verdict(row))
        return spoken

    def _replies(self, prompt: str) -> Sequence[str]:
        """The configured replies to a prompt."""
        replies, endings = self.config.replies, self.config.endings
        if not endings:
            return replies
        return [reply for reply, ending in zip(replies, endings, strict=True) if prompt.endswith(ending)]

    def _fill(self, spoken: ReplyTokens, row: str, name: str, schema: Mapping[str, Any]) -> None:
        kind = schema.get("type")
        properties = schema.get("properties")
        if isinstance(properties, dict):
            spoken.add("{")
            for place, (key, inner) in enumerate(properties.items()):
                spoken.add(f"{', ' if place else ''}{_quoted(key)}: ")
                # A verdict alone among its neighbours is the row's own (or its parent's), whatever the schema calls it.
                inner_name = key if _verdicts(properties) > 1 else name
                self._fill(spoken, row, inner_name, _object(inner))
            spoken.add("}")
        elif isinstance(enum := schema.get("enum"), list) and enum:
            texts = all(type(label) is str and label for label in enum)
            labels = enum if texts else [orjson.dumps(label).decode() for label in enum]
            self._judge(spoken, self.verdict(row, name, labels), texts)
        elif kind == "string":
            spoken.add(_quoted(self.config.reason))
        elif kind == "boolean":
            spoken.judge(self.verdict(row, name, ("false", "true")))
        elif kind == "array":
            spoken.add("[")
            self._fill(spoken, row, name, _object(schema.get("items")))
            spoken.add("]")
        else:
            numbers = _bounded(schema) or (self._scale if kind in ("integer", "number") else ())
            self._judge(spoken, self.verdict(row, name, numbers), bool(self.config.labels) and not numbers)

    def _judge(self, spoken: ReplyTokens, verdict: Verdict, quoted: bool) -> None:
        if not quoted:
            spoken.judge(verdict)
            return
        # Escaped before it is drawn as tokens: the quotes stay tokens of their own, and the text stays JSON.
        escaped = tuple(_quoted(label)[1:-1] for label in verdict.labels)
        spoken.add('"')
        spoken.judge(Verdict(escaped, verdict.index, verdict.sharpness))
        spoken.add('"')


def scale_labels(low: float, high: float) -> tuple[str, ...]:
    """The verdicts of a scale: its whole numbers where both ends are whole, else every hundredth of its span."""
    if float(low).is_integer() and float(high).is_integer():
        return tuple(str(number) for number in range(int(low), int(high) + 1))
    return tuple(f"{low + (high - low) * step / 100:.6g}" for step in range(101))


def _schema(names: Sequence[str]) -> dict[str, Any]:
    return {"properties": {**{name: {} for name in names or ("score",)}, "reason": {"type": "string"}}}


def _bounded(schema: Mapping[str, Any]) -> tuple[str, ...]:
    low, high = schema.get("minimum"), schema.get("maximum")
    if not isinstance(low, (int, float)) or not isinstance(high, (int, float)) or not low < high < low + WIDEST:
        return ()
    return (
        scale_labels(math.ceil(low), math.floor(high)) if schema.get("type") == "integer" else scale_labels(low, high)
    )


def _verdicts(properties: Mapping[str, Any]) -> int:
    return sum(not isinstance(one, dict) or one.get("type") != "string" or "enum" in one for one in properties.values())


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _quoted(text: str) -> str:
    return orjson.dumps(text).decode()


def _entry(token: str, share: float) -> dict[str, Any]:
    return {"token": token, "logprob": math.log(share), "bytes": list(token.encode())}
