"""Promise: the types of a run file as a dict have the keys and the types of its models."""

from __future__ import annotations

import importlib
import inspect
import types
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Required, Union, get_args, get_origin, get_type_hints, is_typeddict

import pytest
from pydantic import BaseModel

from scorer.config import run_file_types as typed
from scorer.config import spec
from scorer.judges import JUDGES
from scorer.judges.options import option_names

PAIRS: dict[type, type[BaseModel]] = {
    typed.InputDict: spec.Input,
    typed.TierPriceDict: spec.TierPrice,
    typed.PriceDict: spec.Price,
    typed.TierFallbackDict: spec.TierFallback,
    typed.BatchOptionsDict: spec.BatchOptions,
    typed.RatesDict: spec.Rates,
    typed.EndpointDict: spec.EndpointSpec,
    typed.ModelDict: spec.Model,
    typed.LimitsDict: spec.Limits,
    typed.MetricsDict: spec.Metrics,
    typed.StopDict: spec.Stop,
    typed.CanaryDict: spec.Canary,
    typed.OutputDict: spec.Output,
    typed.RunFileDict: spec.Spec,
}
SHARED = {"keys", "temperature", "temperatures"}
"""Options of a judge that it gets from [model]."""


def plain(kind: Any) -> set[str]:
    """The alternatives of a type by names that both sides share; None, which is a key left out, is none of them."""
    origin, args = get_origin(kind), get_args(kind)
    if origin in (Annotated, Required):
        return plain(args[0])
    if origin in (Union, types.UnionType):
        return set().union(*(plain(one) for one in args))
    if origin is Literal:
        return {repr(value) for value in args}
    if origin in (tuple, Sequence):
        return {f"list of {one}" for one in plain(args[0])}
    if origin in (dict, Mapping):
        return {f"dict of {one}" for one in plain(args[1])}
    names = {model.__name__: kind.__name__ for kind, model in PAIRS.items()} | {"JudgeOptions": "JudgeDict"}
    return set() if kind is type(None) else {names.get(name := getattr(kind, "__name__", str(kind)), name)}


@pytest.mark.parametrize("section", PAIRS, ids=lambda kind: kind.__name__)
def test_a_section_has_the_keys_types_and_required_keys_of_its_model(section: type) -> None:
    assert is_typeddict(section)
    model = PAIRS[section]
    hints = get_type_hints(section, include_extras=True)
    wanted = {name: plain(field.rebuild_annotation()) for name, field in model.model_fields.items()}
    found = {name: plain(hint) for name, hint in hints.items()}
    if section is typed.RunFileDict:
        found["judge"] -= {"dict of Any"}  # a judge of one's own takes any option
    assert found == wanted
    assert section.__required_keys__ == {n for n, field in model.model_fields.items() if field.is_required()}  # type: ignore[attr-defined]


def test_the_judge_has_the_options_of_every_kind() -> None:
    options: set[str] = set()
    for target in JUDGES.values():
        module, _, name = target.partition(":")
        make = getattr(importlib.import_module(module), name)
        options |= {n for n, p in inspect.signature(make).parameters.items() if p.kind is p.KEYWORD_ONLY}
        options |= set(option_names(make) or ())
    assert set(get_type_hints(typed.JudgeDict)) == options - SHARED | set(spec.JudgeOptions.model_fields)
