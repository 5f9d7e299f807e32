"""The plan of a reread: the run's, with other keys of [judge] that say how a reply is read."""

from __future__ import annotations

from copy import deepcopy

from scorer.build.plan import RunPlan, check
from scorer.config.loader import Sets, assignments, set_values
from scorer.errors import SpecError
from scorer.job.reply_order import moved_replies
from scorer.output.manifest import Manifest

ASKED = frozenset(
    {"kind", "prompt", "prompt_file", "rubric", "system", "examples", "reference", "response", "versus_reference"}
    | {"a", "b", "baseline", "questions", "models", "turns", "choices", "dedupe", "form", "value"}
    | {"threshold", "of", "last_samples", "ask_criteria"}
)
"""Keys of [judge] that change the requests. The stored replies are answers to the requests as they were sent."""


def plan_of_reread(manifest: Manifest, out: str, sets: Sets) -> RunPlan:
    """The plan of the run with `sets`. Raises SpecError for keys that do not belong to reading."""
    problems = []
    for item, path, _ in assignments(sets):
        table, _, key = path.strip().partition(".")
        if path and table != "judge":
            problems.append(f"--set {item}: reread changes how replies are read, so it takes only keys of [judge].")
        elif key.partition(".")[0] in ASKED:
            problems.append(
                f"--set {item}: this key changes the requests, and the stored replies answer the old ones. Score again "
                "into another output.path."
            )
    if problems:
        raise SpecError(problems)
    tree = {**deepcopy(dict(manifest.spec)), "output": {**manifest.spec.get("output", {}), "path": out}}
    plan = check(set_values(tree, sets))
    if moved := moved_replies(manifest.spec.get("judge", {}), plan.spec.judge.options):
        raise SpecError(moved)
    return plan
