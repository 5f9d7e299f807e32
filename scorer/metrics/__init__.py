"""The automatic metrics by name. A new one is a function in a file here and a line below."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import orjson

from scorer.errors import SpecError
from scorer.plugins import found, made

if TYPE_CHECKING:
    from scorer.metrics.protocol import Metric

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
    "keyword_match": "scorer.metrics.items:keyword_match",
    "entity_f1": "scorer.metrics.items:entity_f1",
    "well_formed": "scorer.metrics.well_formed:well_formed",
    "length": "scorer.metrics.exact:length",
    "words": "scorer.metrics.exact:words",
    "embedding_similarity": "scorer.metrics.embedding:embedding_similarity",
    "bert_score": "scorer.metrics.embedding:bert_score",
}

REFERENCE_FREE = frozenset({"length", "words", "well_formed"})
"""The built-in metrics that look at the response alone."""

_ROUGE: dict[str, type] = {"stemmer": bool}
_ITEMS: dict[str, type] = {"separator": str, "case": bool}
OPTIONS: dict[str, dict[str, type]] = {
    "rouge1": _ROUGE,
    "rouge2": _ROUGE,
    "rougeL": _ROUGE,
    "keyword_match": _ITEMS,
    "entity_f1": _ITEMS,
    "well_formed": {"pattern": str, "schema": object, "labels": object},
}
"""The options of the built-in metrics, with the type of each value."""

Options = Mapping[str, Mapping[str, Any]]
"""The options of each metric that has some, by its name."""

MOST_OPTION_BYTES = 100_000
"""As JSON: they are an argument of the process that computes the metrics."""


def unknown(names: Sequence[str]) -> list[str]:
    """One sentence for each name that is neither built in nor an import path. Loads nothing."""
    return [
        f'metrics.names: "{name}" is unknown. Allowed: {", ".join(METRICS)}, or an import path "package.module:Name".'
        for name in names
        if name not in METRICS and ":" not in name
    ]


def problems(names: Sequence[str], options: Options) -> list[str]:
    """One sentence for each mistake in the names and in the options of built-in metrics.

    Makes `well_formed`, whose options are checked by jsonschema and re, and loads nothing else.
    """
    wrong = unknown(names)
    wrong += [
        f"metrics.options.{name}: metrics.names does not name this metric. Add it there, or remove its options."
        for name in options
        if name not in names
    ]
    for name in names:
        if of_options := _option_problems(name, options.get(name, {})):
            wrong += of_options
        elif name == "well_formed":
            try:
                load(name, options.get(name))
            except SpecError as error:
                wrong += error.problems
    try:
        size = len(orjson.dumps(options))
    except TypeError as error:
        return [*wrong, f"metrics.options: {error}. Give values that JSON has."]
    if size > MOST_OPTION_BYTES:
        wrong.append(f"metrics.options has {size:,} bytes; at most {MOST_OPTION_BYTES:,} are allowed. Shorten them.")
    return wrong


def load(name: str, options: Mapping[str, Any] | None = None) -> Metric:
    """The metric behind a name, or behind an import path to a class or function that makes one, with its options.

    Raises SpecError where there is none, an option is wrong or a package that it needs is not installed.
    """
    options = options or {}
    if wrong := unknown([name]) + _option_problems(name, options):
        raise SpecError(wrong)
    if name not in METRICS:
        make = found(name, "metrics.names")
        outside: Metric = made(lambda: make(**options), name, "metrics.names", ("needs_reference", "__call__"))
        return outside
    module, _, function = METRICS[name].partition(":")
    try:
        metric: Metric = getattr(importlib.import_module(module), function)(**options)
    except ModuleNotFoundError as error:
        raise SpecError(
            [
                f"metrics.names: {name} needs {error.name}, which is not installed here: pip install "
                "'batch-scorer[metrics]'."
            ]
        ) from error
    return metric


def _option_problems(name: str, options: Mapping[str, Any]) -> list[str]:
    """One sentence for each option that a built-in metric does not have, or whose value is of another type."""
    if name not in METRICS:
        return []
    known = OPTIONS.get(name, {})
    wrong = []
    for key, value in options.items():
        where = f"metrics.options.{name}.{key}"
        if key not in known:
            wrong.append(f"{where} is no option of {name}. Known: {', '.join(known) or 'none'}.")
        elif not isinstance(value, known[key]) or value == "":
            allowed = "true or false is" if known[key] is bool else "a string that is not empty is"
            wrong.append(f"{where}: {value!r} is not allowed; {allowed}.")
    return wrong
