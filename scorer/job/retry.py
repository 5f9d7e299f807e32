"""What `scorer retry` scores again, and with which keys of the answer's side changed for these rows alone."""

from __future__ import annotations

import time
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any

import orjson

from scorer.build.plan import RunPlan, check
from scorer.config.loader import Sets, assignments, set_values
from scorer.errors import ROW_ERRORS, SpecError
from scorer.files.files import Files
from scorer.frozen import dataclass
from scorer.job.start import stored_spec
from scorer.output.canary_files import load_state
from scorer.output.layout import Layout
from scorer.output.located import rebased
from scorer.output.manifest import Revision, load, no_run
from scorer.output.status import Status

ANSWER_KEYS = ("max_output_tokens", "reasoning", "extra", "timeout_s", "temperature")
"""Keys of a model that may change for rows that are scored again: what is asked stays the same."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Scores again the rows that ended in one of `errors` (None: in any error), or those finished in a `span`.

    `sets` are `key=value` of ANSWER_KEYS, for these rows alone.
    """

    errors: tuple[str, ...] | None = None
    sets: tuple[str, ...] = ()
    span: tuple[int, int] | None = None


def retry_of(
    files: Files, out: str, errors: Sequence[str], sets: Sets = (), *, suspect: bool = False
) -> tuple[RunPlan, Retry]:
    """The plan of the run in `out`, and what of it is scored again: the rows that ended in one of `errors`.

    `suspect`: the rows that were finished while the judge had drifted. Keys of the answer's side in `sets` are the
    retry's, all others the run's. Raises SpecError for an unknown error, where there is no run or no suspect row, and
    for keys that are wrong.
    """
    unknown = [name for name in errors if name not in ROW_ERRORS]
    if unknown:
        raise SpecError([f"--error {name} is no error of a row. Allowed: {', '.join(ROW_ERRORS)}." for name in unknown])
    manifest = load(files, Layout(out))
    if manifest is None:
        raise no_run(files, Layout(out))
    span = _suspect(files, out) if suspect else None
    if suspect and span is None:
        raise SpecError([f"{out} has no suspect rows: no canary showed a drift whose rows were not scored again."])
    if suspect and errors:
        raise SpecError(["--suspect scores all rows again that were finished in a span of time. Leave --error out."])
    given = manifest.spec.get("input", {})
    tree = {
        **manifest.spec,
        "input": {**given, "shards": rebased(given.get("shards", ()), manifest.began)},
        "output": {**manifest.spec.get("output", {}), "path": out},
    }
    of_rows, of_run = split_sets(sets)
    return check(set_values(tree, of_run)), Retry(tuple(errors) or None, of_rows, span)


def nothing_to_retry(found: Status, again: Retry) -> bool:
    """Whether no row of a run is scored again by this retry, nor is left to score."""
    names = found.errors if again.errors is None else again.errors
    return again.span is None and not found.pending and not any(found.errors.get(name) for name in names)


def _suspect(files: Files, out: str) -> tuple[int, int] | None:
    """The span of suspect rows. While an alarm stands it goes on until now: a kill may have left its end open."""
    state = load_state(files, Layout(out))
    span = state.suspect
    if span is None or state.standing is None:
        return span
    return span[0], max(span[1], int(time.time() * 1e6))


def split_sets(sets: Sets) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """As `key=value`, those keys that hold for the rows scored again alone, and those that are the run's."""
    texts = [(path, item if item != path else f"{path}={_toml(value)}") for item, path, value in assignments(sets)]
    rows = tuple(text for path, text in texts if _is_answer_key(path))
    return rows, tuple(text for path, text in texts if not _is_answer_key(path))


def _is_answer_key(path: str) -> bool:
    table, *keys = path.strip().split(".")
    if table == "models":
        keys = keys[1:]
    return table in ("model", "models") and bool(keys) and keys[0] in ANSWER_KEYS


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{orjson.dumps(key).decode()} = {_toml(inner)}" for key, inner in value.items()) + "}"
    return orjson.dumps(value).decode()


def with_sets(plan: RunPlan, sets: Sequence[str]) -> RunPlan:
    """The plan with some keys set. Raises SpecError."""
    changed = check(set_values(deepcopy(stored_spec(plan)), sets))
    return replace(changed, rehearsal=plan.rehearsal)


def revision_of(plan: RunPlan, retry: Retry) -> Revision:
    """The generation that a retry opens; its number is set where it is opened."""
    other = with_sets(plan, retry.sets) if retry.sets else plan
    judge = "" if other.covers == plan.covers else other.fingerprint
    return Revision(0, "retry", retry.errors, sets=retry.sets, judge=judge, span=retry.span)
