"""Answers to a judge's requests as JSON, and back: completions and row errors with what they took.

The text is ASCII, so that half of a surrogate pair in a reply is kept.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

from scorer.errors import ROW_ERRORS, RowError
from scorer.frozen import values
from scorer.types import Completion, TokenLogprob
from scorer.usage import Spent, Usage

Answer = Completion | RowError


def to_json(answers: Sequence[Answer | None]) -> str:
    """A JSON array with an object for each answer, null for None."""
    return json.dumps([None if one is None else _written(one) for one in answers])


def from_json(text: str) -> list[Answer | None]:
    """The answers. Raises KeyError, TypeError and ValueError where the text is none of `to_json`."""
    return [None if one is None else _read(one) for one in json.loads(text)]


def _written(answer: Answer) -> dict[str, Any]:
    spent = None if answer.spent is None else {**values(answer.spent), "usage": _usage(answer.spent.usage)}
    if isinstance(answer, RowError):
        return {"error": answer.name, "detail": answer.detail, "spent": spent}
    return {
        "text": answer.text,
        "finish_reason": answer.finish_reason,
        "model": answer.model,
        "usage": _usage(answer.usage),
        "logprobs": answer.logprobs and [[one.token, one.logprob, one.top] for one in answer.logprobs],
        "body": base64.b64encode(answer.body).decode(),
        "spent": spent,
        "system_fingerprint": answer.system_fingerprint,
    }


def _usage(usage: Usage | None) -> dict[str, Any] | None:
    return None if usage is None else values(usage)


def _read(found: Mapping[str, Any]) -> Answer:
    took = found["spent"]
    spent = None if took is None else Spent(**{**took, "usage": _usage_of(took["usage"])})
    if "error" in found:
        error = ROW_ERRORS[found["error"]](found["detail"])
        error.spent = spent
        return error
    logprobs = found["logprobs"]
    return Completion(
        found["text"],
        found["finish_reason"],
        found["model"],
        _usage_of(found["usage"]),
        None if logprobs is None else tuple(_logprob(*one) for one in logprobs),
        base64.b64decode(found["body"]),
        spent or Spent(),
        system_fingerprint=found["system_fingerprint"],
    )


def _usage_of(found: Mapping[str, Any] | None) -> Usage | None:
    return None if found is None else Usage(**found)


def _logprob(token: str, logprob: float, top: Sequence[tuple[str, float]]) -> TokenLogprob:
    return TokenLogprob(token, logprob, tuple((name, value) for name, value in top))
