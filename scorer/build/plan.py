"""Makes a `RunPlan` (spec, judge, fingerprint, columns) from a run file's tree, and the reader and engine of a plan.

assemble.py makes clients and limits, row_metrics.py the automatic metrics.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any

import pyarrow as pa

from scorer.build.assemble import counter, raw_of
from scorer.build.checks import judge_problems, spec_problems
from scorer.build.model_provider import load, temperature
from scorer.build.row_metrics import measured
from scorer.build.stop_checks import stop_columns, stop_problems
from scorer.config.fingerprint import covered, fingerprint
from scorer.config.loader import parse
from scorer.config.messages import did_you_mean, shown
from scorer.config.spec import Spec
from scorer.engine import engine
from scorer.engine.judging import SingleRequestJudge
from scorer.engine.partial import PartialAnswers
from scorer.errors import SpecError, StorageError
from scorer.files.files import Files, read
from scorer.files.router import AnyFiles
from scorer.frozen import dataclass
from scorer.inputs.identity import schema_now
from scorer.inputs.prefix_order import in_prefix_order
from scorer.inputs.shards import kept_types
from scorer.inputs.source import Columns, Reader
from scorer.inputs.where import Where
from scorer.judges import JUDGES
from scorer.judges.options import option_names
from scorer.output.schema import (
    result_schema,
)
from scorer.plugins import made
from scorer.types import (
    Client,
    Judge,
    Row,
    Shard,
    Store,
)


@dataclass(frozen=True, slots=True)
class RunPlan:
    """A checked spec: its judge, the keys that its scores depend on, the columns to read."""

    spec: Spec
    judge: Judge
    covers: Mapping[str, Any]
    fingerprint: str
    columns: Columns
    where: Where | None = None
    """The condition of `input.where`."""
    rehearsal: bool = False
    """True where the judge is the simulated judge, whose scores are meaningless."""

    @property
    def needed(self) -> list[str]:
        """The columns that a shard must have."""
        where = self.where.columns if self.where is not None else ()
        return list(dict.fromkeys((*self.columns.all, *where, *stop_columns(self.spec.stop))))


def check(tree: Mapping[str, Any]) -> RunPlan:
    """Checks a run file's tree and returns its plan. Raises SpecError with every mistake."""
    spec, problems = parse(tree)
    judge: Judge | None = None
    prompt: str | None = None
    where: Where | None = None
    if spec is not None:
        try:
            where = Where(spec.input.where) if spec.input.where is not None else None
        except SpecError as error:
            problems += error.problems
        try:
            prompt = _prompt_text(spec)
            judge = make_judge(spec, prompt)
        except SpecError as error:
            problems += error.problems
        problems += [*spec_problems(spec), *stop_problems(spec)]
        if judge is not None:
            problems += judge_problems(spec, judge)
    if problems or spec is None or judge is None:
        raise SpecError(list(dict.fromkeys(problems)))
    covers = covered(spec, prompt)
    if source := getattr(judge, "source", ""):  # of the functions that it is made of
        covers["judge"]["source"] = source
    kept = (*([spec.input.id] if spec.input.id else []), *spec.input.keep)
    keys = tuple(key for model in spec.all_models for key in model.keys)
    metrics = measured(spec)
    judged = tuple(name for name in judge.columns if name not in keys)
    columns = Columns(read=tuple(dict.fromkeys((*judge.columns, *keys, *metrics))), judged=judged, kept=kept)
    try:
        return RunPlan(spec, judge, covers, fingerprint(covers), columns, where)
    except TypeError as error:
        raise SpecError([f"The run file has a value that JSON cannot represent: {error}. Take it out."]) from error


# --- the judge --------------------------------------------------------------------------------------------------------


def make_judge(spec: Spec, prompt: str | None) -> Judge:
    """The judge that `[judge]` asks for. Raises SpecError."""
    kind = spec.judge.kind
    make = load(JUDGES.get(kind, kind), "judge.kind", JUDGES)
    options = dict(spec.judge.options)
    if prompt is not None:
        options["prompt"] = prompt
    taken = inspect.signature(make).parameters
    if keys := tuple(key for model in spec.all_models for key in model.keys):
        options["keys"] = keys
    names = option_names(make)
    if "temperature" in (names or taken) and spec.all_models:
        options["temperature"] = temperature(spec.all_models[0])
    if "temperatures" in taken:
        options["temperatures"] = {model.alias: temperature(model) for model in spec.all_models}
    if names is not None:
        unknown = [name for name in options if name not in names]
        if unknown:
            known = ", ".join(name for name in names if name not in ("keys", "temperature"))
            raise SpecError(
                [
                    f"judge.{name} = {shown(name, options[name])} is not an option of kind = {kind!r}. Known: {known}."
                    f"{did_you_mean(name, names)}"
                    for name in unknown
                ]
            )
    if kind not in JUDGES:
        outside: Judge = made(lambda: make(**options), kind, "judge.kind", ("columns", "fields", "constant"))
        return outside
    try:
        judge: Judge = make(**options)
    except TypeError as error:
        raise SpecError([f"[judge] does not fit kind = {kind!r}: {error}."]) from error
    return judge


