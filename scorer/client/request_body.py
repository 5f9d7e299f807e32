"""Reads the output limit and the number of choices from a request body, in any dialect.

`model.extra` and a provider of one's own may write what they like into a body; what goes out is what is reserved. The
largest limit under any of the names that servers know counts, also one level down, where some keep their options.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

_LIMITS = (
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "maxOutputTokens",
    "max_new_tokens",
    "max_length",
    "n_predict",
    "num_predict",
    "budget_tokens",
    "thinkingBudget",
    "thinking_budget",
)
_CHOICES = ("n", "best_of", "num_return_sequences", "candidate_count", "candidateCount", "n_cmpl")
_OPTIONS = (
    "options",
    "parameters",
    "generation_config",
    "generationConfig",
    "sampling_params",
    "extra_body",
    "inferenceConfig",
    "reasoning",
    "thinking",
    "thinking_config",
    "thinkingConfig",
)
_LARGEST = 2**53

# Only these fields are made; all others, the prompt's text among them, are passed over.
_Body = msgspec.defstruct("_Body", [(name, Any, None) for name in (*_LIMITS, *_CHOICES, *_OPTIONS)])
_decode = msgspec.json.Decoder(_Body).decode
_NOTHING: Any = _Body()


def asked_output(body: bytes) -> tuple[int | None, int]:
    """The most tokens that one choice of a reply to this body may have, and how many choices it may have.

    None where the body sets no limit, or is no JSON object; 1 choice where it does not say.
    """
    try:
        fields: Any = _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None, 1
    limit, fields.max_tokens = fields.max_tokens, None
    if fields == _NOTHING:  # max_tokens alone, as nearly always
        return (limit if _is_count(limit) else None), 1
    fields.max_tokens = limit
    limits = list(_numbers(fields, _LIMITS))
    return max(limits, default=None), max(_numbers(fields, _CHOICES), default=1)


def _numbers(fields: Any, names: tuple[str, ...]) -> Iterator[int]:
    for name in names:
        if _is_count(value := getattr(fields, name)):
            yield value
    for place in _OPTIONS:
        if (options := getattr(fields, place)) is not None:
            yield from _inside(options, names, 3)


def _inside(options: Any, names: tuple[str, ...], depth: int) -> Iterator[int]:
    if isinstance(options, dict) and depth:
        for name, value in options.items():
            if name in names and _is_count(value):
                yield value
            else:
                yield from _inside(value, names, depth - 1)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 < value <= _LARGEST
