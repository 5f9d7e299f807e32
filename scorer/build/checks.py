"""Checks the sections of a spec beside one another: batches, canaries, panel, duplicates, publishing, result columns.

model_checks.py checks the keys of each model. Each function returns one sentence for each mistake.
"""

from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.parquet as pq

from scorer.build.address_checks import address_problems
from scorer.build.model_checks import model_problems
from scorer.build.model_provider import temperature
from scorer.config.messages import shown
from scorer.config.spec import Spec
from scorer.errors import SpecError
from scorer.judges import JUDGES
from scorer.metrics import problems as metric_problems
from scorer.output.schema import RESULT_COLUMNS
from scorer.types import Judge


def spec_problems(spec: Spec) -> list[str]:
    """The mistakes in a spec, apart from its judge."""
    problems = model_problems(spec) + _batch_problems(spec) + _canary_problems(spec)
    problems += metric_problems(spec.metrics.names, spec.metrics.options)
    problems += _rehearsal_problems(spec) + _panel_problems(spec) + _publish_problems(spec)
    return problems + dedupe_problems(spec) + address_problems(spec)


def judge_problems(spec: Spec, judge: Judge) -> list[str]:
    """The mistakes in the result columns of a judge and in the kept columns."""
    return _column_problems(spec, judge) + _field_problems(spec, judge)


def _batch_problems(spec: Spec) -> list[str]:
    """What is wrong with `model.mode` and `limits.deadline` beside the other keys."""
    problems: list[str] = []
    online = [model for model in spec.all_models if model.mode == "online"]
    if spec.limits.deadline is not None and not spec.batched:
        problems.append(
            f'limits.deadline = "{spec.limits.deadline}" is when provider batches are cancelled, and there are none. '
            'Set model.mode = "batch", or leave it out.'
        )
    for model in spec.all_models if spec.batched else ():
        where = model.section
        said = f'{where}.mode = "{model.mode}"'
        if online:
            if model.mode == "online":
                problems.append(f'{said}, and another model has mode = "batch". Give all of them the same mode.')
        elif model.provider not in ("openai", "anthropic") or model.classifies:
            problems.append(
                f'{said} does not go with model.provider = "{model.provider}", model.api = "{model.api}". Batches are '
                'spoken with provider = "openai" (chat, responses) and "anthropic".'
            )
        elif model.fleet is not None or len(model.all_endpoints(spec.limits)) > 1:
            problems.append(
                f"{said}: a batch belongs to one account, at one address. Give {where}.base_url instead of several."
            )
        elif model.tier != "standard":
            problems.append(
                f'{said} and {where}.tier = "{model.tier}": a batch has one price, whatever tier its requests name. '
                "Remove one of the two."
            )
    if spec.batched and spec.judge.kind == "likelihood":
        problems.append(
            'model.mode = "batch" does not go with judge.kind = "likelihood": no batch API gives the log-probabilities '
            "of a given text. Leave model.mode out."
        )
    return problems


def _canary_problems(spec: Spec) -> list[str]:
    """What is wrong with [canary] beside the rest of the run file."""
    canary = spec.canary
    if canary is None:
        return []
    from scorer.analysis.score_range import scale_of_judge

    problems = []
    if (canary.human is None) == (canary.score is None):
        problems.append(
            "canary: give either canary.human, the column of what people said of the known rows, or canary.score, the "
            "column of what this judge said of them before."
        )
    if canary.range is None and scale_of_judge({"kind": spec.judge.kind, **spec.judge.options}, "score") is None:
        problems.append(
            f'canary.range is missing: scores of judge.kind = "{spec.judge.kind}" have no known ends. Give the '
            "distance of two scores that is a loss of 1."
        )
    if spec.judge.dedupe:
        problems.append("[canary] does not go with judge.dedupe, which would not ask a known row twice. Remove one.")
    return problems


def _panel_problems(spec: Spec) -> list[str]:
    """Mistakes in the number of models and their aliases: only panel and cascade take several, by their aliases."""
    aliases = [model.alias for model in spec.models]
    asked = spec.judge.options.get("models")
    if spec.judge.kind in ("panel", "cascade") and isinstance(asked, list | tuple):
        return [
            f'judge.models: no [[models]] has the alias "{name}". Known: {", ".join(aliases) or "none"}.'
            for name in asked
            if name not in aliases
        ]
    if len(aliases) > 1 and spec.judge.kind in JUDGES:
        return [f'judge.kind = "{spec.judge.kind}" takes one model, and [[models]] lists {len(aliases)}: keep one.']
    return []


def dedupe_problems(spec: Spec) -> list[str]:
    """Mistakes of `judge.dedupe`: copies need temperature 0. `[model] extra` overrides the temperature."""
    if not spec.judge.dedupe:
        return []
    problems = []
    for model in spec.all_models:
        where = model.section
        key = f"{where}.extra.temperature" if "temperature" in model.extra else f"{where}.temperature"
        found = model.extra.get("temperature", temperature(model))
        if found is None or found != 0:
            said = f'"{model.name}" takes no temperature' if found is None else f"{key} = {shown(key, found)}"
            problems.append(
                "judge.dedupe = true copies answers, which are repeatable only at temperature 0; "
                f"{said}. Set {key} = 0, or leave judge.dedupe out."
            )
    return problems


def _rehearsal_problems(spec: Spec) -> list[str]:
    if not spec.rehearsal:
        return []
    from scorer.rehearsal.config import RehearsalConfig

    try:
        RehearsalConfig().changed(spec.rehearsal)
    except SpecError as error:
        return [f"[rehearsal] {problem}" for problem in error.problems]
    return []


def _publish_problems(spec: Spec) -> list[str]:
    """Mistakes in `output.publish` and `output.partition_by`. A table that cannot be reached stops no run."""
    if spec.output.publish is None:
        return ["output.partition_by needs output.publish."] if spec.output.partition_by else []
    from scorer.publish.publish import publisher

    try:
        publisher(spec.output.publish, spec.output.partition_by)
    except SpecError as error:
        return [f"output.publish: {problem}" for problem in error.problems]
    return []


def _column_problems(spec: Spec, judge: Judge) -> list[str]:
    taken = {*RESULT_COLUMNS, "id", *(field.name for field in judge.fields)}
    return [
        f"input.keep: {name!r} is the name of a result column. Rename it in the input, or leave it out."
        for name in spec.input.keep
        if name in taken
    ]


def _field_problems(spec: Spec, judge: Judge) -> list[str]:
    """Mistakes in the result columns that a plug-in judge declares."""
    names = [field.name for field in judge.fields]
    where = f"judge.kind = {spec.judge.kind!r}"
    problems = [
        f"{where} adds a column {name!r}, which is the name of another result column. Give it another name."
        for name in dict.fromkeys(names)
        if name in {*RESULT_COLUMNS, "id"} or names.count(name) > 1
    ]
    for field in judge.fields:
        try:
            pq.write_table(pa.schema([field]).empty_table(), io.BytesIO())
        except pa.ArrowException as error:
            problems.append(
                f"{where} adds a column {field.name!r} of type {field.type}, which Parquet cannot hold ({error}). Give "
                "it another type, string for instance."
            )
    return problems