def _prompt_text(spec: Spec) -> str | None:
    if spec.judge.prompt_file is None:
        return None
    if "prompt" in spec.judge.options:
        raise SpecError(["judge.prompt and judge.prompt_file are both given: keep one of them."])
    try:
        return read(AnyFiles(), spec.judge.prompt_file).decode("utf-8")
    except (OSError, UnicodeDecodeError, StorageError) as error:
        raise SpecError(
            [f'judge.prompt_file = "{spec.judge.prompt_file}" cannot be read ({error}). Give a UTF-8 text file.']
        ) from error


# --- the parts of a run -----------------------------------------------------------------------------------------------


def kept_fields(plan: RunPlan, shard_schema: pa.Schema) -> tuple[pa.Field | None, list[pa.Field]]:
    """The input's fields of `input.id` (None without one) and `input.keep`."""
    given = plan.spec.input
    return (
        shard_schema.field(given.id) if given.id else None,
        [shard_schema.field(name) for name in given.keep],
    )


def make_reader(plan: RunPlan, files: Files) -> Reader:
    """The reader of a plan's rows, which also counts their tokens."""
    tokens = counter(plan.spec)
    return Reader(files, plan.columns, count=tokens.count, constant_tokens=tokens.count([plan.judge.constant])[0])


def in_order(plan: RunPlan, batches: AsyncIterator[list[Row]], in_flight: int) -> AsyncIterator[list[Row]]:
    """The rows in the order in which they are asked: with `model.cache`, those with the same beginning together."""
    leading: Sequence[str] = getattr(plan.judge, "leading", ())
    if not leading or all(model.cache == "none" for model in plan.spec.all_models):
        return batches
    return in_prefix_order(batches, leading, in_flight)


def make_parts(
    plan: RunPlan,
    client: Client,
    store: Store,
    partial: PartialAnswers,
    wall_s: Callable[[], float],
    stack: AsyncExitStack,
) -> engine.RunContext:
    """The engine's context. What it opens ends with `stack`. `wall_s` returns the seconds since 1970."""
    deduplicator = None
    if plan.spec.judge.dedupe:
        from scorer.engine.dedupe import Deduplicator

        deduplicator = stack.enter_context(Deduplicator(plan.judge))
    keep = raw_of(plan.spec.output.keep_raw)
    paid = any(model.provider != "recorded" for model in plan.spec.all_models)
    return engine.RunContext(
        plan.judge,
        client,
        store,
        lambda: int(wall_s() * 1e6),
        keep,
        deduplicator=deduplicator,
        stop_alike=paid,
        partial=partial,
        single=plan.judge if isinstance(plan.judge, SingleRequestJudge) else None,
    )


def rows_under_way(in_flight: int) -> int:
    """The most rows in flight: one for each request in flight, and up to 64 more, so that no slot idles."""
    return in_flight + min(in_flight, 64)


class ResultSchemas:
    """The result schemas of a run's shards. The footer of one is read where no shard of equal `types` was before.

    A shard whose `types` are not those of the columns that are kept now, as after a change of `input.keep`, is read
    each time.
    """

    def __init__(self, plan: RunPlan, files: Files) -> None:
        self._plan = plan
        self._files = files
        self._known: dict[str, pa.Schema] = {}

    def of(self, shard: Shard) -> pa.Schema:
        """As `schema_of`; where it is known, nothing is read and nothing raised."""
        known = self._known.get(shard.types)
        if known is not None:
            return known
        stored = schema_now(self._files, shard)
        found = _results_of(self._plan, stored)
        if shard.types == kept_types(stored, self._plan.columns.kept):
            self._known[shard.types] = found
        return found


def schema_of(plan: RunPlan, files: Files, shard: Shard) -> pa.Schema:
    """The result schema of a shard. The id and kept columns have their types of the input.

    Raises ShardChanged where the shard is gone or damaged, OSError where the system fails to read it.
    """
    return _results_of(plan, schema_now(files, shard))


def _results_of(plan: RunPlan, stored: pa.Schema) -> pa.Schema:
    id_field, kept = kept_fields(plan, stored)
    return result_schema(
        id_field=id_field,
        kept=kept,
        judge_fields=plan.judge.fields,
        metrics=plan.spec.metrics.names,
        copies=plan.spec.judge.dedupe,
    )
