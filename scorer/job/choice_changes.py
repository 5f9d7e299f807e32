"""Which keys the candidates of `scorer plan --choices` change: the model, how criteria are asked, the samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from itertools import product
from typing import Any

from scorer.build.model_provider import temperature
from scorer.build.plan import RunPlan
from scorer.config.price_file_models import models_of_file
from scorer.errors import SpecError
from scorer.files.files import Files
from scorer.frozen import dataclass
from scorer.judges import JUDGES
from scorer.judges.criteria import names_of
from scorer.judges.options import option_names
from scorer.output.layout import Layout
from scorer.output.manifest import load
from scorer.plugins import found

TOGETHER = "together"
"""How criteria are asked where the run file does not say it."""
SAMPLES = (1, 3, 5)


@dataclass(frozen=True, slots=True)
class Asked:
    """What the choices are made from: names of models, and folders of runs on labelled rows with their columns."""

    models: Sequence[str] = ()
    folders: Sequence[str] = ()
    human: str | None = None
    item: str | None = None


def changed(tree: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The tree with these keys, "section.key"; None takes a key out."""
    copy = deepcopy(dict(tree))
    for path, value in changes.items():
        section, _, key = path.partition(".")
        table = copy.setdefault(section, {})
        if value is None:
            table.pop(key, None)
        else:
            table[key] = value
    return copy


def candidates(
    tree: Mapping[str, Any], own: RunPlan, asked: Asked, files: Files, notes: list[str]
) -> Iterator[dict[str, Any]]:
    """The changed keys of each candidate, the run file's own first."""
    yield {}
    single = own.spec.model
    judges: list[dict[str, Any]] = [{}]
    if single is None or single.provider in ("embedded", "recorded"):
        if asked.models:
            raise SpecError(["--model compares models at one address; this run file has several, or none."])
    else:
        names = [*asked.models, *models_of_file(single, notes)]
        judges += [{"model.name": name, "model.price": None} for name in dict.fromkeys(names) if name != single.name]
        judges += [changes for path in asked.folders if (changes := _of_folder(tree, files, path))]
    numbers = _sample_numbers(own, notes)
    for judge, criteria, samples in product(judges, _criteria_ways(own), numbers):
        yield {**judge, **criteria, **({} if samples is None else {"judge.samples": samples})}


def _criteria_ways(own: RunPlan) -> list[dict[str, Any]]:
    """The changed keys of each way to ask criteria, the run file's own first; it alone where there are not several."""
    asked = criteria_asked(own)
    if asked is None or any(model.provider == "recorded" for model in own.spec.all_models):
        return [{}]
    return [{}, {"judge.ask_criteria": "apart" if asked == TOGETHER else None}]


def criteria_asked(plan: RunPlan) -> str | None:
    """How the judge asks its criteria; None where it has not several."""
    options = plan.spec.judge.options
    several = len(names_of(options.get("criteria"))) > 1 and not options.get("versus_reference")
    return options.get("ask_criteria", TOGETHER) if several else None


def _sample_numbers(own: RunPlan, notes: list[str]) -> list[int | None]:
    """The numbers of samples to compare; None alone, for the run file's own, where they cannot differ."""
    kind, single = own.spec.judge.kind, own.spec.model
    names = option_names(found(JUDGES[kind], "judge.kind")) if kind in JUDGES else ()
    if single is None or "samples" not in (names or ()):
        return [None]
    if temperature(single) == 0:
        notes.append("Numbers of samples are not compared: at model.temperature = 0 all samples are alike.")
        return [None]
    return [*sorted({*SAMPLES, own.spec.judge.options.get("samples", 1)})]


def _of_folder(tree: Mapping[str, Any], files: Files, path: str) -> dict[str, Any]:
    """The keys in which the run of a folder has another model or other samples."""
    manifest = load(files, Layout(path))
    spec: Mapping[str, Any] = manifest.spec if manifest is not None else {}
    theirs, ours = spec.get("model") or {}, tree.get("model") or {}
    differing = {f"model.{key}": theirs.get(key) for key in {*theirs, *ours} if theirs.get(key) != ours.get(key)}
    samples = (spec.get("judge") or {}).get("samples", 1)
    return {**dict(sorted(differing.items())), "judge.samples": samples} if theirs else {}
