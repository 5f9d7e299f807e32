"""The plan of a retry: the run file of an output folder, from run.json, with the keys that are changed for it."""

from __future__ import annotations

from collections.abc import Sequence

from scorer.build.plan import RunPlan, check
from scorer.config.loader import Sets, set_values
from scorer.errors import ROW_ERRORS, SpecError
from scorer.files.files import Files
from scorer.output.layout import Layout
from scorer.output.located import rebased
from scorer.output.manifest import load, no_run


def retry_plan(files: Files, out: str, errors: Sequence[str], sets: Sets = ()) -> RunPlan:
    """The plan by which the rows of the run in `out` that ended in one of `errors` are scored again.

    Raises SpecError for an unknown error, where there is no run, and for keys that are wrong.
    """
    unknown = [name for name in errors if name not in ROW_ERRORS]
    if unknown:
        raise SpecError([f"--error {name} is no error of a row. Allowed: {', '.join(ROW_ERRORS)}." for name in unknown])
    manifest = load(files, Layout(out))
    if manifest is None:
        raise no_run(files, Layout(out))
    given = manifest.spec.get("input", {})
    tree = {
        **manifest.spec,
        "input": {**given, "shards": rebased(given.get("shards", ()), manifest.began)},
        "output": {**manifest.spec.get("output", {}), "path": out},
    }
    return check(set_values(tree, sets))
