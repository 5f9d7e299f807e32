"""The automatic metrics by name. A new one is a function in a file here and a line below."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

from scorer.errors import SpecError
from scorer.metrics.protocol import Metric
from scorer.plugins import found, made

METRICS = {
    "rouge1": "scorer.metrics.rouge:rouge1",
    "rouge2": "scorer.metrics.rouge:rouge2",
    "rougeL": "scorer.metrics.rouge:rougeL",
    "bleu": "scorer.metrics.bleu_chrf:bleu",
    "chrf": "scorer.metrics.bleu_chrf:chrf",
    "exact_match": "scorer.metrics.exact:exact_match",
    "squad_em": "scorer.metrics.squad:squad_em",
    "token_f1": "scorer.metrics.squad:token_f1",
    "edit_similarity": "scorer.metrics.edit:edit_similarity",
    "length": "scorer.metrics.exact:length",
    "words": "scorer.metrics.exact:words",
    "embedding_similarity": "scorer.metrics.embedding:embedding_similarity",
    "bert_score": "scorer.metrics.embedding:bert_score",
}

REFERENCE_FREE = frozenset({"length", "words"})
"""The built-in metrics that look at the response alone."""


def unknown(names: Sequence[str]) -> list[str]:
    """One sentence for each name that is neither built in nor an import path. Loads nothing."""
    return [
        f'metrics.names: "{name}" is unknown. Allowed: {", ".join(METRICS)}, or an import path "package.module:Name".'
        for name in names
        if name not in METRICS and ":" not in name
    ]


def load(name: str) -> Metric:
    """The metric behind a name, or behind an import path to a class or function that makes one.

    Raises SpecError where there is none or a package that it needs is not installed.
    """
    if problems := unknown([name]):
        raise SpecError(problems)
    if name not in METRICS:
        outside: Metric = made(found(name, "metrics.names"), name, "metrics.names", ("needs_reference", "__call__"))
        return outside
    module, _, make = METRICS[name].partition(":")
    try:
        metric: Metric = getattr(importlib.import_module(module), make)()
    except ModuleNotFoundError as error:
        raise SpecError(
            [
                f"metrics.names: {name} needs {error.name}, which is not installed here: pip install "
                "'batch-scorer[metrics]'."
            ]
        ) from error
    return metric
