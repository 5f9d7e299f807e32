"""The fingerprint of the scores of a run: a hash of the keys that scores and columns depend on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import orjson

from scorer.config.spec import Spec


def covered(spec: Spec, prompt: str | None) -> dict[str, Any]:
    """The keys that scores and columns depend on, without defaults. Specs that agree in these give the same scores.

    The kept columns are none of it: they may change between starts. `prompt` is the text of `judge.prompt_file`; it
    counts instead of the file's name.
    """
    judge = spec.judge.model_dump(exclude_defaults=True, exclude={"prompt_file"})
    judge["kind"] = spec.judge.kind
    if prompt is not None:
        judge["prompt"] = prompt
    scored_by = {
        "alias", "provider", "dialect", "api", "name", "path", "temperature", "max_output_tokens", "reasoning", "extra",
        "keys", "replies", "where",
    }  # fmt: skip
    return {
        "judge": judge,
        "models": [model.model_dump(exclude_defaults=True, include=scored_by) for model in spec.all_models],
        "metrics": spec.metrics.model_dump(exclude_defaults=True),
        "input": spec.input.model_dump(exclude_defaults=True, include={"id"}),
    }


def fingerprint(covers: Mapping[str, Any]) -> str:
    """The first 16 hex digits of the SHA-256 of `covered`."""
    return hashlib.sha256(orjson.dumps(covers, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


def fingerprint_before_2(spec: Spec, covers: Mapping[str, Any]) -> str:
    """The fingerprint of the same spec in folders of before 0.2.0, which covered `input.keep`."""
    return fingerprint({**covers, "input": spec.input.model_dump(exclude_defaults=True, include={"id", "keep"})})
