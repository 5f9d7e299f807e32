"""Reply bodies of the simulated classifier: vLLM's /classify, /score and /pooling, and text-embeddings-inference's.

The values are drawn by hashing the text: the same text always gets the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any
from zlib import crc32

import orjson

from scorer.rehearsal.config import RehearsalConfig
from scorer.rehearsal.request_body import Question


def classified(
    question: Question, config: RehearsalConfig, identity: str, created: int, usage: Mapping[str, Any] | None
) -> bytes:
    """The reply with a value for each class, or for the only output."""
    names = config.classes or ("LABEL_0",)
    logits = [8 * crc32(f"{name}\n{question.text}".encode()) / 2**32 - 4 for name in names]
    values = activated(logits) if question.activation else logits
    if question.endpoint == "predict":
        ranked = sorted(zip(names, values, strict=True), key=lambda one: -one[1])
        return orjson.dumps([{"score": value, "label": name} for name, value in ranked])
    likeliest = names[max(range(len(values)), key=values.__getitem__)]
    entry: dict[str, Any] = {
        "classify": {"index": 0, "label": likeliest, "probs": values, "num_classes": len(values)},
        "score": {"index": 0, "object": "score", "score": values[0]},
        "pooling": {"index": 0, "object": "pooling", "data": values},
    }[question.endpoint]
    body = {"id": identity, "object": "list", "created": created, "model": config.model, "data": [entry]}
    return orjson.dumps(body if usage is None else {**body, "usage": usage})


def activated(logits: list[float]) -> list[float]:
    """The sigmoid of one output, the softmax of several, as vLLM and text-embeddings-inference take them."""
    if len(logits) == 1:
        return [1 / (1 + math.exp(-logits[0]))]
    raised = [math.exp(logit - max(logits)) for logit in logits]
    return [one / sum(raised) for one in raised]
